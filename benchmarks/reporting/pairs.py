"""Pairs of rows that differ in one thing: the backend or, of one backend alone, a setting. They are compared by seed,
or of one seed by what they predict on the same rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from msgspec import structs

from benchmarks.reporting.rows import SHORT, Row, Rows
from benchmarks.statistics.intervals import deviation
from benchmarks.statistics.over_rows import discordant, joint_counts, mcnemar_p, row_interval
from benchmarks.statistics.paired import NAN, Comparison, compare_differences
from benchmarks.statistics.times import disturbed, epoch_ratios
from shared.records import Record, Split

BACKEND = ("backend", "revision", "versions", "reseeded")
"""What differs in the questions of two backends."""


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
    def by_seed(self) -> dict[int, tuple[Record, Record]]:
        """Both records of each seed with which neither diverged, by rising seed."""
        ours, theirs = (
            {record.recipe.seed: record for record in row.records if record.answer.diverged is None}
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
        ((first, second),) = self.by_seed.values()
        return _of_one_seed(first, second, split, metric)

    def epoch_ratios(self) -> np.ndarray:
        """Training time of the second's epochs by that of the first's, float [n], paired by seed and epoch."""
        ours, theirs = ({seed: both[n].answer for seed, both in self.by_seed.items()} for n in (0, 1))
        return epoch_ratios(ours, theirs)

    def disturbed(self) -> bool:
        """Tells whether a run of either was disturbed."""
        return any(disturbed(record.circumstances) for both in self.by_seed.values() for record in both)


def pairs_of(rows: Rows) -> list[Pair]:
    """Every two backends that answer the same question, or, if all rows are of one backend, every two rows that differ
    in one setting; in the rows' order."""
    if len({row.first.asked.backend for row in rows.rows}) > 1:
        return _pairs(rows.rows, "backend", BACKEND)
    varied = [name for name in rows.settings if rows.differ(name)]
    return [pair for name in varied for pair in _pairs(rows.rows, name, (name,))]


def _pairs(rows: Sequence[Row], varied: str, names: tuple[str, ...]) -> list[Pair]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.first.asked.without("seed", *names), []).append(row)
    found = [Pair(*both, varied) for group in groups.values() for both in itertools.combinations(group, 2)]
    return [pair for pair in found if pair.by_seed]


def _of_one_seed(first: Record, second: Record, split: Split, metric: str) -> Comparison:
    scores = [(record.scores(split) or {})[metric] for record in (first, second)]
    found = Comparison(
        first.asked.backend,
        second.asked.backend,
        split,
        metric,
        differences=(scores[1] - scores[0],),
        margin=NAN,
        note="",
        mean=scores[1] - scores[0],
    )
    rows, counts = discordant(first, second, split), joint_counts(first, second, split)
    if metric == "accuracy" and rows:
        p = mcnemar_p(rows)
        found, counts = structs.replace(found, p_different=p, p_holm=p), rows.counts
    interval = None if counts is None else row_interval(counts, metric)
    return structs.replace(found, low=interval.low, high=interval.high) if interval else found
