"""Tests of paired differences: whether two variants score differently, and whether they score the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct, structs
from scipy.special import stdtr

from benchmarks.statistics.intervals import (
    ROUNDING,
    bounds_of,
    constant,
    deviation,
    mean_interval,
    standard_error,
)

Verdict = Literal["equivalent", "different", "undecided"]

LEVEL = 0.05
"""Largest rate at which each test rejects a true hypothesis."""
NAN = float("nan")


class Comparison(Struct, frozen=True, forbid_unknown_fields=True):
    """One metric of two variants on one split. If a training diverged, its score and the numbers that follow from it
    are NaN, and the verdict is `undecided`."""

    first: str
    second: str
    split: str
    metric: str
    differences: tuple[float, ...]
    """Second minus first, by rising seed."""
    margin: float
    note: str
    """Explains the verdict further; may be empty."""
    mean: float = NAN
    deviation: float = NAN
    """Sample standard deviation of the differences."""
    low: float = NAN
    high: float = NAN
    """Ends of the mean's interval; NaN if all differences are the same."""
    p_equivalent: float = NAN
    p_different: float = NAN
    p_holm: float = NAN
    """`p_different` by Holm's method, over all comparisons of a table."""
    verdict: Verdict = "undecided"

    @property
    def pair(self) -> tuple[str, str]:
        """Names of the two variants."""
        return self.first, self.second

    @property
    def shown_pair(self) -> str:
        """The difference, as tables show it."""
        return f"{self.second} − {self.first}"

    @property
    def score(self) -> str:
        """The score compared, as tables show it."""
        return f"{self.split} {self.metric}"

    @property
    def verdicts(self) -> str:
        """Both tests' verdicts: a small difference may be within the margin, and yet not zero."""
        return f"{self.verdict}, different" if self.verdict == "equivalent" and self.p_holm < LEVEL else self.verdict


def compare_differences(
    first: str, second: str, split: str, metric: str, differences: np.ndarray, margin: float, not_finite: list[str]
) -> Comparison:
    """Tests paired differences of one metric, second minus first, by rising seed. `not_finite` names scores that are
    not finite, with which nothing is decided. The verdict is that of a table of this comparison alone."""
    values = tuple(float(value) for value in differences)
    undecided = Comparison(first, second, split, metric, values, margin, note=", ".join(not_finite))
    if not_finite:
        return undecided
    p_equivalent, p_different = equivalence_p(differences, margin), difference_p(differences)
    interval = mean_interval(differences, bounds_of(metric).of_difference)
    low, high = interval or (NAN, NAN)
    same = f"the same {'difference' if p_different == 0 else 'scores'} at every seed"
    return structs.replace(
        undecided,
        note=same if constant(differences) else "",
        mean=float(np.mean(differences)),
        deviation=deviation(differences),
        low=low,
        high=high,
        p_equivalent=p_equivalent,
        p_different=p_different,
        p_holm=p_different,
        verdict=verdict_of(p_equivalent, p_different),
    )


def as_table(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of a table: p-values of differences by Holm's method over all of them, and the verdicts by
    those. Tests of equivalence stay as they are: that all are equivalent is claimed only if each test shows it."""
    adjusted = holm(np.array([one.p_different for one in comparisons]))
    return [
        structs.replace(one, p_holm=float(p), verdict=verdict_of(one.p_equivalent, p))
        for one, p in zip(comparisons, adjusted, strict=True)
    ]


def equivalence_p(differences: np.ndarray, margin: float) -> float:
    """Two one-sided paired t-tests (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657-680): the larger p-value of the
    two, against a true mean difference of `margin` or more, and of `-margin` or less. Below LEVEL the variants are
    equivalent. Differences without any deviation give 0 inside the margin and 1 elsewhere."""
    mean = float(np.mean(differences))
    if constant(differences):
        return 0.0 if abs(mean) < margin - ROUNDING else 1.0
    return float(stdtr(len(differences) - 1, (abs(mean) - margin) / standard_error(differences)))


def difference_p(differences: np.ndarray) -> float:
    """The two-sided paired t-test against a true mean difference of 0. Differences without any deviation give 1 if
    they are 0, else 0."""
    mean = float(np.mean(differences))
    if constant(differences):
        return 1.0 if abs(mean) <= ROUNDING else 0.0
    return 2 * float(stdtr(len(differences) - 1, -abs(mean) / standard_error(differences)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """The p-values adjusted for their number (Holm 1979, Scand. J. Stat. 6:65-70), float [n]: those below a level are
    all of true differences, but for a chance of that level. NaN stays NaN, and does not count."""
    adjusted = np.array(p_values, float)
    known = np.flatnonzero(~np.isnan(adjusted))
    order = known[np.argsort(adjusted[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * adjusted[order]))
    return adjusted


def verdict_of(p_equivalent: float, p_different: float) -> Verdict:
    """The verdict by both tests. A true difference within the margin counts as equivalent."""
    if p_equivalent < LEVEL:
        return "equivalent"
    return "different" if p_different < LEVEL else "undecided"
