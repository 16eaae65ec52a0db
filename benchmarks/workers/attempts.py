"""Attempts at a measurement: again while other processes disturb it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

from benchmarks.workers.environments import CHECKOUT
from benchmarks.workers.machine import BusyCores

T = TypeVar("T")

DISTURBED = 0.1
"""Cores kept busy by other processes above which a measurement is made again."""

ATTEMPTS = 3
"""The most attempts at one measurement."""


def attempts(measure: Callable[[], T]) -> list[tuple[T, float]]:
    """Measures until nothing disturbs it, ATTEMPTS times at most. Returns each attempt's result with the number of
    cores that other processes kept busy meanwhile."""
    made: list[tuple[T, float]] = []
    while not made or (made[-1][1] > DISTURBED and len(made) < ATTEMPTS):
        busy = BusyCores()
        found = measure()
        made.append((found, busy.by_others()))
    return made


def code_hash() -> str:
    """Hashes this project's code, 16 hex digits. A measurement made before a change to it does not count after it."""
    digest = hashlib.sha256()
    for part in ("shared", "backends", "benchmarks"):
        for file in sorted((CHECKOUT / part).rglob("*.py")):
            digest.update(file.relative_to(CHECKOUT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
