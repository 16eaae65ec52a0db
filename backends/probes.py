"""Probes of a framework: a room's `probes.py` has the two functions of `Probes`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from backends import BACKENDS


@dataclass(frozen=True)
class Sizes:
    """The sizes of the work that rates are measured by."""

    product: int
    """Rows of the square matrices."""
    array: int
    """Float32 numbers of each large array: several times any cache."""

    @classmethod
    def on(cls, device: str) -> Sizes:
        """Sizes for a device. A GPU needs more work, or the time is that of its launch: 1.1 TFLOP a product in place of
        17 GFLOP, and 1 GiB an array in place of 128 MiB."""
        return cls(2048, 2**25) if device == "cpu" else cls(8192, 2**28)


Timed = Callable[[], Any]
"""Does the work once, and returns when the device is done."""

Totals = dict[str, tuple[int, float]]
"""Runs and seconds in all, by operator."""


class Probes(Protocol):
    """A room's module `probes`."""

    def rates(self, threads: int, precisions: list[str], sizes: Sizes) -> tuple[dict[str, Timed], Timed]:
        """The product of two square matrices in each of the precisions that the framework has, and the sum of two
        float32 arrays, of these sizes. On the first GPU that is visible, else on the CPU."""

    def operators(self, train: Callable[[], None]) -> Totals:
        """The operators that one call of `train` runs, by the framework's own profiler."""


def load_probes(backend: str) -> Probes:
    """Imports a backend's probes. Raises InputError if its room has none."""
    return cast(Probes, importlib.import_module(BACKENDS[backend].module("probes")))
