"""Power: the number of seeds with which a comparison is likely to decide."""

from __future__ import annotations

import math

from scipy.special import nctdtr, stdtrit

from benchmarks.statistics.intervals import ROUNDING
from benchmarks.statistics.paired import LEVEL, Comparison

POWER = 0.8
"""The chance of a verdict that the number of seeds is told for."""
MOST_SEEDS = 100_000


def seeds_to_decide(comparison: Comparison, tests: int) -> int | None:
    """The number of seeds with which an undecided comparison is likely to be decided, if its differences go on as they
    are; None if it is decided, if no number would do, or if more than MOST_SEEDS. `tests` as for `power_of`."""
    if comparison.verdict != "undecided" or math.isnan(comparison.mean):
        return None
    return seeds_needed(comparison.mean, comparison.deviation, comparison.margin, tests)


def seeds_needed(mean: float, spread: float, margin: float, tests: int = 1) -> int | None:
    """The least number of seeds with which one of the two tests decides at a chance of POWER, if the differences have
    this mean and this standard deviation; None if more than MOST_SEEDS. `tests` as for `power_of`."""
    if spread <= ROUNDING or margin <= 0:
        return None
    low, high = 2, 4
    while max(power_of(high, mean, spread, margin, tests)) < POWER:
        low, high = high, 2 * high
        if low > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        decides = max(power_of(middle, mean, spread, margin, tests)) >= POWER
        low, high = (low, middle) if decides else (middle, high)
    return high if max(power_of(low, mean, spread, margin, tests)) < POWER else low


def power_of(seeds: int, mean: float, spread: float, margin: float, tests: int = 1) -> tuple[float, float]:
    """The chances that the equivalence test and the test of a difference reject, by the noncentral t distribution. The
    first is at least what is given (Bonferroni), and nearly so; the second is that of the smallest p-value of so many
    `tests` by Holm's method."""
    error, freedom = spread / math.sqrt(seeds), seeds - 1
    one, two = stdtrit(freedom, 1 - LEVEL), stdtrit(freedom, 1 - LEVEL / tests / 2)
    above = _below(-one, freedom, -(mean + margin) / error)
    below = _below(-one, freedom, (mean - margin) / error)
    differs = _below(-two, freedom, -mean / error) + _below(-two, freedom, mean / error)
    return max(0.0, above + below - 1), differs


def _below(value: float, freedom: int, shift: float) -> float:
    """The chance that a noncentral t is below a negative value. scipy gives NaN for some so small that they are 0."""
    chance = float(nctdtr(freedom, shift, value))
    return 0.0 if math.isnan(chance) else chance
