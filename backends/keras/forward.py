"""The forward pass over keras-hub's layers, which computes what is asked for and no more.

Tokens lie end to end, [n, width], for all but attention. A classifier reads the first token of each row alone, so its
last layer is computed for these tokens alone: to rounding, logits and gradients are those of keras-hub's own call.

Imports no engine (see network.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
from keras import ops

Tensor = Any


class Rows(Protocol):
    """A batch of `b` rows, with `n` tokens to compute on."""

    @property
    def ids(self) -> Tensor: ...

    @property
    def types(self) -> Tensor: ...

    @property
    def mask(self) -> Tensor:
        """[b, s]: 1 for real tokens, 0 for padding."""
        ...

    @property
    def redraws(self) -> bool:
        """Whether dropout draws for all tokens if it needs the first ones alone."""
        ...

    def positions(self, table: Tensor, words: Tensor) -> Tensor:
        """Position embeddings of the tokens, in a shape that adds to `words`. `table` has one for each position."""
        ...

    def apart(self, tokens: Tensor) -> Tensor:
        """[n, k] to [b, s, k]. Entries of padding mean nothing."""
        ...

    def joined(self, rows: Tensor) -> Tensor:
        """[b, s, k] to [n, k]."""
        ...

    def first(self, tokens: Tensor) -> Tensor:
        """[n, k] to [b, k]: the first token of each row."""
        ...


@dataclass(frozen=True)
class Padded:
    """Rows of `s` tokens, padding included: n is b * s. All arrays are int [b, s]."""

    ids: Tensor
    types: Tensor
    mask: Tensor
    redraws = True

    def positions(self, table: Tensor, words: Tensor) -> Tensor:
        return table[: ops.shape(words)[1]]

    def apart(self, tokens: Tensor) -> Tensor:
        rows, width = ops.shape(self.ids)
        return ops.reshape(tokens, (rows, width, tokens.shape[-1]))

    def joined(self, rows: Tensor) -> Tensor:
        return ops.reshape(rows, (-1, rows.shape[-1]))

    def first(self, tokens: Tensor) -> Tensor:
        return self.apart(tokens)[:, 0]


@dataclass(frozen=True)
class Stack:
    """keras-hub's layers under a classifier."""

    words: Any
    positions: Any
    segments: Any | None
    """None for DistilBERT."""
    norm: Any
    dropout: Any
    blocks: Sequence[Any]
    pooler: Any
    head_dropout: Any
    classifier: Any

    def logits(self, rows: Rows, training: bool) -> Tensor:
        """Logits, [b, labels]."""
        tokens = self._embedded(rows, training)
        for block in self.blocks[:-1]:
            tokens = _encoded(block, tokens, rows, training)
        first = _encoded(self.blocks[-1], tokens, rows, training, first_alone=True)
        return self._head(self.pooler(first), training)

    def states(self, rows: Rows, training: bool) -> dict[str, Any]:
        """All tensors that HiddenStates names."""
        tokens = self._embedded(rows, training)
        found = {"embeddings": rows.apart(tokens), "layers": []}
        for block in self.blocks:
            tokens = _encoded(block, tokens, rows, training)
            found["layers"].append(rows.apart(tokens))
        pooled = self.pooler(rows.first(tokens))
        return found | {"pooled": pooled, "logits": self._head(pooled, training)}

    def _embedded(self, rows: Rows, training: bool) -> Tensor:
        """States of the tokens before the first block, [n, width]."""
        words = self.words(rows.ids)
        total = words + rows.positions(ops.convert_to_tensor(self.positions.position_embeddings), words)
        if self.segments is not None:
            total = total + self.segments(rows.types)
        return self.dropout(_normed(self.norm, ops.reshape(total, (-1, total.shape[-1]))), training=training)

    def _head(self, pooled: Tensor, training: bool) -> Tensor:
        return self.classifier(self.head_dropout(pooled, training=training))


