"""Rows of the tables: records that differ in nothing but their seed, taken together. Records of different hardware are
never in one row."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from backends import BACKENDS
from benchmarks.cli.values import as_typed
from benchmarks.reporting.briefs import Brief, in_brief
from benchmarks.statistics.intervals import Bounds, bounds_of, deviation, score_interval
from benchmarks.statistics.times import quartiles
from shared.diverging import shown
from shared.recipe import Recipe
from shared.records import SPLITS, Asked, Record, Split

METRICS = ("accuracy", "mcc", "f1", "macro_f1")
"""Metrics that have columns, in their order."""

SHOWN = {"accuracy": "accuracy", "mcc": "MCC", "f1": "F1", "macro_f1": "macro F1"}
"""Headings of metrics."""

SHORT = {"batch_size": "batch"}
"""Headings that differ from the setting's name."""

ALWAYS = ("max_len", "batch_size")
"""Settings with a column of their own; others get one if records differ in them."""

COMPUTING = ("precision", "compile", "embedding_update", "reseeded")
"""Settings that say how the backend computed."""

STARTING = ("head", "tokens")
"""Settings that follow from the checkpoint."""

SETTINGS = (*(f.name for f in fields(Recipe) if f.name != "seed"), *COMPUTING, *STARTING)

PACKED = "made with --exclusive no: its times mean nothing"

COUNTED = {"train_rows": "train", "dev_rows": "dev"}
"""Settings that ask for a number of rows, and their splits."""


@dataclass(frozen=True)
class Spread:
    """A score over the seeds of a row."""

    mean: float
    deviation: float | None
    """Sample standard deviation: None for one seed, NaN if a score is no number."""
    low: float | None = None
    high: float | None = None
    """Ends of the mean's 95 % interval (`score_interval`); None if there is none."""

    @classmethod
    def of(cls, values: Sequence[float], bounds: Bounds) -> Spread | None:
        """The spread of a score with these bounds; None if no seed has it."""
        if not values:
            return None
        mean = statistics.fmean(values)
        if len(values) == 1:
            return cls(mean, None)
        scores = np.array(values)
        low, high = score_interval(scores, bounds) or (None, None)
        return cls(mean, deviation(scores), low, high)


@dataclass(frozen=True)
class Speed:
    """Times, rates and memory of a row. Seconds of an epoch are those without compilation
    (`Fit.steady_epoch_seconds`)."""

    epoch_seconds: float
    """Median over the epochs of all seeds."""
    epoch_seconds_q1: float
    epoch_seconds_q3: float
    """Their quartiles."""
    examples_per_second: float
    tokens_per_second: float
    """Real tokens."""
    floor_seconds: float | None
    times_floor: float | None
    """An epoch's seconds over its floor."""
    padding_share: float
    """Share of padding among the tokens computed on."""
    first_step_seconds: float
    start_seconds: float
    peak_memory_bytes: int
    """The most of all seeds."""
    cores_busy_with_others: float | None
    """The most of all seeds; None if it was not measured."""
    disturbed: bool
    """Whether others disturbed the run of a seed."""

    @classmethod
    def of(cls, records: Sequence[Brief]) -> Speed:
        """The speed of a row."""
        seconds = [second for record in records for second in record.epoch_seconds]
        tokens = sum(record.tokens for record in records)
        works = [record.work for record in records if record.work]
        low, median, high = quartiles(np.array(seconds))
        return cls(
            epoch_seconds=median,
            epoch_seconds_q1=low,
            epoch_seconds_q3=high,
            examples_per_second=sum(record.trained_rows for record in records) / sum(seconds),
            tokens_per_second=tokens / sum(seconds),
            floor_seconds=_median(work.floor_seconds for work in works),
            times_floor=_median(work.times_floor for work in works),
            padding_share=1 - tokens / sum(record.padded_tokens for record in records),
            first_step_seconds=statistics.median(record.first_step_seconds for record in records),
            start_seconds=statistics.median(record.start_seconds for record in records),
            peak_memory_bytes=max(record.peak_memory_bytes for record in records),
            cores_busy_with_others=max(
                (busy for record in records if (busy := record.cores_busy_with_others) is not None), default=None
            ),
            disturbed=any(record.disturbed for record in records),
        )


