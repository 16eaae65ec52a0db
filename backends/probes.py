"""Probes of a framework: a room's `probes.py` has the two functions of `Probes`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol, cast

from backends import BACKENDS

PRODUCT = 2048
"""Rows of the square matrices: 17 GFLOP a product."""

ARRAY = 2**25
"""Float32 numbers of each large array, 128 MiB: several times any cache."""

Timed = Callable[[], Any]
"""Does the work once, and returns when the device is done."""

Totals = dict[str, tuple[int, float]]
"""Runs and seconds in all, by operator."""


class Probes(Protocol):
    """A room's module `probes`."""

    def rates(self, threads: int, precisions: list[str]) -> tuple[dict[str, Timed], Timed]:
        """The product of two matrices [PRODUCT, PRODUCT] in each of the precisions that the framework has, and the sum
        of two float32 arrays [ARRAY]."""

    def operators(self, train: Callable[[], None]) -> Totals:
        """The operators that one call of `train` runs, by the framework's own profiler."""


def load_probes(backend: str) -> Probes:
    """Imports a backend's probes. Raises InputError if its room has none."""
    return cast(Probes, importlib.import_module(BACKENDS[backend].module("probes")))
