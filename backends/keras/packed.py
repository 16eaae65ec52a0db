"""Rows laid end to end, without padding, in TensorFlow. Attention alone has rows as wide as the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

Tensor = Any
FLAT, WIDE = (tf.TensorSpec([None] * axes, tf.int32) for axes in (1, 2))


@dataclass(frozen=True)
class Packed:
    """See `backends.keras.forward.Rows`. The arrays are those of `backends.keras.laid.Laid`.

    Tokens and places of rows belong together one to one, so each way's gradient is the other way."""

    ids: Tensor
    types: Tensor
    mask: Tensor
    numbers: Tensor
    places: Tensor
    tokens: Tensor
    starts: Tensor
    redraws = False

    SIGNATURE = FLAT, FLAT, WIDE, FLAT, FLAT, WIDE, FLAT
    """Shapes of the arrays, in their order."""

    def positions(self, table: Tensor, words: Tensor) -> Tensor:
        return tf.gather(table, self.numbers)

    def apart(self, tokens: Tensor) -> Tensor:
        @tf.custom_gradient
        def apart(tokens: Tensor) -> tuple[Tensor, Any]:
            return tf.gather(tokens, self.tokens), lambda rows: tf.gather(_flat(rows), self.places)

        return apart(tokens)

    def joined(self, rows: Tensor) -> Tensor:
        @tf.custom_gradient
        def joined(rows: Tensor) -> tuple[Tensor, Any]:
            def apart(tokens: Tensor) -> Tensor:
                """Padding gets zeros: what it gave was not read."""
                return tf.reshape(_placed(self.places, tokens, _flat(rows)), tf.shape(rows))

            return tf.gather(_flat(rows), self.places), apart

        return joined(rows)

    def first(self, tokens: Tensor) -> Tensor:
        @tf.custom_gradient
        def first(tokens: Tensor) -> tuple[Tensor, Any]:
            return tf.gather(tokens, self.starts), lambda given: _placed(self.starts, given, tokens)

        return first(tokens)


def _flat(rows: Tensor) -> Tensor:
    """[b, s, k] to [b * s, k]."""
    return tf.reshape(rows, (-1, rows.shape[-1]))


def _placed(places: Tensor, values: Tensor, like: Tensor) -> Tensor:
    """Puts values, [n, k], in these places of zeros in the shape of `like`."""
    return tf.scatter_nd(places[:, None], values, tf.shape(like))
