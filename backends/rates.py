"""Measures how fast a framework multiplies matrices and moves memory on this machine, now:

    python -m backends.rates BACKEND THREADS PRECISION,... ANSWER.json

The answer is a `Rates`. Runs on the first GPU that is visible, else on the CPU.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from msgspec import Struct

from backends.probes import ARRAY, PRODUCT, Timed, load_probes
from shared.files import to_json, write_whole

SECONDS = 0.5
"""Time over which the work is repeated. The fastest repetition counts."""


class Rates(Struct, frozen=True, forbid_unknown_fields=True):
    """The rates of a framework."""

    product: dict[str, float]
    """FLOP/s of matrix products, by precision that the framework has."""
    bandwidth: float
    """Bytes a second, read and written, of adding two large arrays into a third."""


def best_seconds(once: Timed) -> float:
    """Repeats the work for SECONDS after one run that is not timed. Returns the seconds of the fastest."""
    once()
    begin, best = time.perf_counter(), float("inf")
    while time.perf_counter() - begin < SECONDS:
        start = time.perf_counter()
        once()
        best = min(best, time.perf_counter() - start)
    return best


def main(backend: str, threads: str, precisions: str, answer: str) -> None:
    products, add = load_probes(backend).rates(int(threads), precisions.split(","))
    rates = Rates(
        product={precision: 2 * PRODUCT**3 / best_seconds(once) for precision, once in products.items()},
        bandwidth=3 * 4 * ARRAY / best_seconds(add),
    )
    write_whole(Path(answer), to_json(rates))


if __name__ == "__main__":
    main(*sys.argv[1:])
