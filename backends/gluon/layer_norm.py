"""Layer normalization on the CPU in float32, with a backward pass of its own.

The forward pass is MXNet's operator. That operator's backward pass takes some twenty times as long, as its sums and
broadcasts are general ones. Here each is a product, and what is kept for it is the same: the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import mxnet as mx
from mxnet import sym
from mxnet.gluon import HybridBlock, nn

from backends.gluon.network import NormThenDropout

NAME = "concord_layer_norm"
"""The operator's name in MXNet's registry."""


def for_cpu(network: HybridBlock) -> None:
    """Gives every layer normalization of a network on the CPU, in float32, this backward pass."""
    for block in network._children.values():
        for_cpu(block)
    if type(network) in FOR_CPU:
        network.__class__ = FOR_CPU[type(network)]


class CpuLayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` over the last axis of [s, b, width]."""

    def hybrid_forward(self, F: Any, data: Any, gamma: Any, beta: Any) -> Any:
        """`data` and the result are [s, b, width]."""
        return F.Custom(data, gamma, beta, op_type=NAME, epsilon=repr(self._epsilon))


class CpuNormThenDropout(NormThenDropout, CpuLayerNorm):
    """`NormThenDropout` on the same operator."""


FOR_CPU = {nn.LayerNorm: CpuLayerNorm, NormThenDropout: CpuNormThenDropout}
"""The class that takes the place of each."""


@mx.operator.register(NAME)
class LayerNormKind(mx.operator.CustomOpProp):
    """Answers what MXNet asks about the operator before it runs."""

    def __init__(self, epsilon: str) -> None:
        super().__init__(need_top_grad=True)
        self._epsilon = float(epsilon)

    def list_arguments(self) -> list[str]:
        return ["data", "gamma", "beta"]

    def infer_shape(self, in_shape: list[list[int]]) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
        data = in_shape[0]
        return [data, data[-1:], data[-1:]], [data], []

    def declare_backward_dependency(self, out_grad: list[int], in_data: list[int], out_data: list[int]) -> list[int]:
        return [*out_grad, *in_data[:2]]

    def create_operator(self, ctx: str, in_shapes: list[list[int]], in_dtypes: list[type]) -> LayerNormOperator:
        return LayerNormOperator(self._epsilon)


class LayerNormOperator(mx.operator.CustomOp):
    """The operator."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self._epsilon = epsilon

    def forward(
        self, is_train: bool, req: Sequence[str], in_data: Sequence[Any], out_data: Sequence[Any], aux: Sequence[Any]
    ) -> None:
        if req[0] == "write":
            mx.nd.LayerNorm(*in_data, eps=self._epsilon, out=out_data[0])
        else:
            self.assign(out_data[0], req[0], mx.nd.LayerNorm(*in_data, eps=self._epsilon))

    def backward(
        self,
        req: Sequence[str],
        out_grad: Sequence[Any],
        in_data: Sequence[Any],
        out_data: Sequence[Any],
        in_grad: Sequence[Any],
        aux: Sequence[Any],
    ) -> None:
        data, gamma, outward = *in_data[:2], out_grad[0]
        inputs = (outward.reshape(_FLAT), data.reshape(_FLAT), gamma, outward.reshape((0, -1)))
        gradients = _gradients(self._epsilon, data.shape[-1])
        if all(each == "write" for each in req):
            gradients(*inputs, out=[in_grad[0].reshape(_FLAT), *in_grad[1:]])
            return
        for each, kept, made in zip(req, in_grad, gradients(*inputs), strict=True):
            self.assign(kept, each, made.reshape(kept.shape))


_FLAT = (-3, 0)
"""MXNet's way to say that the first two axes become one."""


@cache
def _gradients(epsilon: float, width: int) -> Any:
    """A function that MXNet runs as one. Of the result's gradient and data, both [s * b, width], gamma [width], and the
    result's gradient as [s, b * width], it makes the gradients of data [s * b, width], gamma and beta.

    With unit = (data - mean) / std and g = gradient * gamma, the gradient of data is
    (g - mean(g) - unit * mean(g * unit)) / std, means being over the last axis.
    """
    # MXNet takes them in the order in which the sums below name them, which is this one.
    gradient, data, gamma, rows = (sym.Variable(name) for name in ("gradient", "data", "gamma", "rows"))
    ones = sym.ones_like(gamma)
    unit, _, std = sym.LayerNorm(data, ones, sym.zeros_like(gamma), eps=epsilon, output_mean_var=True)
    both = gradient * unit
    rate = sym.reciprocal(sym.reshape(std, (-1,)))
    share = ones / width

    def spread(column: Any, row: Any) -> Any:
        """[s * b, width] of [s * b] and [width]."""
        return sym.dot(sym.reshape(column, (-1, 1)), sym.reshape(row, (1, -1)))

    of_data = (
        gradient * spread(rate, gamma)
        - spread(sym.dot(gradient, gamma) * rate, share)
        - unit * spread(sym.dot(both, gamma) * rate, share)
    )
    each_s = sym.reshape(sym.ones_like(sym.slice_axis(rows, axis=1, begin=0, end=1)), (-1,))

    def total(rows: Any) -> Any:
        """The sum [width] of [s, b * width]: a product over s, and MXNet's sum over b, which rounds but once."""
        return sym.sum(sym.reshape(sym.dot(each_s, rows), (-1, width)), axis=0)

    made = sym.Group([of_data, total(sym.reshape_like(both, rows)), total(rows)])
    return mx.nd.CachedOp(made)
