"""Unusual folders are opened with the logits of transformers, and probabilities are those of its pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.checkpoint.config import read_architecture
from shared.checkpoint.saved import read_saved
from shared.checkpoint.weights import saved_weights
from shared.metrics import probabilities, sigmoid
from tests.backends.cases import LOGITS, USUAL
from tests.backends.conftest import BuildModel, Measured, Reference
from tests.checkpoint_kinds import KINDS


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
