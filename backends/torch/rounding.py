"""Arithmetic in lower precision, on a CPU, in the ways that trainings in it are usually run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from shared.reference import Lower, Policy

DROPPED = {"tf32": 13, "bfloat16": 16, "float16": 13}
"""Bits of float32's fraction that each type lacks."""

LOSS_SCALE = 2.0**10
"""Factor on the loss in float16, which small gradients would leave at 0 otherwise."""

PRODUCTS = {torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm, torch.ops.aten.baddbmm}
VIEWS = {
    *(torch.ops.aten.t, torch.ops.aten.transpose, torch.ops.aten.permute, torch.ops.aten.view),
    *(torch.ops.aten._unsafe_view, torch.ops.aten.expand, torch.ops.aten.slice, torch.ops.aten.select),
    *(torch.ops.aten.unsqueeze, torch.ops.aten.squeeze, torch.ops.aten.detach, torch.ops.aten.alias),
}
"""Operations that compute nothing. Their results keep their input's memory."""


@dataclass(frozen=True)
class Arithmetic:
    """One way to compute a forward and a backward pass."""

    dtype: torch.dtype
    """Type of the weights."""
    forward: Callable[[], AbstractContextManager[Any]] = nullcontext
    backward: Callable[[], AbstractContextManager[Any]] = nullcontext
    loss: torch.dtype | None = None
    """Type that the logits are turned into before the loss; None to keep theirs."""
    scale: float = 1.0
    """Factor on the loss, which the gradients are divided by."""
    load: Callable[[torch.Tensor], torch.Tensor] = torch.Tensor.detach
    """Rounds weights that are loaded."""


FLOAT64, FLOAT32 = Arithmetic(torch.float64), Arithmetic(torch.float32)


def arithmetic(precision: Lower, policy: Policy, seed: int | None) -> Arithmetic:
    """The policy's arithmetic in this precision. With a seed, values are rounded up or down at random, so that each
    seed gives other last bits: of all values, or for `all` of the weights as loaded. torch.autocast rounds to the
    nearest in any case."""
    scale = LOSS_SCALE if precision == "float16" else 1.0
    if policy == "all":
        at_random = partial(rounded, precision=precision, random=None if seed is None else _generator(seed))
        return Arithmetic(getattr(torch, precision), scale=scale, load=at_random)
    if policy == "autocast":
        cast = partial(torch.autocast, "cpu", getattr(torch, precision))
        return Arithmetic(torch.float32, cast, loss=torch.float32, scale=scale)
    rounding = partial(Rounding, precision, policy == "products", seed)
    return Arithmetic(torch.float32, rounding, rounding, torch.float32, scale)


class Rounding(TorchDispatchMode):
    """Rounds the inputs of matrix products, or the inputs and the result of every operation. Each operation computes in
    float32: sums, LayerNorm and softmax too."""

    def __init__(self, precision: Lower, products: bool, seed: int | None) -> None:
        super().__init__()
        self.precision, self.products = precision, products
        self.random = None if seed is None else _generator(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        operation = func.overloadpacket
        if operation in VIEWS or (self.products and operation not in PRODUCTS):
            return func(*args, **(kwargs or {}))
        result = func(*map(self._rounded, args), **(kwargs or {}))
        if self.products:
            return result
        if isinstance(result, tuple):  # what LayerNorm keeps for its backward pass stays float32
            return (self._rounded(result[0]), *result[1:])
        return self._rounded(result)

    def _rounded(self, x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or x.dtype != torch.float32:
            return x
        return rounded(x, self.precision, self.random)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rounded(x: torch.Tensor, precision: Lower, random: torch.Generator | None = None) -> torch.Tensor:
    """float32 values that the precision can hold: the nearest, ties to even, or up or down at random."""
    dropped = DROPPED[precision]
    bits = x.contiguous().view(torch.int32)
    if random is None:
        added = (1 << (dropped - 1)) - 1 + ((bits >> dropped) & 1)
    else:
        added = torch.randint(1 << dropped, bits.shape, generator=random, dtype=torch.int32)
    kept = ((bits + added) & -(1 << dropped)).view(torch.float32).reshape(x.shape)
    kept = torch.where(torch.isfinite(x), kept, x)
    return kept.half().float() if precision == "float16" else kept
