"""Fits one number to what a port computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy.optimize import minimize_scalar

from shared.hypotheses import Hypothesis, Number

GRID = 13
"""Values of the first look over a number's range."""
STEPS = 40
"""Evaluations of the search between two of them."""
TELLING = 0.2
"""Entries that the number moves by this share of the most that it moves any tell of it."""


def fit_linear(at_zero: np.ndarray, at_one: np.ndarray, mine: np.ndarray, bounds: np.ndarray) -> float | None:
    """The number x at which at_zero + x (at_one - at_zero) is nearest to `mine`, by the median of the entries that tell
    of it most; None if none does. All [n]; a median stands what other mistakes do to fewer than half of the entries."""
    slope = at_one - at_zero
    telling = np.abs(slope) / bounds
    most = telling.max(initial=0.0)
    if not most > 0 or not math.isfinite(most):
        return None
    entries = telling >= TELLING * most
    return float(np.median((mine - at_zero)[entries] / slope[entries]))


def search(hypothesis: Hypothesis, misfit: Callable[[float], float], thorough: bool) -> Iterator[float]:
    """The known value with the smallest misfit; if `thorough`, also the number with the smallest of the whole range,
    by its logarithm, or of 1 minus it for decays of moments."""
    number = hypothesis.number
    assert number is not None
    if number.known:
        yield min(number.known, key=misfit)
    if not thorough:
        return
    low, high, number_at = _scale(number)
    grid = np.linspace(low, high, GRID)
    best = int(np.argmin([misfit(number_at(x)) for x in grid]))
    between = (grid[max(best - 1, 0)], grid[min(best + 1, GRID - 1)])
    found = minimize_scalar(
        lambda x: misfit(number_at(x)), bounds=between, method="bounded", options={"maxiter": STEPS, "xatol": 1e-7}
    )
    yield number_at(float(found.x))


def _scale(number: Number) -> tuple[float, float, Callable[[float], float]]:
    """Ends of a scale on which the number is searched, and the number at a place of it."""
    if number.low > 0:
        return math.log10(number.low), math.log10(number.high), lambda x: 10.0**x
    return math.log10(1 - number.high), math.log10(1 - number.low), lambda x: 1 - 10.0**x


def rounded(number: float) -> Iterator[float]:
    """The number rounded to few digits, shortest first."""
    for digits in (1, 2, 3, 4):
        short = float(f"{number:.{digits}g}")
        if abs(short - number) <= 0.02 * abs(number):
            yield short
