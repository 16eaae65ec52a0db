"""Padding costs time and changes nothing: rows in buckets, padded to the longest of their batch, train as the same rows
padded to max_len do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from shared.architecture import Weights
from shared.batching import Batch, make_batch, training_order
from shared.encoding import Encoded
from shared.recipe import Recipe
from tests.backends.cases import LOGITS, LOSS_AFTER_ONE, STEEP, STEEP_RATE, TRAINED, WEIGHTS_AFTER_ONE
from tests.backends.conftest import BuildModel, Measured, Reference, Untrained

KINDS = ["bert", "distilbert"]
RECIPE = replace(STEEP, max_len=48, padding="bucket", epochs=1, dropout=0.0)
WEIGHTS = 2 * WEIGHTS_AFTER_ONE
"""Bound on the difference of weights. Each of the two runs has its own rounding."""
ROWS = 44
"""Number of rows: five batches of eight and one of four."""


def rows_of(kind: str) -> Encoded:
    """Draws rows of 3 to 48 tokens, so that buckets have many widths."""
    a, random = TRAINED[kind].architecture, np.random.RandomState(3)
    lengths = random.randint(3, RECIPE.max_len + 1, ROWS)
    ids = random.randint(1, a.vocab_size, lengths.sum()).astype(np.int32)
    types = np.concatenate([np.arange(n) >= n // 2 for n in lengths]).astype(np.uint8)
    labels = random.randint(0, a.num_labels, ROWS).astype(np.int64)
    return Encoded(ids, types, np.concatenate([[0], np.cumsum(lengths)]), labels, a.pad_id)


def batches_of(kind: str) -> tuple[list[Batch], list[Batch]]:
    """Makes an epoch in buckets, and the same batches padded to max_len."""
    data = rows_of(kind)
    (order,) = training_order(RECIPE, data.lengths)
    whole = replace(RECIPE, padding="max_length")
    return [make_batch(data, rows, RECIPE) for rows in order], [make_batch(data, rows, whole) for rows in order]


@dataclass(frozen=True)
class Trained:
    """The result of an epoch."""

    losses: np.ndarray
    """Loss of each batch before its step."""
    weights: Weights
    logits: np.ndarray
    """Logits of the last batch after all steps."""

    def weight_distance(self, other: Trained) -> float:
        return max(float(np.abs(self.weights[name] - other.weights[name]).max()) for name in self.weights)


def trained(build: BuildModel, kind: str, batches: list[Batch], recipe: Recipe) -> Trained:
    model = build(TRAINED[kind].architecture, TRAINED[kind].weights, recipe)
    losses = [model.train_step(batch, STEEP_RATE)()[0] for batch in batches]
    return Trained(np.array(losses), model.weights(), model.predict(batches[-1]))


def unmasked(batch: Batch) -> Batch:
    return replace(batch, attention_mask=np.ones_like(batch.attention_mask))


@pytest.mark.parametrize("kind", KINDS)
def test_buckets_train_to_the_weights_of_padded_batches(
    build: BuildModel, reference: Reference, measured: Measured, mistake_shows: Measured, kind: str
) -> None:
    """The batches are the same, once in buckets and once padded to max_len."""
    short, whole = batches_of(kind)
    assert len({batch.input_ids.shape for batch in short}) == len(short)
    assert {batch.input_ids.shape[1] for batch in whole} == {RECIPE.max_len}
    recipe = replace(RECIPE, clip=float(reference(kind)["clip"]))
    in_buckets, padded = trained(build, kind, short, recipe), trained(build, kind, whole, recipe)
    measured(f"{kind}, losses in buckets", np.abs(in_buckets.losses - padded.losses).max(), LOSS_AFTER_ONE)
    measured(f"{kind}, weights in buckets", in_buckets.weight_distance(padded), WEIGHTS)
    measured(f"{kind}, logits in buckets", np.abs(in_buckets.logits - padded.logits).max(), 2 * LOGITS)
    blind = trained(build, kind, [unmasked(batch) for batch in whole], recipe)
    mistake_shows(f"{kind}, padding that is attended to", in_buckets.weight_distance(blind), WEIGHTS)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_do_not_depend_on_earlier_batches(untrained: Untrained, measured: Measured, kind: str) -> None:
    """Earlier batches are wider or narrower."""
    short, whole = batches_of(kind)
    model = untrained(kind)
    alone = [model.predict(batch) for batch in short]
    for batch, wide, logits in zip(reversed(short), reversed(whole), reversed(alone), strict=True):
        measured(f"{kind}, logits at max_len", np.abs(model.predict(wide) - logits).max(), LOGITS)
        np.testing.assert_array_equal(model.predict(batch), logits)