def _encoded(block: Any, tokens: Tensor, rows: Rows, training: bool, first_alone: bool = False) -> Tensor:
    """The block's states of the tokens, [n, width], or of each row's first token alone, [b, width]."""

    def dropped(layer: Any, x: Tensor) -> Tensor:
        if not (first_alone and rows.redraws):
            return layer(x, training=training)
        return x if not training else x * rows.first(layer(ops.ones_like(tokens), training=True))

    attention = block._self_attention_layer
    residual = rows.first(tokens) if first_alone else tokens
    context = _attended(attention, residual, tokens, rows, training)
    projected = _product(attention._output_dense, context)
    attended = _normed(block._self_attention_layer_norm, dropped(block._self_attention_dropout, projected) + residual)
    wide = block._feedforward_intermediate_dense(attended)
    output = dropped(block._feedforward_dropout, block._feedforward_output_dense(wide))
    return _normed(block._feedforward_layer_norm, output + attended)


def _normed(layer: Any, x: Tensor) -> Tensor:
    """LayerNorm of x, [n, width]. On JAX, Keras' own computes float64 in float32."""
    if not _in_float64(x):
        return layer(x)
    centred = x - ops.sum(x, axis=-1, keepdims=True) / x.shape[-1]
    variance = ops.sum(ops.square(centred), axis=-1, keepdims=True) / x.shape[-1]
    return centred * (ops.rsqrt(variance + layer.epsilon) * layer.gamma) + layer.beta


def _in_float64(x: Tensor) -> bool:
    return bool(keras.backend.standardize_dtype(x.dtype) == "float64")


def _attended(attention: Any, queries: Tensor, tokens: Tensor, rows: Rows, training: bool) -> Tensor:
    """Computes what the queries, which are the tokens or the first of each row, gather from their rows' tokens. It has
    their shape."""
    first_alone = queries is not tokens
    q = _product(attention._query_dense, queries)
    q = q[:, None] if first_alone else rows.apart(q)
    k, v = (rows.apart(_product(layer, tokens)) for layer in (attention._key_dense, attention._value_dense))
    q, k, v = (_by_head(x, attention.num_heads) for x in (q, k, v))
    mask = ops.cast(rows.mask, "bool")[:, None]
    if first_alone and training and rows.redraws and attention._dropout > 0:
        context = _of_first(attention, q, k, v, mask)
    elif _in_float64(q):
        context = _in_products(attention, q, k, v, mask, training)
    else:
        context, _ = attention._compute_attention(q, k, v, mask, training)
    context = ops.reshape(context, (*ops.shape(context)[:2], tokens.shape[-1]))
    return context[:, 0] if first_alone else rows.joined(context)


def _by_head(x: Tensor, heads: int) -> Tensor:
    """[b, s, width] to [b, s, heads, width of a head]."""
    return ops.reshape(x, (*ops.shape(x)[:2], heads, x.shape[-1] // heads))


def _in_products(attention: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, training: bool) -> Tensor:
    """Attention, [b, s, heads, k]. On JAX, Keras' own computes float64 in float32 without dropout."""
    q, k, v = (ops.transpose(x, (0, 2, 1, 3)) for x in (q, k, v))
    scores = ops.matmul(q * attention._inverse_sqrt_key_dim, ops.transpose(k, (0, 1, 3, 2)))
    weights = attention._dropout_layer(attention._masked_softmax(scores, mask), training=training)
    return ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3))


def _of_first(attention: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attention of the first tokens, [b, 1, heads, k], with dropout drawn for all tokens."""
    scaled = q * ops.cast(attention._inverse_sqrt_key_dim, q.dtype)
    weights = attention._masked_softmax(ops.einsum(attention._dot_product_equation, k, scaled), mask)
    rows, s, heads, _ = ops.shape(k)
    drawn = attention._dropout_layer(ops.ones((rows, heads, s, s), weights.dtype), training=True)
    return ops.einsum(attention._combine_equation, weights * drawn[:, :, :1], v)


def _product(layer: Any, x: Tensor) -> Tensor:
    """The output, [n, width], of a layer that keras-hub splits into heads on one side."""
    width = x.shape[-1]
    kernel, bias = (ops.cast(variable, x.dtype) for variable in (layer.kernel, layer.bias))
    return ops.matmul(x, ops.reshape(kernel, (width, width))) + ops.reshape(bias, (width,))
