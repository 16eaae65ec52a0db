"""Simulates how often each interval of a mean over seeds holds the true mean, on made-up scores."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, stdtrit
from scipy.stats import bootstrap

from benchmarks.statistics.intervals import (
    CONFIDENCE,
    CORRELATION,
    SHARE,
    Bounds,
    Interval,
    constant,
    mean_interval,
    score_interval,
)

SEEDS = (3, 5, 10, 30)
RESAMPLES = 1999


@dataclass(frozen=True)
class Population:
    """Scores of all seeds, beta-distributed between their bounds."""

    name: str
    bounds: Bounds
    mean: float
    deviation: float
    rows: int | None = None
    """If given, the share of so many rows is drawn, each right with the seed's chance. For shares."""
    failing: float = 0.0
    """Share of seeds that learn nothing, and score in the middle between the bounds."""

    @property
    def true_mean(self) -> float:
        """The mean over all seeds."""
        return (1 - self.failing) * self.mean + self.failing * (self.bounds.low + self.bounds.high) / 2

    def draw(self, random: np.random.Generator, samples: int, seeds: int) -> np.ndarray:
        """Samples of so many seeds, float64 [samples, seeds]."""
        width = self.bounds.high - self.bounds.low
        place, spread = (self.mean - self.bounds.low) / width, self.deviation / width
        size = place * (1 - place) / spread**2 - 1
        drawn = random.beta(place * size, (1 - place) * size, (samples, seeds))
        if self.rows is not None:
            drawn = random.binomial(self.rows, drawn) / self.rows
        drawn[random.random(drawn.shape) < self.failing] = 0.5
        return self.bounds.low + width * drawn


POPULATIONS = (
    Population("share 0.6 ± 0.2", SHARE, 0.6, 0.2),
    Population("share 0.7 ± 0.05", SHARE, 0.7, 0.05),
    Population("share 0.9 ± 0.02", SHARE, 0.9, 0.02),
    Population("share 0.97 ± 0.02", SHARE, 0.97, 0.02),
    Population("share 0.97 ± 0.02 of 100 rows", SHARE, 0.97, 0.02, rows=100),
    Population("share 0.995 ± 0.005", SHARE, 0.995, 0.005),
    Population("MCC 0 ± 0.05", CORRELATION, 0.0, 0.05),
    Population("MCC 0.5 ± 0.1", CORRELATION, 0.5, 0.1),
    Population("MCC 0.95 ± 0.03", CORRELATION, 0.95, 0.03),
    Population("share 0.9 ± 0.02, a tenth fail", SHARE, 0.9, 0.02, failing=0.1),
)

Intervals = Callable[[np.ndarray, Bounds], np.ndarray]
"""Intervals of samples [n, seeds]: float64 [n, 2], NaN for a sample that has none."""


def each(interval: Callable[[np.ndarray, Bounds], Interval | None]) -> Intervals:
    """The intervals that a function gives, one by one."""

    def found(samples: np.ndarray, bounds: Bounds) -> np.ndarray:
        none = (np.nan, np.nan)
        return np.array([interval(sample, bounds) or none for sample in samples])

    return found


def of_logits(scores: np.ndarray, bounds: Bounds) -> Interval | None:
    """Student's t on the mean of the scores' own logits. Scores at a bound are moved inside by half a row of 1,000."""
    if constant(scores):
        return None
    width = bounds.high - bounds.low
    logits = logit((1000 * (scores - bounds.low) / width + 0.5) / 1001)
    half = stdtrit(len(scores) - 1, (1 + CONFIDENCE) / 2) * np.std(logits, ddof=1) / len(scores) ** 0.5
    low, high = expit(logits.mean() + np.array([-half, half]))
    return Interval(bounds.low + width * float(low), bounds.low + width * float(high))


def resampled(method: str) -> Intervals:
    """The bootstrap over seeds, by scipy."""

    def found(samples: np.ndarray, bounds: Bounds) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy warns of samples without spread, which are NaN here
            interval = bootstrap(
                (samples,), np.mean, axis=-1, n_resamples=RESAMPLES, batch=50, method=method, random_state=0
            ).confidence_interval
        ends = np.stack([interval.low, interval.high], axis=-1)
        ends[np.ptp(samples, axis=-1) == 0] = np.nan
        return ends

    return found


METHODS: dict[str, Intervals] = {
    "t, logit at the mean": each(score_interval),
    "t": each(lambda scores, bounds: mean_interval(scores)),
    "t of logits": each(of_logits),
    "percentile": resampled("percentile"),
    "BCa": resampled("BCa"),
}
"""The first is the one in use for scores; differences have the second."""


@dataclass(frozen=True)
class Covered:
    """The coverage of one method on samples of one population."""

    population: Population
    seeds: int
    method: str
    covered: float
    """Share of the intervals that hold the true mean."""
    outside: float
    """Share of the intervals that reach beyond the bounds."""
    without: float
    """Share of the samples that have no interval, since all their scores are the same."""
    width: float
    """Median width of the intervals."""


def measure(population: Population, seeds: int, method: str, samples: int) -> Covered:
    """Measures the coverage on so many samples. The same question draws the same samples, whatever the method."""
    random = np.random.default_rng([seeds, *population.name.encode()])
    low, high = METHODS[method](population.draw(random, samples, seeds), population.bounds).T
    known = ~np.isnan(low)
    low, high = low[known], high[known]
    bounds = population.bounds
    return Covered(
        population=population,
        seeds=seeds,
        method=method,
        covered=float(np.mean((low <= population.true_mean) & (population.true_mean <= high))),
        outside=float(np.mean((low < bounds.low) | (high > bounds.high))),
        without=float(np.mean(~known)),
        width=float(np.median(high - low)),
    )
