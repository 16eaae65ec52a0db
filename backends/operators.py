"""Measures the operators of a training step by the framework's own profiler, on the CPU:

    python -m backends.operators BACKEND CHECKPOINT ROWS WIDTH TOKENS STEPS THREADS PRECISION PADDING ANSWER.json

A step trains on rows of TOKENS random tokens, padded to WIDTH; PADDING is the recipe's. The answer is a `Profile`.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import cast

import numpy as np
from msgspec import Struct

from backends import BACKENDS
from backends.probes import load_probes
from shared.batching import Batch
from shared.checkpoint.config import read_architecture
from shared.checkpoint.weights import first_weights
from shared.contract import Build
from shared.files import to_json, write_whole
from shared.job import Precision
from shared.recipe import Recipe

WARM_UP = 3
"""Steps before any that counts: they compile, and allocate."""


class Operator(Struct, frozen=True, forbid_unknown_fields=True):
    """One operator's part of a training step."""

    operator: str
    """Its name in its framework."""
    calls: float
    """Runs a step."""
    seconds: float
    """Seconds a step, without those of operators that it calls."""


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """A training step by operator."""

    step: float
    """Median seconds of a step without the profiler."""
    operators: list[Operator]


def random_batch(rows: int, width: int, tokens: int, vocab_size: int) -> Batch:
    """A batch of rows of `tokens` random ids each, padded to `width`; the same at every call."""
    random = np.random.default_rng(0)
    mask = np.repeat((np.arange(width) < tokens).astype(np.int32)[None], rows, axis=0)
    ids = random.integers(1, vocab_size, (rows, width), dtype=np.int32) * mask
    return Batch(ids, np.zeros_like(ids), mask, random.integers(0, 2, rows))


def main() -> None:
    backend, checkpoint = sys.argv[1], Path(sys.argv[2])
    rows, width, tokens, steps, threads = map(int, sys.argv[3:8])
    precision, padding, answer = sys.argv[8], sys.argv[9], Path(sys.argv[10])
    recipe = Recipe.from_json({"max_len": width, "batch_size": rows, "padding": padding})
    architecture = read_architecture(checkpoint, recipe, 2)
    load = importlib.import_module(BACKENDS[backend].adapter).load
    weights = first_weights(checkpoint, architecture, recipe)
    model = load(Build(architecture, weights, recipe, "cpu", threads, cast(Precision, precision)))
    batch = random_batch(rows, width, tokens, architecture.vocab_size)

    def train(number: int = steps) -> None:
        for _ in range(number):
            model.train_step(batch, 1e-5)
        model.synchronize()

    train(WARM_UP)
    took = []
    for _ in range(steps):
        begin = time.perf_counter()
        train(1)
        took.append(time.perf_counter() - begin)
    totals = load_probes(backend).operators(train)
    operators = [Operator(name, calls / steps, seconds / steps) for name, (calls, seconds) in totals.items()]
    write_whole(answer, to_json(Profile(float(np.median(took)), operators)))


if __name__ == "__main__":
    main()
