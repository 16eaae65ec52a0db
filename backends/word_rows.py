"""The word embedding by rows: those that training can touch, and the rest.

A row that no step touches has no gradient, and so moments of zero: an exact step of AdamW multiplies it by
1 - rate * decay. The product of these factors can wait until the row is read. So the rows that can be touched lie in a
block of their own, with moments and gradient, which takes every step whole; of the rest a model keeps the first values
and the product, in float64. A row that is read is rounded once, where a dense update rounds it at every step: it is
no further from the exact value, and apart from the dense one by at most half a unit in the last place a step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from backends import check_embedding_update
from shared.architecture import Architecture
from shared.batching import Batch
from shared.contract import Build
from shared.job import stored
from shared.recipe import Recipe


@dataclass(frozen=True)
class WordRows:
    """The rows of a word embedding [vocab_size, width] that train steps can touch."""

    name: str
    """The table's name."""
    ids: np.ndarray
    """Their ids, int64 [n], ascending: those of `Build.touched` and the pad token."""
    places: np.ndarray
    """Each id's place in the block, int32 [vocab_size]; -1 for the rest."""
    pad: int
    """The pad token's place."""

    @classmethod
    def of(cls, build: Build) -> WordRows | None:
        """The rows of a build; None if all are updated at every step. Raises InputError if the recipe's optimizer moves
        all of them."""
        if build.touched is None:
            return None
        a = build.architecture
        check_embedding_update("rows", build.recipe, a.word_table)
        ids = np.union1d(build.touched, [a.pad_id])
        places = np.full(a.vocab_size, -1, np.int32)
        places[ids] = np.arange(len(ids))
        return cls(a.word_table, ids, places, int(places[a.pad_id]))

    def small(self, architecture: Architecture) -> Architecture:
        """The architecture whose vocabulary is the block alone."""
        return replace(architecture, vocab_size=len(self.ids), pad_id=self.pad)

    def placed(self, batch: Batch) -> Batch:
        """The batch with places in the block for ids. Raises ValueError as `check` does."""
        self.check(batch.input_ids)
        return replace(batch, input_ids=self.places[batch.input_ids])

    def check(self, input_ids: np.ndarray) -> None:
        """Raises ValueError if a word of a batch to train on (int32 [b, s]) is not in the block."""
        strange = input_ids[self.places[input_ids] < 0]
        if len(strange):
            raise ValueError(f"a batch to train on has token id {strange[0]}, which Build.touched lacks")

    def block(self, table: np.ndarray) -> np.ndarray:
        """The block's rows of a table [vocab_size, width], [n, width]."""
        rows: np.ndarray = table[self.ids]
        return rows

    def table(self, block: np.ndarray, rest: np.ndarray, kept: float) -> np.ndarray:
        """The whole table: the block [n, width], and all other rows of `rest` [vocab_size, width] times `kept`,
        multiplied in float64."""
        whole = np.empty_like(rest)
        np.multiply(rest, kept, out=whole, dtype=np.float64, casting="same_kind")
        whole[self.ids] = block
        return whole

    def spread(self, gradient: np.ndarray) -> np.ndarray:
        """The whole table's gradient by the block's [n, width]: zero in all other rows."""
        whole = np.zeros((len(self.places), gradient.shape[1]), gradient.dtype)
        whole[self.ids] = gradient
        return whole


@dataclass
class RestRows:
    """The rows that no step touches, kept on the host by a model whose network has the block for its vocabulary."""

    rows: WordRows
    recipe: Recipe
    first: np.ndarray
    """First values of all rows, [vocab_size, width]. Those of the block are not read."""
    kept: float = 1.0
    """The share of them that decay has left."""

    @classmethod
    def of(cls, build: Build) -> RestRows | None:
        """The rest of a build's rows; None, and errors, as `WordRows.of`."""
        rows = WordRows.of(build)
        return (
            None
            if rows is None
            else cls(rows, build.recipe, np.array(build.weights[rows.name], stored(build.precision)))
        )

    def step(self, learning_rate: float) -> None:
        """Decays as a step of AdamW does."""
        if self.recipe.optimizer == "adamw" and self.recipe.decays(self.rows.name):
            self.kept *= 1 - learning_rate * self.recipe.decay

    def whole(self, block: np.ndarray) -> np.ndarray:
        """The whole table, by the block [n, width]."""
        return self.rows.table(block, self.first, self.kept)

    def take(self, table: np.ndarray) -> np.ndarray:
        """Takes new values for all rows, and returns the block's."""
        self.first, self.kept = np.array(table, self.first.dtype), 1.0
        return self.rows.block(table)

    def state(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yields the rest's part of `shared.contract.Model.state`."""
        yield "rest", self.first
        yield "kept", np.array(self.kept)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes up a state that `state` gave."""
        self.first, self.kept = state["rest"], float(state["kept"])


class WholeWords(ABC):
    """The whole table, kept in a framework's memory for a network whose parameter is the block. It is brought up to
    date when it is read."""

    def __init__(self, rest: RestRows) -> None:
        self.rest, self.name = rest, rest.rows.name
        self._fresh = True

    def step(self, batch: Batch, learning_rate: float) -> Batch:
        """Takes a step of the rows outside of the block. Returns the batch to train on, with the network's ids. Raises
        ValueError if it has a word that cannot be trained."""
        placed = self.rest.rows.placed(batch)
        self.rest.step(learning_rate)
        self._fresh = False
        return placed

    def table(self) -> np.ndarray:
        """A copy of the whole table, [vocab_size, width]."""
        return self.rest.whole(self._block_values())

    def take(self, table: np.ndarray) -> np.ndarray:
        """Takes new values for all rows, and returns the block's."""
        self._fresh = False
        return self.rest.take(table)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes up a state that the rest gave."""
        self.rest.restore(state)
        self._fresh = False

    def refresh(self) -> None:
        """Brings the framework's table up to date."""
        if not self._fresh:
            self._assign(self.table())
            self._fresh = True

    @abstractmethod
    def _block_values(self) -> np.ndarray:
        """The block as the network has it, [n, width]."""

    @abstractmethod
    def _assign(self, table: np.ndarray) -> None:
        """Puts the whole table [vocab_size, width] into the framework's memory."""
