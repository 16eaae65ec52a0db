"""Two folders compared: cells of the same question, paired by seed, of two machines, versions or days."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from benchmarks.reporting.briefs import Brief
from benchmarks.reporting.pairs import Pair
from benchmarks.reporting.rows import ALWAYS, METRICS, SETTINGS, Row, Rows
from benchmarks.statistics.paired import LEVEL, Comparison, as_table
from benchmarks.statistics.times import DRIFT, quartiles
from shared.diverging import shown
from shared.records import SPLITS, Record, cell_id

APART: tuple[tuple[str, ...], ...] = ((), ("revision", "versions"), ("threads",), ("device",))
"""Fields in which the questions of two folders may differ: each step adds some. Cells are paired at the first step at
which either folder has one row of the question."""

FEWEST = 3
"""Ratios of times below which their quartiles say nothing."""

Pace = Literal["slower", "faster", ""]


@dataclass(frozen=True)
class Change:
    """The rows of one question in two folders, of the seeds that both have. Differences are after minus before."""

    pair: Pair
    scores: tuple[Comparison, ...]
    """Each score that both have, adjusted over the whole table."""

    @property
    def before(self) -> Row:
        """The first folder's row."""
        return self.pair.first

    @property
    def after(self) -> Row:
        """The second folder's row."""
        return self.pair.second

    @property
    def beyond(self) -> tuple[Comparison, ...]:
        """The scores that differ beyond noise."""
        return tuple(one for one in self.scores if one.p_holm < LEVEL)

    @cached_property
    def times(self) -> tuple[float, float, float] | None:
        """Lower quartile, median and upper quartile of the ratios of epochs' times, after by before. None if there are
        none, or if a side's times are of several machines."""
        sides = zip(*self.pair.by_seed.values(), strict=True)
        if any(len({one.machine.shown for one in side}) > 1 for side in sides):
            return None
        ratios = self.pair.epoch_ratios()
        return quartiles(ratios) if len(ratios) else None

    @property
    def pace(self) -> Pace:
        """Whether the quartiles of at least FEWEST ratios both lie beyond what a machine's own rate may move by, and
        nothing disturbed the runs."""
        if self.times is None or len(self.pair.epoch_ratios()) < FEWEST or self.pair.disturbed():
            return ""
        low, _, high = self.times
        return "slower" if low > 1 + DRIFT else "faster" if high < 1 / (1 + DRIFT) else ""

    @property
    def diverged(self) -> list[tuple[int, str, str]]:
        """Each seed that diverged on one side alone: the seed, and how the training ended before and after."""
        sides = ({one.recipe.seed: one.diverged for one in row.records} for row in (self.before, self.after))
        ours, theirs = sides
        both = sorted(ours.keys() & theirs.keys())
        return [(n, _end(ours[n]), _end(theirs[n])) for n in both if (ours[n] is None) != (theirs[n] is None)]

    @property
    def circumstances(self) -> list[str]:
        """Differences besides the folder: versions, threads, device, machine."""
        ours, theirs = self.before, self.after
        sides = {
            "": (ours.versions(), theirs.versions()),
            "revision ": (ours.first.asked.revision, theirs.first.asked.revision),
            "threads ": (ours.first.asked.threads, theirs.first.asked.threads),
            "device ": (ours.device(), theirs.device()),
        }
        return [f"{name}{a} → {b}" for name, (a, b) in sides.items() if a != b]


@dataclass(frozen=True)
class Side:
    """One of two folders."""

    folder: Path
    rows: Rows
    days: Sequence[str]
    """Dates of its runs, rising."""
    machines: Sequence[str]
    keys: Mapping[str, str | Record]
    """Marks that a copy of each cell's record has too: its digest; of an older one, which has none, the record."""

    @classmethod
    def of(cls, folder: Path, records: Sequence[Record]) -> Side:
        """The folder, with its records."""
        keys: dict[str, str | Record] = {}
        days, machines = set(), set()
        for record in records:
            keys[record.id] = record.digest or record
            days.add(record.circumstances.started[:10])
            machines.add(record.circumstances.machine.shown)
        return cls(folder, Rows.of(records), sorted(days), sorted(machines), keys)

    def without(self, copies: Container[str]) -> list[Row]:
        """The rows of the other cells, one for each question: seeds of different hardware have one row here."""
        kept: dict[str, list[Brief]] = {}
        for record in itertools.chain(*(row.records for row in self.rows.rows)):
            if cell_id(record.asked) not in copies:
                kept.setdefault(record.asked.without("seed"), []).append(record)
        return list(map(Row, kept.values()))


@dataclass(frozen=True)
class Changes:
    """The changes from one folder to another."""

    sides: tuple[Side, Side]
    """Before, and after."""
    rows: Rows
    """The rows of both folders, without copies."""
    changes: Sequence[Change]
    same: int
    """Cells whose record is the same in both: a copy, which nothing is learnt from."""
    alone: tuple[Sequence[Row], Sequence[Row]]
    """Rows of either folder without one to pair with."""

    @classmethod
    def of(cls, before: Side, after: Side) -> Changes:
        """Compares two folders."""
        copies = {cell for cell, key in before.keys.items() if after.keys.get(cell) == key}
        ours, theirs = before.without(copies), after.without(copies)
        pairs, left, right = _paired(ours, theirs)
        rows = Rows([*ours, *theirs], ())
        settings = [*ALWAYS, *(name for name in SETTINGS if name not in ALWAYS and rows.differ(name))]
        rows = replace(rows, settings=settings)
        return cls((before, after), rows, _compared(pairs), len(copies), (left, right))


def _end(step: int | None) -> str:
    return "finished" if step is None else shown(step)


def _paired(ours: Sequence[Row], theirs: Sequence[Row]) -> tuple[list[Pair], list[Row], list[Row]]:
    """Pairs of rows, and those of either side that are left."""
    pairs: list[Pair] = []
    left, right = list(ours), list(theirs)
    for n in range(len(APART)):
        apart = ("seed", *itertools.chain(*APART[: n + 1]))
        found = [
            Pair(first[0], second[0], "folder")
            for key, first in _by_question(left, apart).items()
            if len(first) == len(second := _by_question(right, apart).get(key, [])) == 1
        ]
        pairs += [pair for pair in found if _seeds(pair.first) & _seeds(pair.second)]
        taken = {id(row) for pair in pairs for row in (pair.first, pair.second)}
        left = [row for row in left if id(row) not in taken]
        right = [row for row in right if id(row) not in taken]
    places = {id(row): n for n, row in enumerate(ours)}
    return sorted(pairs, key=lambda pair: places[id(pair.first)]), left, right


def _seeds(row: Row) -> set[int]:
    return {record.recipe.seed for record in row.records}


def _by_question(rows: Sequence[Row], apart: Sequence[str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.first.asked.without(*apart), []).append(row)
    return found


def _compared(pairs: Sequence[Pair]) -> list[Change]:
    """The changes, their tests adjusted over all of them."""
    scores = [list(_scores(pair)) for pair in pairs]
    adjusted = iter(as_table(list(itertools.chain(*scores))))
    return [Change(pair, tuple(itertools.islice(adjusted, len(own)))) for pair, own in zip(pairs, scores, strict=True)]


def _scores(pair: Pair) -> Iterator[Comparison]:
    for split, metric in itertools.product(SPLITS, METRICS):
        found = pair.compare(split, metric)
        if found is not None:
            yield found
