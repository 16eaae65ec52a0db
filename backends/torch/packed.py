"""transformers' networks without padding: a batch's real tokens are laid end to end, [1, t], each with its position in
its row (shared/packing.py).

Embeddings, linear layers, LayerNorm, dropout and activations then see no other. Attention gets rows of them, in groups
of like length, and the encoder's output is the first token of each row, which is all that both networks pool.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from shared.batching import Batch
from shared.packing import Packing, group_rows

Move = Callable[[np.ndarray], torch.Tensor]
"""Moves an array to the device."""


@dataclass(frozen=True)
class Group:
    """Rows that attention is computed on at one width."""

    rows: int
    width: int
    mask: torch.Tensor | None
    """bool [rows, 1, 1, width], True for real tokens; None if all are."""


@dataclass(frozen=True)
class Rows:
    """The groups of a packed batch of `t` tokens. A group has slots [rows, heads, width], as products of attention read
    them; groups lie one after another, `n` slots in all. So each is copied once, and not again by the product."""

    groups: list[Group]
    starts: torch.Tensor
    """The first token of each row, group after group, int64 [b]."""
    places: torch.Tensor
    """Where each row of the batch is among those, int64 [b]."""
    tokens: torch.Tensor
    """The content of each slot, as token * heads + head, int64 [n]: if it is left over, some token of its row."""
    slots: torch.Tensor
    """The slot of each token's heads, int64 [t * heads]."""

    def first(self, tokens: torch.Tensor) -> torch.Tensor:
        """The first token of each row out of [1, t, width], group after group: [b, 1, width]."""
        return tokens[0].index_select(0, self.starts)[:, None]

    @classmethod
    def of(cls, packing: Packing, heads: int, groups: int, move: Move, always_masked: bool) -> Rows:
        """Divides the rows into so many groups or fewer. `always_masked` gives a mask to rows that are all as long."""
        lengths, starts = packing.lengths, packing.starts[:-1].astype(np.int64)
        found, tokens, slots = [], [], np.empty(len(packing.tokens) * heads, np.int64)
        each, count, grouped = np.arange(heads)[:, None], 0, group_rows(lengths, groups)
        for rows in grouped:
            places = np.arange(lengths[rows].max())
            real = places < lengths[rows][:, None]
            token = starts[rows][:, None] + np.minimum(places, lengths[rows][:, None] - 1)
            of_heads = token[:, None] * heads + each
            used = np.broadcast_to(real[:, None], of_heads.shape)
            slots[of_heads[used]] = count + np.flatnonzero(used)
            tokens.append(of_heads.ravel())
            count += used.size
            masked = always_masked or not real.all()
            found.append(Group(real.shape[0], real.shape[1], move(real[:, None, None]) if masked else None))
        order = np.concatenate(grouped)
        firsts = move(starts[order]), move(np.argsort(order))
        return cls(found, *firsts, move(np.concatenate(tokens)), move(slots))


class _LayOut(torch.autograd.Function):
    """Heads of tokens [t * heads, d] in slots [n, d]. Attention's gradient is zero in slots that are left over."""

    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, rows: Rows) -> torch.Tensor:
        ctx.rows = rows
        return tokens.index_select(0, rows.tokens)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient.index_select(0, ctx.rows.slots), None


class _Take(torch.autograd.Function):
    """Heads of tokens [t * heads, d] out of slots [n, d]."""

    @staticmethod
    def forward(ctx: Any, slots: torch.Tensor, rows: Rows) -> torch.Tensor:
        ctx.rows, ctx.shape = rows, slots.shape
        return slots.index_select(0, rows.slots)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient.new_zeros(ctx.shape).index_copy_(0, ctx.rows.slots, gradient), None


def pack_network(network: Any) -> None:
    """Makes a network of transformers take what `packed_inputs` gives. Attention in rows stays what it was.

    oneDNN keeps a program for each shape of a product, 1024 of them. Hardly a batch has as many tokens as another, so
    that they are not met again: this process keeps those of a few batches, unless the user has said how many.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")  # read at the first product
    inner = network.config._attn_implementation
    name = f"{inner}_packed"
    AttentionInterface.register(name, _by_groups(ALL_ATTENTION_FUNCTIONS[inner]))
    network.config._attn_implementation = name
    network.config.tie_last_hidden_states = False  # the encoder's output is first tokens, its last layer's is not
    base = network.base_model
    encoder = base.transformer if network.config.model_type == "distilbert" else base.encoder
    encoder.register_forward_hook(_first_tokens, with_kwargs=True)


def packed_inputs(batch: Batch, heads: int, groups: int, move: Move, always_masked: bool) -> dict[str, Any]:
    """The batch's real tokens, [1, t], as a packed network takes them. The others are as in `Rows.of`."""
    packing = Packing.of(batch.attention_mask)
    rows = batch.input_ids, batch.token_type_ids
    ids, types = (move(array.reshape(-1)[packing.tokens][None]) for array in rows)
    return {
        "input_ids": ids,
        "token_type_ids": types,
        "position_ids": move(packing.positions[None]),
        "rows": Rows.of(packing, heads, groups, move, always_masked),
    }


def padded_states(states: np.ndarray, batch: Batch) -> np.ndarray:
    """States of tokens [1, t, width] as those of the batch's rows, [b, s, width]. Padding has zeros."""
    rows = np.zeros((batch.input_ids.size, states.shape[-1]), states.dtype)
    rows[Packing.of(batch.attention_mask).tokens] = states[0]
    return rows.reshape(*batch.input_ids.shape, -1)


def _first_tokens(_: Any, __: Any, options: dict[str, Any], output: Any) -> Any:
    rows, found = options["rows"], output.last_hidden_state
    first = found if options.get("first_alone") else rows.first(found)
    output.last_hidden_state = first.index_select(0, rows.places)
    return output


def _by_groups(inner: Any) -> Any:
    """Attention as transformers calls it, on tokens [1, heads, t, width of a head], by `inner` on rows. Queries may be
    those of `Rows.first` alone, [b, heads, 1, width of a head]."""

    def attention(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: None,
        rows: Rows,
        **options: Any,
    ) -> tuple[torch.Tensor, None]:
        _, heads, _, width = key.shape
        first_alone = query.shape[2] == 1
        k, v, *q = (_split(part, rows) for part in ((key, value) if first_alone else (key, value, query)))
        queries = query.split([group.rows for group in rows.groups]) if first_alone else q[0]
        contexts = [
            inner(module, *parts, group.mask, **options)[0].transpose(1, 2)
            for group, *parts in zip(rows.groups, queries, k, v, strict=True)
        ]
        if first_alone:
            return _joined(contexts).transpose(1, 2), None
        slots = _joined([context.reshape(-1, width) for context in contexts])
        return _Take.apply(slots, rows).view(1, -1, heads, width), None

    return attention


def _split(tokens: torch.Tensor, rows: Rows) -> list[torch.Tensor]:
    """Heads of tokens, [1, heads, t, d], by groups, [rows, heads, width of the group, d]."""
    _, heads, _, width = tokens.shape
    slots = _LayOut.apply(tokens.transpose(1, 2).reshape(-1, width), rows)
    parts = slots.split([group.rows * heads * group.width for group in rows.groups])
    return [part.view(group.rows, heads, group.width, width) for group, part in zip(rows.groups, parts, strict=True)]


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
