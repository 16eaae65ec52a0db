"""How fast a framework multiplies matrices and moves memory on this machine, now:

    python -m backends.rates BACKEND THREADS PRECISION,... ANSWER.json

The answer has `product`, FLOP/s by precision (those that the framework can), and `bandwidth`, bytes a second of
adding two large arrays into a third. On a GPU where one is visible, else on the CPU.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRODUCT = 2048
"""Rows of the square matrices: 17 GFLOP a product."""

ARRAY = 2**25
"""Float32 numbers of each large array, 128 MiB: several times any cache."""

SECONDS = 0.5
"""A thing is repeated for so long, and its best time counts."""

Timed = Callable[[], Any]
"""Does the thing once and returns when the device has done it."""


def best_seconds(once: Timed) -> float:
    """Of the fastest of some repetitions, after one that is not timed."""
    once()
    begin, best = time.perf_counter(), float("inf")
    while time.perf_counter() - begin < SECONDS:
        start = time.perf_counter()
        once()
        best = min(best, time.perf_counter() - start)
    return best


def torch_probes(threads: int, precisions: list[str]) -> tuple[dict[str, Timed], Timed]:
    """The matrix product in each precision that can be had, and the sum of two large arrays."""
    import torch

    torch.set_num_threads(threads)
    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"

    def product(precision: str) -> Timed:
        dtype = torch.float32 if precision == "tf32" else getattr(torch, precision)
        a, b = (torch.rand(PRODUCT, PRODUCT, device=device).to(dtype) for _ in range(2))

        def once() -> None:
            torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
            a @ b
            if gpu:
                torch.cuda.synchronize()

        return once

    x, y, z = (torch.ones(ARRAY, device=device) for _ in range(3))

    def add() -> None:
        torch.add(x, y, out=z)
        if gpu:
            torch.cuda.synchronize()

    return {p: product(p) for p in precisions if p != "tf32" or gpu}, add


def gluon_probes(threads: int, precisions: list[str]) -> tuple[dict[str, Timed], Timed]:
    """As `torch_probes`; threads come from OMP_NUM_THREADS. The product is the one that layers use."""
    import mxnet as mx

    context = mx.gpu() if mx.context.num_gpus() else mx.cpu()
    able = ("float32", "float64", *(("float16",) if mx.context.num_gpus() else ()))

    def product(precision: str) -> Timed:
        a, b = (mx.nd.random.uniform(shape=(PRODUCT, PRODUCT), ctx=context).astype(precision) for _ in range(2))

        def once() -> None:
            mx.nd.FullyConnected(a, b, num_hidden=PRODUCT, no_bias=True).wait_to_read()

        return once

    x, y, z = (mx.nd.ones((ARRAY,), ctx=context) for _ in range(3))

    def add() -> None:
        mx.nd.elemwise_add(x, y, out=z)
        z.wait_to_read()

    return {p: product(p) for p in precisions if p in able}, add


def keras_probes(threads: int, precisions: list[str]) -> tuple[dict[str, Timed], Timed]:
    """As `torch_probes`. The sum makes a new array each time, as TensorFlow's operations do."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    gpu = bool(tf.config.list_physical_devices("GPU"))

    def product(precision: str) -> Timed:
        dtype = tf.float32 if precision == "tf32" else tf.dtypes.as_dtype(precision)
        a, b = (tf.cast(tf.random.uniform((PRODUCT, PRODUCT)), dtype) for _ in range(2))

        def once() -> None:
            tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
            tf.linalg.matmul(a, b)
            tf.test.experimental.sync_devices()

        return once

    x, y = (tf.ones(ARRAY) for _ in range(2))

    def add() -> None:
        tf.add(x, y)
        tf.test.experimental.sync_devices()

    return {p: product(p) for p in precisions if p != "tf32" or gpu}, add


PROBES = {"torch": torch_probes, "gluon": gluon_probes, "keras": keras_probes}


def main(backend: str, threads: str, precisions: str, answer: str) -> None:
    products, add = PROBES[backend](int(threads), precisions.split(","))
    rates = {
        "product": {precision: 2 * PRODUCT**3 / best_seconds(once) for precision, once in products.items()},
        "bandwidth": 3 * 4 * ARRAY / best_seconds(add),
    }
    Path(answer).write_text(json.dumps(rates))


if __name__ == "__main__":
    main(*sys.argv[1:])
