"""Simulates how often paired comparisons err, on made-up scores: over seeds, and over rows of one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.statistics.coverage import Population
from benchmarks.statistics.intervals import mean_interval
from benchmarks.statistics.over_rows import Discordant, mcnemar_p, row_intervals
from benchmarks.statistics.paired import LEVEL, difference_p, equivalence_p


@dataclass(frozen=True)
class Errors:
    """Shares of samples."""

    covered: float
    """The interval holds the true difference."""
    different: float
    """Variants that are the same are called different."""
    equivalent: float | None = None
    """Variants that are just the margin apart are called equivalent; None if that is not tested."""


def over_seeds(population: Population, seeds: int, samples: int) -> Errors:
    """Two variants with scores of one population. The margin is the population's deviation."""
    random = np.random.default_rng([seeds, *population.name.encode()])
    differences = population.draw(random, samples, seeds) - population.draw(random, samples, seeds)
    intervals = [mean_interval(each, population.bounds.of_difference) for each in differences]
    apart = differences + population.deviation
    return Errors(
        covered=float(np.mean([one.low <= 0 <= one.high for one in intervals if one])),
        different=float(np.mean([difference_p(each) < LEVEL for each in differences])),
        equivalent=float(np.mean([equivalence_p(each, population.deviation) < LEVEL for each in apart])),
    )


def over_rows(rows: int, discordant: float, samples: int) -> Errors:
    """Two variants of which only one is right on this share of the rows, each as often as the other."""
    random = np.random.default_rng([rows, round(1000 * discordant)])
    shares = [discordant / 2, discordant / 2, 1 - discordant]
    drawn = [
        Discordant(int(first), int(second), rows) for first, second, _ in random.multinomial(rows, shares, samples)
    ]
    intervals = [row_intervals(one.counts, ["accuracy"]).get("accuracy") for one in drawn]
    return Errors(
        covered=float(np.mean([one.low <= 0 <= one.high for one in intervals if one])),
        different=float(np.mean([mcnemar_p(one) < LEVEL for one in drawn])),
    )
