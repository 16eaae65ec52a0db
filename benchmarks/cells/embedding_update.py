"""The update of the word embedding that a cell has if none is asked for: by rows where that is quicker."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from backends import moves_every_row
from shared.checkpoint.config import OF_RECIPE, read_architecture
from shared.encoding import read_encoded, trained_ids
from shared.job import EmbeddingUpdate
from shared.recipe import Recipe

if TYPE_CHECKING:
    from benchmarks.cells.plan import Question

MOST_TOUCHED = 0.5
"""The share of the vocabulary up to which rows are taken. docs/performance.md measures where they stop winning."""


UPDATED_BY = ("optimizer", "decay", "decay_exempt")
"""Fields of a recipe that decide which rows an optimizer moves."""


def quicker_update(question: Question, device: str) -> EmbeddingUpdate:
    """The quicker update for training a question on a device: `rows` on a CPU if the optimizer lets other rows wait,
    and the training split has at most MOST_TOUCHED of the vocabulary. On a GPU neither was measured."""
    if device != "cpu":
        return "dense"
    q = question
    return _on_cpu(q.data, q.checkpoint, q.recipe.only((*OF_RECIPE, *UPDATED_BY)), len(q.labels))


@cache
def _on_cpu(data: Path, checkpoint: Path, recipe: Recipe, labels: int) -> EmbeddingUpdate:
    architecture = read_architecture(checkpoint, recipe, labels)
    if moves_every_row(recipe, architecture.word_table):
        return "dense"
    touched = len(trained_ids(read_encoded(data), architecture.vocab_size))
    return "rows" if touched <= MOST_TOUCHED * architecture.vocab_size else "dense"
