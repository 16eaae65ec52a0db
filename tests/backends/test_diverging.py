"""Trainings that diverge on each backend: they end, and are never scored."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from shared.finetune import finetune
from shared.recipe import Recipe
from tests.backends.cases import TRAINED
from tests.backends.conftest import BuildModel
from tests.backends.test_finetune import WIDTH, flipped_dev

RECIPE = Recipe(max_len=WIDTH, batch_size=8, epochs=3, learning_rate=1e30, warm_up=0.0, clip=None, keep="best")


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_rate_beyond_all_reason_is_answered_as_diverged(
    build: BuildModel, kind: Literal["bert", "distilbert"]
) -> None:
    case = TRAINED[kind]
    found = finetune(build(case.architecture, case.weights, RECIPE), flipped_dev(), RECIPE, ("accuracy",), print)
    assert found.fit.diverged is not None
    assert 1 <= found.fit.diverged <= 9
    assert (found.fit.kept_epoch, found.fit.test, found.logits) == (0, None, {})
    assert np.isfinite(found.fit.step_loss).all()


def test_a_weight_that_becomes_nan_is_seen_at_the_end(build: BuildModel) -> None:
    """No batch has the word whose embedding it is, so that neither a loss nor a logit tells of it."""
    case, recipe = TRAINED["bert"], replace(RECIPE, learning_rate=1e-3, clip=1.0, keep="last")
    data = flipped_dev()
    name = "bert.embeddings.word_embeddings.weight"
    unused = np.setdiff1d(np.arange(case.architecture.vocab_size), [*data["train"].ids, case.architecture.pad_id])[0]
    weights = dict(case.weights)
    weights[name] = weights[name].copy()
    weights[name][unused] = np.inf
    found = finetune(build(case.architecture, weights, recipe), data, recipe, ("accuracy",), print)
    assert (found.fit.diverged, len(found.fit.epochs), found.fit.test) == (9, 3, None)
