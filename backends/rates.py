"""How fast a framework multiplies matrices and moves memory on this machine, now:

    python -m backends.rates BACKEND THREADS PRECISION,... ANSWER.json

The answer has `product`, FLOP/s by precision (those that the framework can), and `bandwidth`, bytes a second of
adding two large arrays into a third. On a GPU where one is visible, else on the CPU.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

from backends import BACKENDS
from backends.probes import ARRAY, PRODUCT, Timed

SECONDS = 0.5
"""A thing is repeated for so long, and its best time counts."""


def best_seconds(once: Timed) -> float:
    """Of the fastest of some repetitions, after one that is not timed."""
    once()
    begin, best = time.perf_counter(), float("inf")
    while time.perf_counter() - begin < SECONDS:
        start = time.perf_counter()
        once()
        best = min(best, time.perf_counter() - start)
    return best


def main(backend: str, threads: str, precisions: str, answer: str) -> None:
    products, add = importlib.import_module(BACKENDS[backend].module("probes")).rates(
        int(threads), precisions.split(",")
    )
    rates = {
        "product": {precision: 2 * PRODUCT**3 / best_seconds(once) for precision, once in products.items()},
        "bandwidth": 3 * 4 * ARRAY / best_seconds(add),
    }
    Path(answer).write_text(json.dumps(rates))


if __name__ == "__main__":
    main(*sys.argv[1:])
