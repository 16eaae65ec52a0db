"""The word embedding by rows, in MXNet (see backends/word_rows.py).

The network has the block for its vocabulary. A copy of it, of the same layers but for the word embedding, looks words
up in the whole table.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock, Parameter, nn

from backends.word_rows import RestRows, WholeWords


class NetworkWords(WholeWords):
    """The whole table of a network whose parameter is the block."""

    def __init__(self, rest: RestRows, block: Parameter, context: mx.Context) -> None:
        super().__init__(rest)
        self._block = block
        rows, width = rest.first.shape
        self.embedding = nn.Embedding(rows, width, dtype=rest.first.dtype.name, prefix="whole_")
        self.embedding.weight.grad_req = "null"
        self.embedding.weight.initialize(init=mx.init.Constant(rest.first), ctx=context)

    def network(self, network: HybridBlock) -> HybridBlock:
        """A network of the same layers, which looks words up in the whole table."""
        words = nn.HybridSequential(prefix="whole_words_")
        words.add(self.embedding)
        bert, whole = _copied(network.bert), _copied(network)
        bert.word_embed = words
        whole.bert = bert
        return whole

    def _block_values(self) -> np.ndarray:
        values: np.ndarray = self._block.data().asnumpy()
        return values

    def _assign(self, table: np.ndarray) -> None:
        self.embedding.weight.data()[:] = table


def _copied(block: HybridBlock) -> HybridBlock:
    """A block with the same children, which may be replaced."""
    made = copy.copy(block)
    made._children = OrderedDict(block._children)
    return made
