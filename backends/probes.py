"""Probes of a framework. A room's `probes.py` has two functions:

rates(threads, precisions) -> the matrix product in each precision that can be had, and the sum of two large arrays
operators(train)           -> the operators that a call of `train` ran, by the framework's own profiler
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PRODUCT = 2048
"""Rows of the square matrices: 17 GFLOP a product."""


ARRAY = 2**25
"""Float32 numbers of each large array, 128 MiB: several times any cache."""


Timed = Callable[[], Any]
"""Does the thing once and returns when the device has done it."""


Totals = dict[str, tuple[int, float]]
"""By operator, how often it ran in all, and its seconds in all."""
