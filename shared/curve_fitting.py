"""Fits numbers of known mistakes to a curve of losses, by least squares."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy.optimize import least_squares

from shared.hypotheses import Number

FACTORS = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
"""First looks at a number without known values, by the one that packs are measured with."""
ROUNDS = 10
ENDS = {"diff_step": 1e-4, "xtol": 1e-6, "ftol": 1e-6}
"""When least squares end, and how far apart their slopes are taken."""


def fit_number(number: Number, residuals: Callable[[float], np.ndarray]) -> Iterator[float]:
    """The number at which the sum of squares of the residuals, a function of it, is smallest, near the best of its
    known values."""
    looks = number.known or [factor * number.shown for factor in FACTORS]
    start = min(looks, key=lambda x: float(np.square(residuals(x)).sum()))
    low, high, number_at, place_of = _scale(number)
    found = least_squares(
        lambda x: residuals(number_at(float(x[0]))),
        [np.clip(place_of(start), low + 1e-6, high - 1e-6)],
        bounds=([low], [high]),
        max_nfev=ROUNDS,
        **ENDS,
    )
    yield number_at(float(found.x[0]))


def _scale(number: Number) -> tuple[float, float, Callable[[float], float], Callable[[float], float]]:
    """Ends of a scale on which the number is searched, the number at a place of it, and the place of a number."""
    if number.linear:
        return number.low, number.high, float, float
    if number.low > 0:
        return math.log10(number.low), math.log10(number.high), lambda x: 10.0**x, math.log10
    return math.log10(1 - number.high), math.log10(1 - number.low), lambda x: 1 - 10.0**x, lambda y: math.log10(1 - y)


def fit_weights(residuals: Callable[[tuple[float, ...]], np.ndarray], count: int) -> tuple[float, ...]:
    """The class weights, 1 on average, at which the sum of squares of the residuals is smallest."""

    def weights(logs: np.ndarray) -> tuple[float, ...]:
        found = np.exp(np.append(logs, 0.0))
        return tuple(float(weight) for weight in found / found.mean())

    found = least_squares(
        lambda x: residuals(weights(x)), np.zeros(count - 1), diff_step=1e-4, xtol=1e-6, ftol=1e-6, max_nfev=ROUNDS
    )
    return weights(found.x)
