"""What measuring commands share: scripts run in a backend's interpreter, attempts repeated while others disturb them,
encoded rows of their own choice, and quartiles."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from benchmarks.workers.environments import CHECKOUT
from benchmarks.workers.machine import BusyCores

T = TypeVar("T")

DISTURBED = 0.1
"""What is measured while other processes keep more cores busy than this is measured again."""

ATTEMPTS = 3
"""How often it is measured at most."""


def attempts(measure: Callable[[], T]) -> list[tuple[T, float]]:
    """What each attempt gave, and how many cores other processes kept busy meanwhile: one attempt only where nothing
    disturbs it, and ATTEMPTS at most."""
    made: list[tuple[T, float]] = []
    while not made or (made[-1][1] > DISTURBED and len(made) < ATTEMPTS):
        busy = BusyCores()
        found = measure()
        made.append((found, busy.by_others()))
    return made


def code_hash() -> str:
    """Of what decides how fast training is: what was measured before a change does not count after it."""
    digest = hashlib.sha256()
    for part in ("shared", "backends", "benchmarks"):
        for file in sorted((CHECKOUT / part).rglob("*.py")):
            digest.update(file.relative_to(CHECKOUT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def quartiles(values: np.ndarray, form: str) -> str:
    """The median and, in brackets, the quartiles; of one value, the value."""
    low, median, high = (format(v, form) for v in np.percentile(values, (25, 50, 75)))
    return f"{median} ({low} – {high})" if len(values) > 1 else median
