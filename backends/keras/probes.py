"""TensorFlow's rates and profiler."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from backends.probes import Sizes, Timed, Totals


def rates(threads: int, precisions: list[str], sizes: Sizes) -> tuple[dict[str, Timed], Timed]:
    """See backends/probes.py. The sum makes a new array each time, as TensorFlow's operations do."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    gpu = bool(tf.config.list_physical_devices("GPU"))

    def product(precision: str) -> Timed:
        dtype = tf.float32 if precision == "tf32" else tf.dtypes.as_dtype(precision)
        a, b = (tf.cast(tf.random.uniform((sizes.product, sizes.product)), dtype) for _ in range(2))

        def once() -> None:
            tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
            tf.linalg.matmul(a, b)
            tf.test.experimental.sync_devices()

        return once

    x, y = (tf.ones(sizes.array) for _ in range(2))

    def add() -> None:
        tf.add(x, y)
        tf.test.experimental.sync_devices()

    return {p: product(p) for p in precisions if p != "tf32" or gpu}, add


OF_GRAPH = re.compile(r"[^: ]+:(?P<operator>\w+)")
"""Matches TensorFlow's name of a graph's node in the profile: the node's name, a colon and its operator."""


def operators(train: Callable[[], None]) -> Totals:
    """See backends/probes.py."""
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
