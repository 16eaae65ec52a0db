"""Checks a port by its scores alone, one for each seed: whether they are equivalent to those of torch's records."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import Struct, structs

from benchmarks.port.csv_files import Table, read_table
from benchmarks.statistics.intervals import deviation
from benchmarks.statistics.paired import Comparison, as_table, compare_differences
from benchmarks.statistics.power import seeds_to_decide
from shared.errors import InputError
from shared.records import Record, Split, read_records


class MetricFound(Struct, frozen=True, kw_only=True):
    """One metric: the port's scores beside torch's."""

    comparison: Comparison
    """Its first is torch, its second the port."""
    mean: float
    deviation: float
    """Sample standard deviation over the seeds."""
    torch_mean: float
    torch_deviation: float
    seeds_needed: int | None = None
    """If undecided, the number of seeds with which a verdict is likely; None if more than 100,000."""


class ScoresChecked(Struct, frozen=True, kw_only=True):
    """The result of a check by scores."""

    about: str
    split: Split
    seeds: list[int]
    """Those that both have."""
    left_out: list[int]
    """Seeds that one of the two lacks."""
    not_compared: list[str]
    """Columns that are no metric of the records."""
    margin: float | None
    """None for torch's deviation over the seeds."""
    holds: bool
    """Every metric is equivalent."""
    metrics: list[MetricFound]


@dataclass(frozen=True)
class Wanted:
    """The records to compare with."""

    records: Path
    split: Split = "dev"
    task: str | None = None
    model: str | None = None


def check_scores(file: Path, wanted: Wanted, margin: float | None) -> ScoresChecked:
    """Compares the scores of a file with torch's records, paired by seed. Raises InputError."""
    if margin is not None and not 0 < margin < math.inf:
        raise InputError(f"--margin {margin:g}: pass a number above 0")
    table = read_table(file, ("seed",))
    records = {record.recipe.seed: record for record in torch_records(wanted)}
    rows = _rows(table)
    seeds = sorted(rows.keys() & records.keys())
    some = next(iter(records.values()))
    if len(seeds) < 2:
        raise InputError(
            f"{table.file} has seeds {_listed(rows)}, and torch's records of {_about(some)} have {_listed(records)}: "
            f"two or more must be in both; {_making(wanted, some.asked.task, some.model, rows)}"
        )
    metrics = [name for name in _scores(some, wanted.split) if name in table.columns and name != "loss"]
    if not metrics:
        known = ", ".join(name for name in _scores(some, wanted.split) if name != "loss")
        raise InputError(f"{table.file} has no column of a metric; torch's records of {_about(some)} have {known}")
    found = _decided([_compare(name, table, rows, seeds, records, wanted.split, margin) for name in metrics])
    return ScoresChecked(
        about=_about(some),
        split=wanted.split,
        seeds=seeds,
        left_out=sorted(rows.keys() ^ records.keys()),
        not_compared=[name for name in table.columns if name not in ("seed", *metrics)],
        margin=margin,
        holds=all(one.comparison.verdict == "equivalent" for one in found),
        metrics=found,
    )


def _rows(table: Table) -> dict[int, int]:
    """The row of each seed. Raises InputError for a seed that comes twice."""
    rows: dict[int, int] = {}
    for row, (seed, line) in enumerate(zip(table.counts("seed"), table.lines, strict=True)):
        if seed in rows:
            raise InputError(f"{table.file}, line {line}: seed {seed} comes a second time; give each seed once")
        rows[seed] = row
    return rows


def torch_records(wanted: Wanted) -> list[Record]:
    """Records of torch that differ in their seed alone. Raises InputError if there are none, or those of several
    questions."""
    there = [record for record in read_records(wanted.records) if record.asked.backend == "torch"]
    fitting = [
        record
        for record in there
        if wanted.task in (None, record.asked.task)
        and wanted.model in (None, record.model)
        and record.scores(wanted.split) is not None
    ]
    if not fitting:
        has = f"; it has {'; '.join(sorted({_about(record) for record in there}))}" if there else ""
        parts = (wanted.task and f" on {wanted.task}", wanted.model and f" with {wanted.model}")
        asked = "".join(filter(None, parts))
        raise InputError(
            f"--records {wanted.records} holds no record of torch{asked} that is scored on "
            f"{wanted.split}{has}; {_making(wanted, wanted.task or 'TASK', wanted.model or 'MODEL', range(1, 6))}"
        )
    questions: dict[str, list[Record]] = {}
    for record in fitting:
        questions.setdefault(record.asked.without("seed"), []).append(record)
    if len(questions) > 1:
        names = sorted({_about(records[0]) for records in questions.values()})
        how = "pass --task and --model" if len(names) > 1 else "keep one's in a folder of its own"
        held = f"torch's records of {len(questions)} questions ({'; '.join(names)})"
        raise InputError(f"--records {wanted.records} holds {held}; {how}")
    return next(iter(questions.values()))


def _making(wanted: Wanted, task: str, model: str, seeds: Iterable[int]) -> str:
    listed = " ".join(map(str, sorted(seeds)))
    return (
        f"make them: python -m benchmarks.run --backend torch --task {task} --model {model} --seed {listed} "
        f"--out {wanted.records}"
    )


def _about(record: Record) -> str:
    return f"{record.model} on {record.asked.task}"


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _scores(record: Record, split: Split) -> dict[str, float]:
    return record.scores(split) or {}


def _compare(
    name: str,
    table: Table,
    rows: dict[int, int],
    seeds: list[int],
    records: dict[int, Record],
    split: Split,
    margin: float | None,
) -> MetricFound:
    """Compares one metric. Raises InputError for a score outside the metric's range."""
    numbers = table.numbers(name)
    for number, line in zip(numbers, table.lines, strict=True):
        if not -1 <= number <= 1:
            raise InputError(
                f"{table.file}, line {line}: {name} is {number:g}, and records have shares from 0 to 1; divide by 100"
            )
    mine = np.array([numbers[rows[seed]] for seed in seeds])
    theirs = np.array([_scores(records[seed], split)[name] for seed in seeds])
    bound = deviation(theirs) if margin is None else margin
    differences = mine - theirs
    not_finite = [f"torch scored {value} at seed {seed}" for value, seed in zip(theirs, seeds, strict=True)]
    not_finite = [said for said, value in zip(not_finite, theirs, strict=True) if not np.isfinite(value)]
    found = compare_differences("torch", "yours", split, name, differences, bound, not_finite)
    if bound == 0:
        flat = "torch scored the same at every seed, which gives no margin; pass --margin"
        found = structs.replace(found, note="; ".join(filter(None, (flat, found.note))))
    return MetricFound(
        comparison=found,
        mean=float(mine.mean()),
        deviation=deviation(mine),
        torch_mean=float(theirs.mean()),
        torch_deviation=deviation(theirs),
    )


def _decided(found: list[MetricFound]) -> list[MetricFound]:
    """The metrics as one table, with the number of seeds that would decide what is undecided."""
    compared = as_table([one.comparison for one in found])
    needed = [seeds_to_decide(one, len(found)) for one in compared]
    return [
        structs.replace(one, comparison=comparison, seeds_needed=seeds)
        for one, comparison, seeds in zip(found, compared, needed, strict=True)
    ]
