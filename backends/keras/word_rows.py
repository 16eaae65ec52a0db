"""The word embedding by rows, in TensorFlow (see backends/word_rows.py).

The network has the block for its vocabulary, and without gradients looks words up in the whole table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from backends.keras.network import Parameter
from backends.word_rows import RestRows, WholeWords


class LayerWords(WholeWords):
    """The whole table of a network whose parameter is the block."""

    def __init__(self, rest: RestRows, block: Parameter, layer: Any) -> None:
        """Takes the block's parameter, and the layer that looks words up in it."""
        super().__init__(rest)
        self._block, self._layer = block, layer
        self._table = tf.Variable(rest.first, trainable=False)

    def _block_values(self) -> np.ndarray:
        values: np.ndarray = self._block.variable.numpy()
        return values

    def _assign(self, table: np.ndarray) -> None:
        self._table.assign(table)

    @contextmanager
    def looked_up(self) -> Iterator[None]:
        """While this lasts, the layer looks words up in the whole table. A `tf.function` keeps what it was traced
        with."""
        self._layer.call = lambda ids: tf.gather(self._table, ids)
        try:
            yield
        finally:
            del self._layer.call
