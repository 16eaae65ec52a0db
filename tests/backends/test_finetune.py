"""The training loop with each backend's own network: the weights of the right epoch are tested."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from shared.encoding import Encoded
from shared.finetune import finetune, predict
from shared.recipe import Recipe
from tests.backends.cases import TRAINED
from tests.backends.conftest import BuildModel

ROWS, WIDTH = 24, 12


def flipped_dev() -> dict[str, Encoded]:
    """Rows to learn, and the same as dev with every label moved on by one: the better they are learned, the worse dev
    is. Test is dev."""
    a = TRAINED["bert"].architecture
    random = np.random.RandomState(3)
    ids = random.randint(1, a.vocab_size, ROWS * WIDTH).astype(np.int32)
    offsets = np.arange(ROWS + 1) * WIDTH
    labels = np.arange(ROWS) % a.num_labels

    def split(labels: np.ndarray) -> Encoded:
        return Encoded(ids, np.zeros(len(ids), np.uint8), offsets, labels, a.pad_id)

    dev = split((labels + 1) % a.num_labels)
    return {"train": split(labels), "dev": dev, "test": dev}


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_the_best_epochs_weights_are_tested_and_kept(build: BuildModel, kind: Literal["bert", "distilbert"]) -> None:
    """They are the weights that the model has afterwards, too."""
    case, data = TRAINED[kind], flipped_dev()
    last = Recipe(max_len=WIDTH, batch_size=8, epochs=5, learning_rate=1e-3, warm_up=0.0)
    best = replace(last, keep="best")
    model = build(case.architecture, case.weights, best)
    run = finetune(model, data, best, ("accuracy",), lambda event: None)
    by_epoch = [epoch.dev["accuracy"] for epoch in run.fit.epochs if epoch.dev]
    assert run.fit.kept_epoch == by_epoch.index(max(by_epoch)) + 1
    assert by_epoch[-1] < max(by_epoch)  # else this would show nothing
    assert run.fit.test is not None
    assert run.fit.test["accuracy"] == max(by_epoch)
    assert np.array_equal(predict(model, data["dev"], best), run.logits["dev"])
    assert np.array_equal(run.logits["test"], run.logits["dev"])
    other = finetune(build(case.architecture, case.weights, last), data, last, ("accuracy",), lambda event: None)
    assert (other.fit.kept_epoch, other.fit.test) == (5, run.fit.epochs[-1].dev)
