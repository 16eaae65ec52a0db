"""Tests over seeds whether two variants score the same: paired differences, bootstrap intervals, equivalence tests.

A variant is a backend, or a value of an option on one backend. equivalence_report.py shows the results.
"""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
from msgspec import Struct, structs
from scipy.stats import bootstrap, ttest_1samp

from shared.diverging import shown
from shared.records import SPLITS, Record, Split

Verdict = Literal["equivalent", "different", "undecided"]
Variants = dict[str, list[Record]]
"""Each variant's records, a record for each seed, by the variant's name and in the order in which variants are shown.
All have the same seeds."""
SeedScores = dict[str, dict[tuple[str, str], np.ndarray]]
"""Scores by variant, and by split and metric: float64 [seeds], by rising seed."""

LEVEL = 0.05
"""Largest rate at which each test rejects a true hypothesis."""
CONFIDENCE = 0.95
RESAMPLES = 9999
ROUNDING = 1e-12
"""Metrics lie in [-1, 1]: a smaller difference than this is rounding."""
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
    """Ends of the mean's bootstrap interval."""
    p_equivalent: float = NAN
    p_different: float = NAN
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


def compare(variants: Variants, margin: float | None = None) -> list[Comparison]:
    """Compares every pair of variants on every metric of every split that is scored, pairs in the order of the
    variants. Without a `margin` it is the first variant's sample standard deviation over the seeds, of the same split
    and metric. Raises ValueError as `scores_by_seed` does, and if there are fewer than two seeds."""
    found, seeds = scores_by_seed(variants), seeds_of(variants)
    if len(seeds) < 2:
        raise ValueError("a deviation needs two seeds or more")
    yardstick = next(iter(found))
    comparisons = []
    for first, second in itertools.combinations(found, 2):
        for (split, metric), ours in found[first].items():
            theirs = found[second][split, metric]
            not_finite = [
                f"{name} {shown(step)}, seed {seed}"
                for name in dict.fromkeys((first, second, *([yardstick] if margin is None else [])))
                for seed, step in _diverged(variants[name]).items()
            ]
            bound = deviation(found[yardstick][split, metric]) if margin is None else margin
            one = compare_differences(first, second, split, metric, theirs - ours, bound, not_finite)
            if bound == 0:
                flat = f"{yardstick} scored the same at every seed, which gives no margin; pass --margin"
                one = structs.replace(one, note="; ".join(filter(None, (flat, one.note))))
            comparisons.append(one)
    return comparisons


def scores_by_seed(variants: Variants) -> SeedScores:
    """The metrics, without the loss; NaN for a training that diverged. Raises ValueError if a variant does not have
    every seed once."""
    seeds = seeds_of(variants)
    finished = [record for records in variants.values() for record in records if record.answer.diverged is None]
    scored = {split: (finished[0].scores(split) or {} if finished else {}) for split in SPLITS}
    found: SeedScores = {}
    for name, records in variants.items():
        mine = sorted(records, key=lambda record: record.recipe.seed)
        if [record.recipe.seed for record in mine] != seeds:
            raise ValueError(f"{name} does not have each of the seeds {seeds} once")
        found[name] = {
            (split, metric): np.array([_score(record, split, metric) for record in mine])
            for split in SPLITS
            for metric in scored[split]
            if metric != "loss"
        }
    return found


def _score(record: Record, split: Split, metric: str) -> float:
    return NAN if record.answer.diverged is not None else (record.scores(split) or {})[metric]


def _diverged(records: list[Record]) -> dict[int, int]:
    """The step at which a training diverged, by its seed."""
    found = {record.recipe.seed: record.answer.diverged for record in records}
    return {seed: step for seed, step in sorted(found.items()) if step is not None}


def seeds_of(variants: Variants) -> list[int]:
    """Each seed once, rising."""
    return sorted({record.recipe.seed for records in variants.values() for record in records})


def deviation(values: np.ndarray) -> float:
    """The sample standard deviation; exactly 0 if all values are the same up to rounding."""
    return 0.0 if _constant(values) else float(np.std(values, ddof=1))


def equivalence_p(differences: np.ndarray, margin: float) -> float:
    """Two one-sided paired t-tests (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657-680): the larger p-value of the
    two, against a true mean difference of `margin` or more, and of `-margin` or less. Below LEVEL the variants are
    equivalent. Differences without any deviation give 0 inside the margin and 1 elsewhere."""
    if _constant(differences):
        return 0.0 if abs(np.mean(differences)) < margin - ROUNDING else 1.0
    not_below = ttest_1samp(differences, -margin, alternative="greater").pvalue
    not_above = ttest_1samp(differences, margin, alternative="less").pvalue
    return float(max(not_below, not_above))


def difference_p(differences: np.ndarray) -> float:
    """The two-sided paired t-test against a true mean difference of 0. Differences without any deviation give 1 if
    they are 0, else 0."""
    if _constant(differences):
        return 1.0 if abs(np.mean(differences)) <= ROUNDING else 0.0
    return float(ttest_1samp(differences, 0.0).pvalue)


def verdict_of(p_equivalent: float, p_different: float) -> Verdict:
    """The verdict by both tests. A true difference within the margin counts as equivalent."""
    if p_equivalent < LEVEL:
        return "equivalent"
    return "different" if p_different < LEVEL else "undecided"


def mean_interval(differences: np.ndarray) -> tuple[float, float]:
    """The mean's bootstrap interval, bias-corrected and accelerated (Efron 1987, J. Am. Stat. Assoc. 82:171-185). The
    same differences always give the same interval. Without any deviation it is not defined, and the mean stands for
    both ends."""
    if _constant(differences):
        return float(np.mean(differences)), float(np.mean(differences))
    found = bootstrap(
        (differences,), np.mean, confidence_level=CONFIDENCE, n_resamples=RESAMPLES, method="BCa", random_state=0
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def compare_differences(
    first: str, second: str, split: str, metric: str, differences: np.ndarray, margin: float, not_finite: list[str]
) -> Comparison:
    """Tests paired differences of one metric, second minus first, by rising seed. `not_finite` names scores that are
    not finite, with which nothing is decided."""
    values = tuple(float(value) for value in differences)
    undecided = Comparison(first, second, split, metric, values, margin, note=", ".join(not_finite))
    if not_finite:
        return undecided
    p_equivalent, p_different = equivalence_p(differences, margin), difference_p(differences)
    notes = []
    if _constant(differences):
        notes.append(f"the same {'difference' if p_different == 0 else 'scores'} at every seed")
    elif max(p_equivalent, p_different) < LEVEL:
        notes.append("not equal, but within the margin")
    low, high = mean_interval(differences)
    return structs.replace(
        undecided,
        note="; ".join(notes),
        mean=float(np.mean(differences)),
        deviation=deviation(differences),
        low=low,
        high=high,
        p_equivalent=p_equivalent,
        p_different=p_different,
        verdict=verdict_of(p_equivalent, p_different),
    )


def _constant(values: np.ndarray) -> bool:
    return bool(np.ptp(values) <= ROUNDING)
