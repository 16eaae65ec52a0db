"""The first step of every shape is told apart, as it compiles: that of a short last batch too."""

from __future__ import annotations

import numpy as np

from shared.contract import Build, Load
from shared.encoding import Encoded, take_rows
from shared.finetune import finetune
from shared.recipe import Recipe
from tests.backends.cases import perturbed_weights
from tests.backends.conftest import THREADS
from tests.backends.test_modes import ALWAYS_COMPILES, ONE_LAYER, torchs_cache  # noqa: F401

WIDTH = 16
RECIPE = Recipe(max_len=WIDTH, batch_size=8, epochs=3, learning_rate=1e-4)


def split(rows: int) -> Encoded:
    random = np.random.RandomState(rows)
    ids = random.randint(1, ONE_LAYER.vocab_size, rows * WIDTH).astype(np.int32)
    offsets = np.arange(rows + 1) * WIDTH
    return Encoded(ids, np.zeros(len(ids), np.uint8), offsets, np.arange(rows) % ONE_LAYER.num_labels, 0)


def test_every_shapes_compilation_is_told_apart(load: Load) -> None:
    train = split(44)  # five batches of 8 rows, and one of 4
    model = load(Build(ONE_LAYER, perturbed_weights(ONE_LAYER), RECIPE, "cpu", THREADS, compile=not ALWAYS_COMPILES))
    data = {"train": train, "dev": take_rows(train, np.arange(8))}
    fit = finetune(model, data, RECIPE, ("accuracy",), lambda event: None, compiled=not ALWAYS_COMPILES).fit
    first = fit.epochs[0]
    assert [epoch.first_tokens for epoch in fit.epochs] == [12 * WIDTH, 0, 0]
    assert fit.first_step_seconds < first.first_seconds <= first.seconds
