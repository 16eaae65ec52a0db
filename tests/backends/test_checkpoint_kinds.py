"""Unusual folders are opened with the logits of transformers, and probabilities are those of its pipeline."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from shared.checkpoint.config import read_architecture
from shared.checkpoint.saved import read_saved
from shared.checkpoint.weights import saved_weights
from shared.encoding import encode, read_encoded
from shared.finetune import predict
from shared.metrics import probabilities, sigmoid
from shared.recipe import Recipe
from shared.tasks import Rows
from tests.backends.cases import LOGITS, USUAL
from tests.backends.conftest import BuildModel, Measured, Reference
from tests.checkpoint_kinds import KINDS
from tests.data import CASES, needs_cases


@pytest.mark.parametrize("name", KINDS)
def test_an_unusual_folder_has_transformers_logits(
    name: str, build: BuildModel, reference: Reference, measured: Measured, tmp_path: Path
) -> None:
    kind, expected = KINDS[name], reference(name)
    folder = kind.write(tmp_path / "ck")
    saved = read_saved(folder)
    architecture = read_architecture(folder, USUAL, len(saved.labels))
    logits = build(architecture, saved_weights(folder, architecture)).predict(kind.batch)
    measured(f"logits, {name}", float(np.abs(logits - expected["logits"]).max()), LOGITS)
    found = (sigmoid if saved.each_by_itself else probabilities)(logits)
    assert saved.labels == tuple(expected["names"])
    np.testing.assert_allclose(found, expected["scores"], atol=1e-6)


TEXTS = ["The dog sleeps.", "[E1] the king [/E1]", "x"]

if os.environ.get("CONCORD_TEST_BACKEND") == "torch":

    @needs_cases
    @pytest.mark.parametrize(
        "case", ["added-tokens-json", "class-weights", "distil-sinusoidal", "num-labels-config", "one-logit"]
    )
    def test_a_case_is_answered_as_by_the_pipeline(case: str, build: BuildModel) -> None:
        from transformers import pipeline

        folder = CASES / case / "ck"
        saved = read_saved(folder)
        recipe = Recipe(max_len=saved.max_len, padding="longest")
        architecture = read_architecture(folder, recipe, len(saved.labels))
        model = build(architecture, saved_weights(folder, architecture), recipe)
        data = read_encoded(encode({"texts": Rows(TEXTS, None, None)}, folder, saved.max_len, architecture.pad_id))
        logits = predict(model, data["texts"], recipe)
        found = (sigmoid if saved.each_by_itself else probabilities)(logits)
        expected = pipeline("text-classification", str(folder), top_k=None)(TEXTS)
        for row, answer in zip(found, expected, strict=True):
            scores = {one["label"]: one["score"] for one in answer}
            assert dict(zip(saved.labels, row, strict=True)) == pytest.approx(scores, abs=1e-5)
