"""Measures how fast a framework multiplies matrices and moves memory on this machine, now:

    python -m backends.rates BACKEND DEVICE THREADS PRECISION,... ANSWER.json

DEVICE is `cpu`, or `cuda:n` for the first GPU that is visible. The answer is a `Rates`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from msgspec import Struct

from backends.probes import Sizes, Timed, load_probes
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


def main(backend: str, device: str, threads: str, precisions: str, answer: str) -> None:
    sizes = Sizes.on(device)
    products, add = load_probes(backend).rates(int(threads), precisions.split(","), sizes)
    rates = Rates(
        product={precision: 2 * sizes.product**3 / best_seconds(once) for precision, once in products.items()},
        bandwidth=3 * 4 * sizes.array / best_seconds(add),
    )
    write_whole(Path(answer), to_json(rates))


if __name__ == "__main__":
    main(*sys.argv[1:])