@dataclass(frozen=True)
class Row:
    """Records that differ in nothing but their seed, made on one kind of machine."""

    records: Sequence[Brief]

    @property
    def first(self) -> Brief:
        """A record that shows what they have in common."""
        return self.records[0]

    def setting(self, name: str) -> Any:
        """The value that tables show for one of SETTINGS. `train_rows` and `dev_rows` are the rows that there were, the
        others are as one would type them."""
        if name in COUNTED:
            return self.first.rows.get(COUNTED[name], 0)
        return as_typed(_setting(self.first, name))

    def scores(self, split: Split, metric: str) -> Spread | None:
        """A score of the split over the seeds; None if it was not scored."""
        found = [record.scores(split) for record in self.records]
        values = [scores[metric] for scores in found if scores is not None and metric in scores]
        return Spread.of(values, bounds_of(metric))

    def above_majority(self, split: Split) -> bool:
        """Tells whether the mean accuracy is above the majority class. An accuracy that is not there, or not a number,
        counts as above."""
        accuracy, majority = self.scores(split, "accuracy"), self.first.majority.get(split)
        return accuracy is None or majority is None or not accuracy.mean <= majority

    def speed(self) -> Speed | None:
        """Times, rates and memory of the seeds whose times mean something; None if there is none."""
        timed = [record for record in self.records if record.timed]
        return Speed.of(timed) if timed else None

    def diverged(self) -> str:
        """Names the seeds that diverged, each with its step; empty if none did."""
        found = {r.recipe.seed: shown(r.diverged) for r in self.records if r.diverged is not None}
        if len(self.records) == 1:
            return "".join(found.values())
        return ", ".join(f"seed {seed} {words}" for seed, words in sorted(found.items()))

    def device(self) -> str:
        """The device, a GPU with its name."""
        device = self.first.asked.device
        gpus = dict(enumerate(self.first.machine.gpus))
        number = device.removeprefix("cuda:")
        gpu = gpus.get(int(number)) if number.isdecimal() else None
        return device if gpu is None else f"{device} ({gpu})"

    def machine(self) -> str:
        """Processor, cores and GPUs that it was made on."""
        return self.first.machine.shown

    def versions(self) -> str:
        """The modules that the adapter imports, each with its version."""
        return shown_versions(self.first.asked)

    def note(self) -> str:
        """Names the seeds that diverged, the splits that were not scored, and those whose accuracy says nothing."""
        notes = [self.diverged()] if self.diverged() else []
        if all(record.diverged is not None for record in self.records):
            return notes[0]
        if self.speed() is None:
            notes.append(PACKED)
        for split in SPLITS:
            if self.scores(split, "accuracy") is None:
                notes.append(f"{split} not scored: {'no labels' if self.first.rows.get(split) else 'no such split'}")
            elif not self.above_majority(split):
                notes.append(f"{split} accuracy not above the majority class")
        return "; ".join(notes)


@dataclass(frozen=True)
class Rows:
    """The rows of a set of records, in the order of the tables."""

    rows: Sequence[Row]
    settings: Sequence[str]
    """The settings that have a column: ALWAYS, and those in which records differ."""

    @classmethod
    def of(cls, records: Sequence[Record]) -> Rows:
        """The rows of records."""
        briefs = list(in_brief(records))
        varied = (name for name in SETTINGS if name not in ALWAYS and _differ(briefs, name))
        settings = [*ALWAYS, *varied]
        groups: dict[tuple[str, str], list[Brief]] = {}
        for record in briefs:
            groups.setdefault((record.asked.without("seed"), record.machine.shown), []).append(record)

        def order(row: Row) -> list[tuple[int, Any]]:
            values = (row.setting(name) for name in settings)
            asked = row.first.asked
            return [_sortable(v) for v in (asked.task, row.first.model, *values, asked.backend, row.machine())]

        return cls(sorted((Row(group) for group in groups.values()), key=order), settings)

    @cached_property
    def names(self) -> list[dict[str, str]]:
        """The cells that name each row, by their headings."""
        several = len({row.first.model for row in self.rows}) > 1
        machines = len({row.machine() for row in self.rows}) > 1
        return [
            {"task": row.first.asked.task}
            | ({"model": row.first.model} if several else {})
            | {SHORT.get(name, name): str(row.setting(name)) for name in self.settings}
            | {"backend": row.first.asked.backend}
            | ({"machine": row.machine()} if machines else {})
            for row in self.rows
        ]

    def differ(self, name: str) -> bool:
        """Tells whether rows differ in a setting."""
        return len({str(row.setting(name)) for row in self.rows}) > 1

    @property
    def mixed(self) -> bool:
        """Tells whether one question was answered on different hardware."""
        return len({row.first.asked.without("seed") for row in self.rows}) < len(self.rows)

    def told_apart(self, value: Callable[[Row], Hashable]) -> bool:
        """Tells whether rows of one task and backend differ in the value."""
        found: dict[tuple[str, str], set[Hashable]] = {}
        for row in self.rows:
            found.setdefault((row.first.asked.task, row.first.asked.backend), set()).add(value(row))
        return any(len(values) > 1 for values in found.values())


def shown_versions(asked: Asked) -> str:
    """The modules that the adapter imports, each with its version."""
    return ", ".join(f"{module} {version}" for module, version in asked.versions.items())


def _setting(record: Brief, name: str) -> Any:
    return getattr(record.asked if name in (*COMPUTING, *STARTING) else record.recipe, name)


def _differ(records: Sequence[Brief], name: str) -> bool:
    first = _setting(records[0], name)
    return any(_setting(record, name) != first for record in records)


def _median(values: Iterable[float | None]) -> float | None:
    """The median of those that are there; older records lack some."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _sortable(value: Any) -> tuple[int, Any]:
    """Backends in the registry's order, numbers by size, then words."""
    if value in BACKENDS:
        return (1, list(BACKENDS).index(value))
    return (2, value) if isinstance(value, str) else (1, value)
