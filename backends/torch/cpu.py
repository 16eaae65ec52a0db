"""Faster ways to compute what torch computes slowly on a CPU: the same functions of the same parameters.

- A linear layer's products go to oneDNN. torch itself uses oneDNN for bfloat16 only, and for float32 the BLAS that it
  was built with.
- Dropout draws 64 random bits at a time and takes 16 for each number. torch draws for each number by itself.
- Attention with dropout has no fused kernel on a CPU. torch's replacement also looks for rows that attend to nothing,
  and there are none here.

docs/performance.md has the gain of each.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

ATTENTION = "concord_cpu"


def for_cpu(network: torch.nn.Module, precision: str) -> None:
    """Replaces linear layers, dropout and attention in a network of transformers, in place. Parameters and their names
    stay. If torch was built without oneDNN, linear layers are left as they are."""
    one_dnn = precision == "float32" and torch.backends.mkldnn.is_available()
    for module in network.modules():
        if type(module) is torch.nn.Dropout:
            module.__class__ = CoarseDropout
        elif type(module) is torch.nn.Linear and one_dnn:
            module.__class__ = OneDnnLinear
    network.config._attn_implementation = ATTENTION


class _OneDnnProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(input, weight)
        return _product(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        input, weight = ctx.saved_tensors
        # oneDNN is a hundred times slower on rows that lie apart in memory, as first tokens do.
        flat, given = gradient.flatten(0, -2).contiguous(), input.flatten(0, -2).contiguous()
        return _product(gradient, weight.t()), _product(flat.t(), given.t()), flat.sum(0)


def _product(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Computes [..., m] from [..., n], [m, n] and [m], all float32, with the operator that torch.compile puts in place
    of a Linear."""
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return product


class OneDnnLinear(torch.nn.Linear):
    """A linear layer that computes its output and both gradients with oneDNN."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = _OneDnnProduct.apply(input, self.weight, self.bias)
        return output


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, kept: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.save_for_backward(kept)
        ctx.factor = factor
        return (input * kept).mul_(factor)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return (gradient * kept).mul_(ctx.factor), None, None


def _drawn(shape: torch.Size, rate: float) -> tuple[torch.Tensor, float]:
    """Draws what is kept, int8 of this shape: ones and zeros, because products with bool are not vectorized. Returns
    the factor of kept numbers too."""
    dropped, size = min(round(rate * 2**16), 2**16 - 1), shape.numel()
    bits = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16)[:size].view(shape) >= dropped - 2**15
    return kept.view(torch.int8), 1 / (1 - dropped / 2**16)


def drop(input: torch.Tensor, rate: float) -> torch.Tensor:
    """Applies dropout at the multiple of 2^-16 nearest to the rate, drawn from torch's own generator. Kept numbers are
    divided by their share, so that the mean stays."""
    output: torch.Tensor = _Drop.apply(input, *_drawn(input.shape, rate))
    return output


class _Context(torch.autograd.Function):
    """softmax(scores), dropped, times the values. The dropped weights are computed again for the backward pass, as each
    layer would else keep one more array of [b, heads, s, s] until then."""

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor, value: torch.Tensor, kept: torch.Tensor, factor: float) -> torch.Tensor:
        weights = scores.softmax(-1)
        ctx.save_for_backward(weights, value, kept)
        ctx.factor = factor
        return torch.matmul((weights * kept).mul_(factor), value)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        weights, value, kept = ctx.saved_tensors
        of_value = torch.matmul((weights * kept).mul_(ctx.factor).transpose(-1, -2), gradient)
        of_weights = torch.matmul(gradient, value.transpose(-1, -2)).mul_(kept).mul_(ctx.factor)
        return torch._softmax_backward_data(of_weights, weights, -1, weights.dtype), of_value, None, None


class CoarseDropout(torch.nn.Dropout):
    """Dropout that `drop` computes."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return drop(input, self.p) if self.training and self.p else input


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float = 1.0,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Computes scaled dot-product attention, as transformers calls it.

    `query`, `key` and `value` are [b, heads, s, width of a head]; `attention_mask` is bool, [b, 1, 1 or s, s], True for
    tokens that are attended to. Returns the context, [b, s, heads, width of a head], and None for the weights.
    """
    if not dropout:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
    scores = torch.matmul(query * scaling, key.transpose(-1, -2))
    if attention_mask is not None:
        scores += torch.zeros_like(attention_mask, dtype=scores.dtype).masked_fill_(~attention_mask, -torch.inf)
    context: torch.Tensor = _Context.apply(scores, value, *_drawn(scores.shape, dropout))
    return context.transpose(1, 2), None


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)  # without this, transformers would pass no mask
