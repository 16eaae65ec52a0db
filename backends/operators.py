"""What the operators of a framework take in a training step, by its own profiler, on the CPU:

    python -m backends.operators BACKEND CHECKPOINT ROWS WIDTH TOKENS STEPS THREADS PRECISION ANSWER.json

Rows of so many random tokens, padded to the width. The answer has `step`, the median seconds of a step without the
profiler, and `operators`: of each its name, how often it ran in a step, and its seconds a step, less those of operators
that it called.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import cast

import numpy as np

from backends import BACKENDS
from backends.probes import Totals
from shared.batching import Batch
from shared.checkpoint.config import read_architecture
from shared.checkpoint.weights import first_weights
from shared.contract import Build
from shared.job import Precision
from shared.recipe import Recipe

WARM_UP = 3
"""Steps before any that counts: they trace, and allocate."""


def random_batch(rows: int, width: int, tokens: int, vocab_size: int) -> Batch:
    """Rows of `tokens` random ids each, padded to `width`."""
    random = np.random.default_rng(0)
    mask = np.repeat((np.arange(width) < tokens).astype(np.int32)[None], rows, axis=0)
    ids = random.integers(1, vocab_size, (rows, width), dtype=np.int32) * mask
    return Batch(ids, np.zeros_like(ids), mask, random.integers(0, 2, rows))


def main() -> None:
    backend, checkpoint = sys.argv[1], Path(sys.argv[2])
    rows, width, tokens, steps, threads = map(int, sys.argv[3:8])
    precision, answer = sys.argv[8], Path(sys.argv[9])
    recipe = Recipe(max_len=width, batch_size=rows)
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
    totals: Totals = importlib.import_module(BACKENDS[backend].module("probes")).operators(train)
    operators = [{"operator": name, "calls": n / steps, "seconds": s / steps} for name, (n, s) in totals.items()]
    answer.write_text(json.dumps({"step": float(np.median(took)), "operators": operators}))


if __name__ == "__main__":
    main()
