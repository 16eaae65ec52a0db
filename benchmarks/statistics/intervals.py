"""Intervals of means over seeds, by Student's t."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit, stdtrit

CONFIDENCE = 0.95
ROUNDING = 1e-12
"""Scores lie in [-1, 1]: a smaller difference than this is rounding."""


class Bounds(NamedTuple):
    """The least and the largest value that a score can have."""

    low: float
    high: float

    @property
    def of_difference(self) -> Bounds:
        """Those of the difference of two scores."""
        return Bounds(self.low - self.high, self.high - self.low)


SHARE = Bounds(0.0, 1.0)
CORRELATION = Bounds(-1.0, 1.0)
UNBOUNDED = Bounds(-math.inf, math.inf)


class Interval(NamedTuple):
    """Ends of an interval."""

    low: float
    high: float


def bounds_of(metric: str) -> Bounds:
    """The bounds of a metric: -1 and 1 for Matthews correlation, 0 and 1 for every other."""
    return CORRELATION if metric == "mcc" else SHARE


def constant(values: np.ndarray) -> bool:
    """Tells whether all values are the same up to rounding."""
    return bool(np.ptp(values) <= ROUNDING)


def deviation(values: np.ndarray) -> float:
    """The sample standard deviation; exactly 0 if all values are the same up to rounding."""
    return 0.0 if constant(values) else float(np.std(values, ddof=1))


def score_interval(scores: np.ndarray, bounds: Bounds) -> Interval | None:
    """The interval of the mean of scores, float [n], which stays within their bounds: Student's t on the logit of the
    mean's place between them, with the standard error that the logit's slope at the mean gives (delta method). For a
    correlation the logit is twice Fisher's z. Scores at a bound need no shift, as only their mean is transformed. None
    if the scores are fewer than two, not finite or all the same: their deviation says nothing then."""
    if not _spread(scores):
        return None
    width = bounds.high - bounds.low
    place = (float(np.mean(scores)) - bounds.low) / width
    half = half_width(scores) / width / (place * (1 - place))
    low, high = expit(logit(place) + np.array([-half, half]))
    return Interval(bounds.low + width * float(low), bounds.low + width * float(high))


def mean_interval(values: np.ndarray, bounds: Bounds = UNBOUNDED) -> Interval | None:
    """The interval of the mean of values, float [n], by Student's t, cut off at the bounds. None as for
    `score_interval`. It leaves out 0 if and only if `difference_p` is below 1 - CONFIDENCE."""
    if not _spread(values):
        return None
    mean, half = float(np.mean(values)), half_width(values)
    return Interval(max(bounds.low, mean - half), min(bounds.high, mean + half))


def half_width(values: np.ndarray) -> float:
    """Half of the mean's interval by Student's t."""
    return float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * standard_error(values)


def standard_error(values: np.ndarray) -> float:
    """The standard error of the mean."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _spread(values: np.ndarray) -> bool:
    return len(values) > 1 and bool(np.isfinite(values).all()) and not constant(values)
