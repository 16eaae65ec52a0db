"""Pairs of rows that differ in one thing: the backend or, of one backend alone, a setting. They are compared by seed,
or of one seed by what they predict on the same rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.reporting.briefs import Brief
from benchmarks.reporting.rows import SHORT, Row, Rows
from benchmarks.statistics.intervals import Interval, deviation
from benchmarks.statistics.over_rows import discordant, joint_counts, mcnemar_p, row_intervals
from benchmarks.statistics.paired import NAN, Comparison, compare_differences
from benchmarks.statistics.times import epoch_ratios
from shared.records import SPLITS, Record, Split

BACKEND = ("backend", "revision", "versions", "reseeded")
"""Fields that differ in the questions of two backends."""


@dataclass(frozen=True)
class Pair:
    """Two rows. Differences are second minus first."""

    first: Row
    second: Row
    varied: str
    """The one thing in which they differ: `backend`, or a setting."""

    @property
    def shown(self) -> str:
        """The difference, as tables show it."""
        if self.varied == "backend":
            return f"{self.second.first.asked.backend} − {self.first.first.asked.backend}"
        values = (row.setting(self.varied) for row in (self.second, self.first))
        return f"{self.heading} {' − '.join(map(str, values))}"

    @property
    def heading(self) -> str:
        """The heading of that thing's column."""
        return SHORT.get(self.varied, self.varied)

    @cached_property
    def by_seed(self) -> dict[int, tuple[Brief, Brief]]:
        """Both records of each seed with which neither diverged, by rising seed."""
        ours, theirs = (
            {record.recipe.seed: record for record in row.records if record.diverged is None}
            for row in (self.first, self.second)
        )
        return {seed: (ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())}

    def compare(self, split: Split, metric: str) -> Comparison | None:
        """Compares one score; None if it is missing. The margin is the first's deviation over the seeds. For one seed
        accuracies are tested over rows, and other scores have an interval over them."""
        scores = [[(record.scores(split) or {}).get(metric) for record in both] for both in self.by_seed.values()]
        if not scores or any(score is None for both in scores for score in both):
            return None
        ours, theirs = np.array(scores, float).T
        if len(scores) > 1:
            return compare_differences(
                self.first.first.asked.backend,
                self.second.first.asked.backend,
                split,
                metric,
                theirs - ours,
                deviation(ours),
                [],
            )
        return self._over_rows[split].get(metric)

    @cached_property
    def _over_rows(self) -> dict[Split, dict[str, Comparison]]:
        """Comparisons of one seed, by split and metric."""
        ((first, second),) = self.by_seed.values()
        ours, theirs = first.whole(), second.whole()
        return {split: compare_rows(ours, theirs, split) for split in SPLITS}

    def epoch_ratios(self) -> np.ndarray:
        """Training time of the second's epochs by that of the first's, float [n], paired by seed and epoch."""
        timed = {seed: both for seed, both in self.by_seed.items() if both[0].timed and both[1].timed}
        ours, theirs = ({seed: both[n] for seed, both in timed.items()} for n in (0, 1))
        return epoch_ratios(ours, theirs)

    def disturbed(self) -> bool:
        """Tells whether a run of either was disturbed."""
        return any(record.disturbed for both in self.by_seed.values() for record in both)


def pairs_of(rows: Rows) -> list[Pair]:
    """Every two backends that answer the same question, or, if all rows are of one backend, every two rows that differ
    in one setting; in the rows' order."""
    if len({row.first.asked.backend for row in rows.rows}) > 1:
        return _pairs(rows.rows, "backend", BACKEND)
    varied = [name for name in rows.settings if rows.differ(name)]
    return [pair for name in varied for pair in _pairs(rows.rows, name, (name,))]


def _pairs(rows: Sequence[Row], varied: str, names: tuple[str, ...]) -> list[Pair]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.first.asked.without("seed", *names), row.machine()), []).append(row)
    found = [Pair(*both, varied) for group in groups.values() for both in itertools.combinations(group, 2)]
    return [pair for pair in found if pair.by_seed]


def compare_rows(first: Record, second: Record, split: Split) -> dict[str, Comparison]:
    """Compares two records of one seed on the rows of a split, by metric."""
    ours, theirs = first.scores(split) or {}, second.scores(split) or {}
    rows, counts = discordant(first, second, split), joint_counts(first, second, split)
    if counts is not None:
        intervals = row_intervals(counts, ours)
    else:
        intervals = row_intervals(rows.counts, ["accuracy"]) if rows else {}
    p = {"accuracy": mcnemar_p(rows)} if rows else {}
    none = Interval(NAN, NAN)
    return {
        metric: Comparison(
            first.asked.backend,
            second.asked.backend,
            split,
            metric,
            differences=(theirs[metric] - ours[metric],),
            margin=NAN,
            note="",
            mean=theirs[metric] - ours[metric],
            low=intervals.get(metric, none).low,
            high=intervals.get(metric, none).high,
            p_different=p.get(metric, NAN),
        )
        for metric in ours.keys() & theirs.keys()
    }
