"""The training that the ladder's tests follow, and its trace by any adapter.

    python -m tests.backends.traced OUT

writes torch's, in float64 and float32, with the interpreter of torch's environment.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from backends import BACKENDS
from backends.contract import Load, Model
from shared.architecture import Architecture, Dropout, Weights
from shared.encoding import Encoded
from shared.job import Precision
from shared.recipe import Recipe
from shared.trace import trace
from tests.backends.cases import architecture, perturbed_weights

Kind = Literal["bert", "distilbert"]
KINDS: tuple[Kind, ...] = ("bert", "distilbert")
STEPS = 6
RECIPE = Recipe(max_len=24, batch_size=8, epochs=1, learning_rate=5e-4, warm_up=0.2)
"""Six steps, the last of four rows."""
METRICS = ("accuracy",)
Build = Callable[[Recipe], Model]


def network(kind: Kind) -> Architecture:
    """Small, with a dropout rate of its own at each place that the kind has."""
    attention_output = 0.15 if kind == "bert" else 0.0
    return architecture(kind, dropout=Dropout(0.1, 0.2, attention_output, 0.05, 0.25))


def data(a: Architecture) -> dict[str, Encoded]:
    """Rows of mixed lengths; tokens repeat within a batch, as they do in text."""
    return {"train": _rows(a, (STEPS - 1) * RECIPE.batch_size + 4, seed=1), "dev": _rows(a, 20, seed=2)}


def _rows(a: Architecture, n: int, seed: int) -> Encoded:
    random = np.random.RandomState(seed)
    lengths = random.randint(3, RECIPE.max_len + 1, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = random.randint(1, 60, offsets[-1]).astype(np.int32)
    types = np.concatenate([np.arange(length) >= length // 2 for length in lengths]).astype(np.uint8)
    if a.type_vocab_size < 2:
        types[:] = 0
    labels = random.randint(0, a.num_labels, n).astype(np.int64)
    return Encoded(ids, types, offsets.astype(np.int64), labels, a.pad_id)


def builder(load: Load, a: Architecture, weights: Weights | None = None, precision: Precision = "float32") -> Build:
    """What `shared.trace.trace` takes: a recipe's model of the adapter, one CPU thread."""

    def build(recipe: Recipe) -> Model:
        rates = a.dropout if recipe.dropout is None else Dropout(*[recipe.dropout] * 5)
        return load(
            replace(a, dropout=rates), perturbed_weights(a) if weights is None else weights, recipe, "cpu", 1, precision
        )

    return build


def write_trace(build: Build, a: Architecture, steep_clip: float | None, folder: Path) -> dict[str, Any]:
    """The trace in the folder; returns its summary."""
    return trace(build, data(a), RECIPE, METRICS, steep_clip, folder, lambda _: None)


def main(out: Path) -> None:
    load: Load = importlib.import_module(BACKENDS["torch"].module).load
    for kind in KINDS:
        a, clip = network(kind), None
        for precision in ("float64", "float32"):
            folder = out / kind / precision
            folder.parent.mkdir(exist_ok=True)
            summary = write_trace(builder(load, a, precision=precision), a, clip, folder)
            (folder / "summary.json").write_text(json.dumps(summary))
            clip = summary["steep_clip"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
