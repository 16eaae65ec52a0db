"""What the operators of a framework take in a training step, by its own profiler, on the CPU:

    python -m backends.operators BACKEND CHECKPOINT ROWS WIDTH TOKENS STEPS THREADS PRECISION ANSWER.json

Rows of so many random tokens, padded to the width. The answer has `step`, the median seconds of a step without the
profiler, and `operators`: of each its name, how often it ran in a step, and its seconds a step, less those of operators
that it called.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from backends import BACKENDS
from shared.batching import Batch
from shared.checkpoint.config import read_architecture
from shared.checkpoint.weights import first_weights
from shared.recipe import Recipe

WARM_UP = 3
"""Steps before any that counts: they trace, and allocate."""

OF_GRAPH = re.compile(r"[^: ]+:(?P<operator>\w+)")
"""What TensorFlow's profiler calls the node of a graph: by its name and its operator."""

Totals = dict[str, tuple[int, float]]
"""By operator, how often it ran in all, and its seconds in all."""


def by_torch(train: Callable[[], None]) -> Totals:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        train()
    return {e.key: (e.count, e.self_cpu_time_total / 1e6) for e in profiler.key_averages()}


def by_gluon(train: Callable[[], None]) -> Totals:
    from mxnet import profiler

    with tempfile.TemporaryDirectory() as scratch:
        profiler.set_config(
            profile_symbolic=True, profile_imperative=True, aggregate_stats=True, filename=f"{scratch}/profile.json"
        )
        profiler.set_state("run")
        train()
        profiler.set_state("stop")
        found = json.loads(profiler.dumps(reset=True, format="json"))["Time"]["operator"]
    return {name: (entry["Count"], entry["Total"] / 1e3) for name, entry in found.items()}


def by_keras(train: Callable[[], None]) -> Totals:
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as scratch:
        tf.profiler.experimental.start(scratch, tf.profiler.experimental.ProfilerOptions(host_tracer_level=2))
        train()
        tf.profiler.experimental.stop()
        (file,) = Path(scratch).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    found: Totals = {}
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                node = OF_GRAPH.fullmatch(plane.event_metadata[event.metadata_id].name)
                if node:
                    count, seconds = found.get(node["operator"], (0, 0.0))
                    found[node["operator"]] = count + 1, seconds + event.duration_ps / 1e12
    return found


PROFILERS: dict[str, Callable[[Callable[[], None]], Totals]] = {"torch": by_torch, "gluon": by_gluon, "keras": by_keras}


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
    load = importlib.import_module(BACKENDS[backend].module).load
    model = load(architecture, first_weights(checkpoint, architecture, recipe), recipe, "cpu", threads, precision)
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
    totals = PROFILERS[backend](train)
    operators = [{"operator": name, "calls": n / steps, "seconds": s / steps} for name, (n, s) in totals.items()]
    answer.write_text(json.dumps({"step": float(np.median(took)), "operators": operators}))


if __name__ == "__main__":
    main()
