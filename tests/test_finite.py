"""Weights that are NaN or infinite are refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import resolve_model
from shared.checkpoint.weights import WEIGHTS, check_finite, first_weights
from shared.errors import InputError
from shared.recipe import Recipe


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_weight_that_is_not_finite_is_named(tmp_path: Path, value: float, kind: str, dtype: Any) -> None:
    source, name = resolve_model("random:bert-tiny"), "bert.encoder.layer.1.output.dense.weight"
    folder = Path(shutil.copytree(source, tmp_path / "copy"))
    tensors = {key: array.astype(dtype) for key, array in load_file(source / WEIGHTS).items()}
    tensors[name][3, 5] = value
    save_file(tensors, folder / WEIGHTS)
    architecture = read_architecture(folder, Recipe(), 2)
    message = f"{folder / WEIGHTS}: {name} holds {kind} at [3, 5]; pass a checkpoint of finite weights"
    for read in (lambda: check_finite(folder, architecture), lambda: first_weights(folder, architecture, Recipe())):
        with pytest.raises(InputError) as error:
            read()
        assert str(error.value) == message
    check_finite(source, architecture)


def test_large_weights_are_finite(tmp_path: Path) -> None:
    """Their squares overflow."""
    source, name = resolve_model("random:bert-tiny"), "bert.encoder.layer.1.output.dense.weight"
    folder = Path(shutil.copytree(source, tmp_path / "copy"))
    tensors = load_file(source / WEIGHTS)
    tensors[name][3, 5] = 3e38
    save_file(tensors, folder / WEIGHTS)
    check_finite(folder, read_architecture(folder, Recipe(), 2))
