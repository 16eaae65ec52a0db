"""Known mistakes of ports as changes of transformers' classifier, by the ids of shared/hypotheses.py.

A change is made at places (`embeddings`, `layers/N`, `head`) and undone again. It is made on modules that architectures
share: embeddings and linear layers by their usual names, LayerNorms, activations, and the function that computes
attention. What a network lacks is refused.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

LAYER = re.compile(r"\.(?:layer|layers|h|blocks)\.(\d+)\.")
ACTIVATIONS = ("GELUActivation", "GELU")


class NotHereError(Exception):
    """The network has no such part."""


@dataclass(frozen=True)
class Site:
    """Where a change is made, and with which number."""

    network: Any
    """A `Classifier`."""
    places: frozenset[str] | None
    """None for everywhere."""
    number: float
    undo: ExitStack

    def has(self, name: str) -> bool:
        """Whether the change is made at the module of this name."""
        return self.places is None or place_of(name) in self.places

    def modules(self, kind: Callable[[str, Any], bool]) -> Iterator[tuple[str, Any]]:
        """The modules of this kind at the places. Raises NotHereError if the network has none anywhere."""
        found = [(name, module) for name, module in self.network.model.named_modules() if kind(name, module)]
        if not found:
            raise NotHereError
        yield from ((name, module) for name, module in found if self.has(name))

    def named(self, ending: str) -> Iterator[tuple[str, Any]]:
        """The modules whose names end so."""
        return self.modules(lambda name, _: name == ending or name.endswith("." + ending))

    def computes(self, module: Any, forward: Callable[..., Any]) -> None:
        """Lets a module compute otherwise."""
        before = module.__dict__.get("forward")
        module.forward = forward
        self.undo.callback(_restore, module, before)

    def after(self, module: Any, change: Callable[[Any, Any], Any]) -> None:
        """Changes a module's output, a function of its first input and the output."""
        inner = module.forward
        self.computes(module, lambda *args, **kwargs: change(args[0] if args else None, inner(*args, **kwargs)))

    def before(self, module: Any, change: Callable[[Any], Any]) -> None:
        """Changes a module's first input."""
        inner = module.forward
        self.computes(module, lambda first, *args, **kwargs: inner(change(first), *args, **kwargs))

    def attention(self, wrap: Callable[..., Any]) -> None:
        """Puts `wrap(inner, module, query, key, value, mask, **kwargs)` around what computes attention."""
        holders: set[Any] = {sys.modules[type(module).__module__] for module in self.network.model.modules()}
        holders = {holder for holder in holders if hasattr(holder, "eager_attention_forward")}
        if not holders:
            raise NotHereError
        names = {module: name for name, module in self.network.model.named_modules()}

        def around(inner: Any) -> Any:
            def attend(module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
                if not self.has(names[module] + "."):
                    return inner(module, query, key, value, mask, **kwargs)
                kwargs["scaling"] = kwargs.get("scaling") or query.size(-1) ** -0.5
                return wrap(inner, module, query, key, value, mask, **kwargs)

            return attend

        for holder in holders:
            inner = holder.eager_attention_forward
            holder.eager_attention_forward = around(inner)
            self.undo.callback(setattr, holder, "eager_attention_forward", inner)


def place_of(name: str) -> str:
    """The place of a module or parameter by its name."""
    layer = LAYER.search(name + ".")
    if layer:
        return f"layers/{layer[1]}"
    return "embeddings" if "embeddings" in name else "head"


@contextmanager
def changed(network: Any, changes: list[tuple[str, float, frozenset[str] | None]]) -> Iterator[None]:
    """The network with these changes, each an id, a number and places. Raises NotHereError."""
    with ExitStack() as undo:
        for name, number, places in changes:
            CHANGES[name](Site(network, places, number, undo))
        yield


def _restore(module: Any, before: Any) -> None:
    if before is None:
        del module.forward
    else:
        module.forward = before


# The embeddings.


def _types(change: Callable[[Tensor], Tensor]) -> Callable[[Site], None]:
    def make(site: Site) -> None:
        for _, module in site.named("token_type_embeddings"):
            site.before(module, change)

    return make


def _no_types(site: Site) -> None:
    for _, module in site.named("token_type_embeddings"):
        site.after(module, lambda _, output: torch.zeros_like(output))


def _shifted(start: int, last: int, ids: Tensor) -> Tensor:
    return (ids + start).clamp(max=last)


def _positions_from(start: int) -> Callable[[Site], None]:
    def make(site: Site) -> None:
        for _, module in site.named("position_embeddings"):
            site.before(module, partial(_shifted, start, module.num_embeddings - 1))

    return make


def _no_positions(site: Site) -> None:
    for _, module in site.named("position_embeddings"):
        site.after(module, lambda _, output: torch.zeros_like(output))


def _positions_skip_pads(site: Site) -> None:
    for _, module in site.named("position_embeddings"):
        site.before(module, lambda _: (_real_ids(site).cumsum(1) - 1).clamp(min=0))


def _real_ids(site: Site) -> Tensor:
    ids = torch.from_numpy(site.network.batch["input_ids"])
    return (ids != (site.network.model.config.pad_token_id or 0)).long()


def _words_scaled(site: Site) -> None:
    for _, module in site.named("word_embeddings"):
        site.after(module, lambda _, output: output * math.sqrt(output.shape[-1]))


def _pad_zero(site: Site) -> None:
    for _, module in site.named("word_embeddings"):
        site.after(module, lambda _, output: output * _real_ids(site)[..., None])


def _unnormed(site: Site) -> None:
    for _, module in site.named("embeddings.LayerNorm"):
        site.computes(module, lambda x: x)


# LayerNorm and the sums around it.


def _is_norm(_: str, module: Any) -> bool:
    return isinstance(module, torch.nn.LayerNorm)


def _eps(site: Site) -> None:
    for _, module in site.modules(_is_norm):
        site.undo.callback(setattr, module, "eps", module.eps)
        module.eps = site.number


def _unbiased(site: Site) -> None:
    for _, module in site.modules(_is_norm):
        site.computes(
            module,
            lambda x, m=module: (
                (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + m.eps).sqrt() * m.weight + m.bias
            ),
        )


def _is_layer(_: str, module: Any) -> bool:
    return hasattr(module, "attention") and hasattr(module, "intermediate") and hasattr(module, "output")


def _pre_norm(site: Site) -> None:
    for _, layer in site.modules(_is_layer):
        site.computes(layer, _normed_before(layer))


def _normed_before(layer: Any) -> Callable[..., Tensor]:
    first, second = layer.attention.output, layer.output

    def forward(x: Tensor, attention_mask: Any = None, *_: Any, **kwargs: Any) -> Tensor:
        attended = layer.attention.self(first.LayerNorm(x), attention_mask=attention_mask)[0]
        x = x + first.dropout(first.dense(attended))
        return x + second.dropout(second.dense(layer.intermediate(second.LayerNorm(x))))

    return forward


def _is_sum(_: str, module: Any) -> bool:
    return hasattr(module, "dense") and hasattr(module, "LayerNorm")


def _norm_before_sum(site: Site) -> None:
    for _, module in site.modules(_is_sum):
        site.computes(module, lambda hidden, x, m=module: x + m.LayerNorm(m.dropout(m.dense(hidden))))


def _no_residual(site: Site) -> None:
    for _, module in site.modules(_is_sum):
        site.computes(module, lambda hidden, x, m=module: m.LayerNorm(m.dropout(m.dense(hidden))))


def _activation(function: Callable[[Tensor], Tensor]) -> Callable[[Site], None]:
    def make(site: Site) -> None:
        for _, module in site.modules(lambda _, module: type(module).__name__ in ACTIVATIONS):
            site.computes(module, function)

    return make


# Attention.


def _mask(change: Callable[[Tensor, Tensor], Tensor | None]) -> Callable[[Site], None]:
    """Another mask, a function of the one that is added to the scores and of which keys it lets in, [b, 1, 1, s]."""

    def wrap(inner: Any, module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
        if mask is None:
            mask = query.new_zeros((len(query), 1, 1, key.shape[2]))
        seen = (mask == 0).any(-2, keepdim=True)
        return inner(module, query, key, value, change(mask, seen), **kwargs)

    return lambda site: site.attention(wrap)


def _hidden(seen: Tensor, like: Tensor) -> Tensor:
    """A mask that hides what is not seen."""
    return torch.zeros_like(like).masked_fill(~seen, torch.finfo(like.dtype).min)


def _one_short(mask: Tensor, seen: Tensor) -> Tensor:
    after = torch.cat([seen[..., 1:], torch.zeros_like(seen[..., :1])], -1)
    return _hidden((seen & after).expand_as(mask), mask)


def _one_long(mask: Tensor, seen: Tensor) -> Tensor:
    before = torch.cat([torch.zeros_like(seen[..., :1]), seen[..., :-1]], -1)
    return _hidden((seen | before).expand_as(mask), mask)


def _mask_of_ids(site: Site) -> None:
    def wrap(inner: Any, module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
        pad = site.network.model.config.pad_token_id or 0
        seen = torch.from_numpy(site.network.batch["input_ids"] != pad)[:, None, None]
        return inner(module, query, key, value, _hidden(seen, query.new_zeros(seen.shape)), **kwargs)

    site.attention(wrap)


def _causal(site: Site) -> None:
    def wrap(inner: Any, module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
        size = key.shape[2]
        later = torch.ones(size, size, dtype=torch.bool).triu(1)
        hides = query.new_zeros(size, size).masked_fill(later, torch.finfo(query.dtype).min)[None, None]
        return inner(module, query, key, value, hides if mask is None else torch.minimum(mask, hides), **kwargs)

    site.attention(wrap)


def _mask_multiplied(site: Site) -> None:
    def wrap(inner: Any, module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
        if mask is not None:
            mask = torch.where(mask == 0, 0.0, -(query @ key.mT) * kwargs["scaling"])
        return inner(module, query, key, value, mask, **kwargs)

    site.attention(wrap)


def _mask_after_softmax(site: Site) -> None:
    def wrap(inner: Any, module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
        if mask is not None:
            value = value * (mask == 0).any(-2)[..., None].to(value.dtype)
        return inner(module, query, key, value, None, **kwargs)

    site.attention(wrap)


def _split(how: Callable[[Tensor], Tensor]) -> Callable[[Site], None]:
    """Heads of queries, keys and values split otherwise, by a function of an array [b, heads, s, head]."""

    def wrap(inner: Any, module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
        return inner(module, how(query), how(key), how(value), mask, **kwargs)

    return lambda site: site.attention(wrap)


def _interleaved(x: Tensor) -> Tensor:
    b, heads, s, head = x.shape
    return x.transpose(1, 2).reshape(b, s, head, heads).permute(0, 3, 1, 2)


def _heads_interleaved(site: Site) -> None:
    def wrap(inner: Any, module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
        found = inner(module, *map(_interleaved, (query, key, value)), mask, **kwargs)
        b, s, heads, head = found[0].shape
        return found[0].transpose(2, 3).reshape(b, s, heads, head), *found[1:]

    site.attention(wrap)


def _reshaped(x: Tensor) -> Tensor:
    return x.transpose(1, 2).reshape(x.shape)


def _merged(site: Site) -> None:
    def wrap(inner: Any, *args: Any, **kwargs: Any) -> Any:
        found = inner(*args, **kwargs)
        return found[0].transpose(1, 2).reshape(found[0].shape), *found[1:]

    site.attention(wrap)


def _scaled(factor: Callable[[int, int], float]) -> Callable[[Site], None]:
    """Scores scaled otherwise, by a factor of the number of heads and the size of one."""

    def wrap(inner: Any, module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
        kwargs["scaling"] *= factor(query.shape[1], query.shape[3])
        return inner(module, query, key, value, mask, **kwargs)

    return lambda site: site.attention(wrap)


def _swapped(site: Site) -> None:
    site.attention(lambda inner, module, query, key, value, mask, **k: inner(module, key, query, value, mask, **k))


def _no_attention_bias(site: Site) -> None:
    for part in ("query", "key", "value"):
        for _, module in site.named(part):
            site.computes(module, lambda x, m=module: functional.linear(x, m.weight))


def _transposed(ending: str) -> Callable[[Site], None]:
    def make(site: Site) -> None:
        for _, module in site.named(ending):
            if module.weight.shape[0] != module.weight.shape[1]:
                raise NotHereError
            site.computes(module, lambda x, m=module: functional.linear(x, m.weight.mT, m.bias))

    return make


def _layers(order: Callable[[int, int], int]) -> Callable[[Site], None]:
    """Layers with the parameters of other ones, by a function of a layer's number and how many there are."""

    def make(site: Site) -> None:
        layers: dict[int, dict[str, Any]] = {}
        for name, module in site.network.model.named_modules():
            layer = LAYER.search(name + ".")
            if layer and module._parameters:
                layers.setdefault(int(layer[1]), {})[(name + ".").partition(layer[0])[2]] = module
        if len(layers) < 2 or len({frozenset(parts) for parts in layers.values()}) > 1:
            raise NotHereError
        own = {n: {part: dict(module._parameters) for part, module in parts.items()} for n, parts in layers.items()}
        for n, parts in layers.items():
            if site.places is None or f"layers/{n}" in site.places:
                for part, module in parts.items():
                    site.undo.callback(module._parameters.update, own[n][part])
                    module._parameters.update(own[order(n, len(layers))][part])

    return make


# The head.


def _pooler_activation(function: Callable[[Tensor], Tensor]) -> Callable[[Site], None]:
    def make(site: Site) -> None:
        for _, module in site.named("pooler.activation"):
            site.computes(module, function)

    return make


def _no_pooler(site: Site) -> None:
    for _, module in site.named("pooler"):
        site.computes(module, lambda hidden: hidden[:, 0])


def _pooled(how: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Site], None]:
    """Another token than the first, by a function of the states [b, s, width] and the mask [b, s, 1]."""

    def make(site: Site) -> None:
        def first(hidden: Tensor) -> Tensor:
            mask = torch.from_numpy(site.network.batch["attention_mask"])[..., None].to(hidden.dtype)
            return how(hidden, mask)[:, None]

        for _, module in site.named("pooler"):
            site.before(module, first)

    return make


def _no_head_bias(site: Site) -> None:
    last = site.network.last
    if last is None or last.bias is None:
        raise NotHereError
    site.computes(last, lambda x: functional.linear(x, last.weight))


def _after_head(function: Callable[..., Tensor]) -> Callable[[Site], None]:
    def make(site: Site) -> None:
        if site.network.last is None:
            raise NotHereError
        site.after(site.network.last, lambda _, output: function(output, dim=-1))

    return make


def _pad_trained(site: Site) -> None:
    for _, module in site.named("word_embeddings"):
        if module.padding_idx is None:
            raise NotHereError
        site.undo.callback(setattr, module, "padding_idx", module.padding_idx)
        module.padding_idx = None


CHANGES: dict[str, Callable[[Site], None]] = {
    "token-types-omitted": _no_types,
    "token-types-zero": _types(torch.zeros_like),
    "token-types-swapped": _types(lambda types: 1 - types),
    "positions-from-1": _positions_from(1),
    "positions-from-2": _positions_from(2),
    "positions-omitted": _no_positions,
    "positions-skip-pads": _positions_skip_pads,
    "words-scaled": _words_scaled,
    "pad-zero": _pad_zero,
    "embeddings-unnormed": _unnormed,
    "layer-norm-eps": _eps,
    "layer-norm-unbiased": _unbiased,
    "gelu-tanh": _activation(lambda x: functional.gelu(x, approximate="tanh")),
    "gelu-sigmoid": _activation(lambda x: x * torch.sigmoid(1.702 * x)),
    "gelu-relu": _activation(functional.relu),
    "gelu-silu": _activation(functional.silu),
    "pre-norm": _pre_norm,
    "norm-before-sum": _norm_before_sum,
    "residuals-omitted": _no_residual,
    "mask-none": _mask(lambda mask, seen: None),
    "mask-added": _mask(lambda mask, seen: (mask == 0).to(mask.dtype)),
    "mask-multiplied": _mask_multiplied,
    "mask-after-softmax": _mask_after_softmax,
    "mask-one-short": _mask(_one_short),
    "mask-one-long": _mask(_one_long),
    "mask-of-ids": _mask_of_ids,
    "mask-inverted": _mask(lambda mask, seen: _hidden(~(mask == 0), mask)),
    "causal": _causal,
    "heads-interleaved": _heads_interleaved,
    "heads-reshaped": _split(_reshaped),
    "heads-merged": _merged,
    "scale-of-width": _scaled(lambda heads, head: heads**-0.5),
    "scale-none": _scaled(lambda heads, head: head**0.5),
    "scale-twice": _scaled(lambda heads, head: head**-0.5),
    "queries-keys-swapped": _swapped,
    "attention-unbiased": _no_attention_bias,
    "transposed-query": _transposed("query"),
    "transposed-key": _transposed("key"),
    "transposed-value": _transposed("value"),
    "transposed-attention": _transposed("attention.output.dense"),
    "layers-reversed": _layers(lambda n, count: count - 1 - n),
    "layers-first": _layers(lambda n, count: 0),
    "pooler-linear": _pooler_activation(lambda x: x),
    "pooler-relu": _pooler_activation(functional.relu),
    "pooler-omitted": _no_pooler,
    "pooler-mean": _pooled(lambda hidden, mask: hidden.mean(1)),
    "pooler-mean-real": _pooled(lambda hidden, mask: (hidden * mask).sum(1) / mask.sum(1)),
    "pooler-largest": _pooled(lambda hidden, mask: hidden.amax(1)),
    "pooler-last": _pooled(lambda hidden, mask: hidden[:, -1]),
    "transposed-pooler": _transposed("pooler.dense"),
    "head-unbiased": _no_head_bias,
    "head-softmax": _after_head(torch.softmax),
    "head-log-softmax": _after_head(torch.log_softmax),
    "pad-trained": _pad_trained,
}
"""Changes by id."""
