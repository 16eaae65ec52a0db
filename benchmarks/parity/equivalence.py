"""Compares variants over seeds: which records are paired, and by which margin.

A variant is a backend, or a value of an option on one backend. equivalence_report.py shows the results.
"""

from __future__ import annotations

import itertools

import numpy as np
from msgspec import structs

from benchmarks.statistics.intervals import deviation
from benchmarks.statistics.paired import NAN, Comparison, as_table, compare_differences
from shared.diverging import shown
from shared.metrics import METRICS
from shared.records import SPLITS, Record, Split

Variants = dict[str, list[Record]]
"""Each variant's records, a record for each seed, by the variant's name and in the order in which variants are shown.
All have the same seeds."""
SeedScores = dict[str, dict[tuple[str, str], np.ndarray]]
"""Scores by variant, and by split and metric: float64 [seeds], by rising seed."""


def compare(variants: Variants, margin: float | None = None) -> list[Comparison]:
    """Compares every pair of variants on every metric of every split that is scored, pairs in the order of the
    variants, as one table. Without a `margin` it is the first variant's sample standard deviation over the seeds, of
    the same split and metric. Raises ValueError as `scores_by_seed` does, and if there are fewer than two seeds."""
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
    return as_table(comparisons)


def scores_by_seed(variants: Variants) -> SeedScores:
    """The metrics; NaN for a training that diverged. Raises ValueError if a variant does not have
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
            for metric in METRICS
            if metric in scored[split]
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
