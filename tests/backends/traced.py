"""The training that the ladder's tests follow, and its trace by any adapter.

    python -m tests.backends.traced OUT

writes torch's, in float64 and float32, with the interpreter of torch's environment.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from backends import BACKENDS
from shared.answer import Traced
from shared.architecture import Architecture, Dropout, Weights
from shared.contract import Build, Load, Model
from shared.encoding import Encoded
from shared.files import from_json, to_json
from shared.job import Precision
from shared.recipe import Recipe
from shared.trace import trace
from tests.backends.cases import architecture, perturbed_weights

Kind = Literal["bert", "distilbert"]
STEPS = 6


@dataclass(frozen=True)
class Training:
    """A network and its recipe: six steps, the last of four rows."""

    architecture: Architecture
    recipe: Recipe


def _training(kind: Kind, dropout: Dropout, max_len: int = 24, padding: Any = "max_length", **fields: Any) -> Training:
    recipe = Recipe(max_len=max_len, padding=padding, batch_size=8, epochs=1, learning_rate=5e-4, warm_up=0.2)
    return Training(architecture(kind, dropout=dropout, **fields), recipe)


# A different dropout rate at each place that the kind of network has.
BERT = Dropout(0.1, 0.2, 0.15, 0.05, 0.25)
DISTILBERT = Dropout(0.1, 0.2, 0.0, 0.05, 0.25)

KINDS: dict[str, Training] = {"bert": _training("bert", BERT), "distilbert": _training("distilbert", DISTILBERT)}
"""Mistakes are planted into these."""
PADDED: dict[str, Training] = {
    "bert, in buckets": _training("bert", BERT, padding="bucket"),
    "distilbert, padded to the longest": _training("distilbert", DISTILBERT, padding="longest"),
}
"""Batches of many widths, run by the code of a real run; `UNUSUAL` has the other two pairs of kind and padding."""
UNUSUAL: dict[str, Training] = {
    "bert, epsilon 1e-5, gelu_new, one token type, 2 labels, length 16": _training(
        "bert", BERT, 16, layer_norm_eps=1e-5, activation="gelu_new", type_vocab_size=1, num_labels=2
    ),
    "bert, relu, 6 labels, length 128, padded to the longest": _training(
        "bert", BERT, 128, "longest", activation="relu", num_labels=6
    ),
    "distilbert, epsilon 1e-5, relu, 4 labels, length 64, in buckets": _training(
        "distilbert", DISTILBERT, 64, "bucket", layer_norm_eps=1e-5, activation="relu", num_labels=4
    ),
}
"""A sound adapter must do these too."""
TRAININGS = KINDS | PADDED | UNUSUAL
METRICS = ("accuracy",)
SUMMARY = "summary.json"
BuildFor = Callable[[Recipe], Model]
"""Builds the model of a recipe."""


def data(training: Training) -> dict[str, Encoded]:
    """Rows of mixed lengths; tokens repeat within a batch, as they do in text."""
    return {
        "train": _rows(training, (STEPS - 1) * training.recipe.batch_size + 4, seed=1),
        "dev": _rows(training, 20, seed=2),
    }


def _rows(training: Training, n: int, seed: int) -> Encoded:
    a, random = training.architecture, np.random.RandomState(seed)
    lengths = random.randint(3, training.recipe.max_len + 1, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = random.randint(1, 60, offsets[-1]).astype(np.int32)
    types = np.concatenate([np.arange(length) >= length // 2 for length in lengths]).astype(np.uint8)
    if a.type_vocab_size < 2:
        types[:] = 0
    labels = random.randint(0, a.num_labels, n).astype(np.int64)
    return Encoded(ids, types, offsets.astype(np.int64), labels, a.pad_id)


def builder(load: Load, a: Architecture, weights: Weights | None = None, precision: Precision = "float32") -> BuildFor:
    """Builds the adapter's model of a recipe on one CPU thread, as `shared.trace.trace` asks for it."""

    def build(recipe: Recipe) -> Model:
        rates = a.dropout if recipe.dropout is None else Dropout(*[recipe.dropout] * 5)
        first = perturbed_weights(a) if weights is None else weights
        return load(Build(replace(a, dropout=rates), first, recipe, precision=precision))

    return build


def write_trace(build: BuildFor, training: Training, steep_clip: float | None, folder: Path) -> Traced:
    """Writes the trace into the folder. Returns its summary."""
    return trace(build, data(training), training.recipe, METRICS, steep_clip, folder, lambda _: None)


def read_summary(folder: Path) -> Traced:
    """The summary that `main` left beside a trace."""
    return from_json((folder / SUMMARY).read_bytes(), Traced)


def main(out: Path) -> None:
    load: Load = importlib.import_module(BACKENDS["torch"].adapter).load
    for name, training in TRAININGS.items():
        clip = None
        precisions: tuple[Precision, ...] = ("float64", "float32")
        for precision in precisions:
            folder = out / name / precision
            folder.parent.mkdir(exist_ok=True)
            summary = write_trace(builder(load, training.architecture, precision=precision), training, clip, folder)
            (folder / SUMMARY).write_text(to_json(summary))
            clip = summary.steep_clip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
