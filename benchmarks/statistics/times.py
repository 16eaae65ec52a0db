"""Times: medians with quartiles, ratios within one run, and whether others disturbed a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from benchmarks.workers.attempts import DISTURBED
from shared.records import Circumstances

DRIFT = 0.1
"""Change of the matrix product's rate over a run, as a share, above which the run counts as disturbed."""


def disturbed(circumstances: Circumstances) -> bool:
    """Tells whether other processes kept cores busy during a run, or the machine became faster or slower. What was not
    measured disturbed nothing."""
    before, after = circumstances.matrix_product_flops_before, circumstances.matrix_product_flops_after
    drifted = after is not None and abs(after - before) > DRIFT * min(before, after)
    return (circumstances.cores_busy_with_others or 0.0) > DISTURBED or drifted


def quartiles(values: np.ndarray) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile."""
    low, median, high = np.percentile(values, (25, 50, 75))
    return float(low), float(median), float(high)


class Timed(Protocol):
    """A training whose epochs were timed."""

    def steady_epoch_seconds(self) -> list[float]:
        """See `Fit`."""


def epoch_ratios(first: Mapping[int, Timed], second: Mapping[int, Timed]) -> np.ndarray:
    """Training time of the second's epochs by that of the first's, float [n]: each epoch of each seed that both have,
    without compilation. Trainings are known by their seeds."""
    pairs = [
        pair
        for seed in sorted(first.keys() & second.keys())
        for pair in zip(first[seed].steady_epoch_seconds(), second[seed].steady_epoch_seconds(), strict=False)
    ]
    return np.array([theirs / ours for ours, theirs in pairs if ours > 0])
