"""Holds gates to records: each gate on every set of cells that ask the same question of the backends that it names."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from rich.console import Console

from benchmarks.reporting.briefs import Brief
from benchmarks.reporting.gates import Gate, NoValue, Quantity
from benchmarks.reporting.numbers import decimals
from benchmarks.reporting.pairs import BACKEND
from benchmarks.reporting.rows import Row, Rows
from benchmarks.reporting.tidy import columns
from benchmarks.statistics.intervals import bounds_of, mean_interval, score_interval
from benchmarks.statistics.times import quartiles
from shared.diverging import shown
from shared.errors import InputError, tell
from shared.records import Record, cell_id

MOST_LEFT_OUT = 3
"""Reasons that are told of a gate that has no value in some comparisons."""

SIGNIFICANT = 4
"""Digits of a number that has no interval."""


@dataclass(frozen=True)
class Measured:
    """A quantity over the seeds of a comparison."""

    number: float
    low: float | None = None
    high: float | None = None
    form: Literal["[{}, {}]", "({} – {})"] = "[{}, {}]"
    """Brackets of an interval of the mean, or of the quartiles."""

    def __str__(self) -> str:
        if self.low is None or self.high is None or not self.low < self.high:
            return f"{self.number:.{SIGNIFICANT}g}"
        digits = f".{decimals(self.low, self.high, 4)}f"
        return f"{self.number:{digits}} {self.form.format(f'{self.low:{digits}}', f'{self.high:{digits}}')}"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a gate in one comparison."""

    title: str
    """The question that the cells answer."""
    state: Literal["passes", "fails", "no value"]
    words: str
    """The numbers, or why there are none."""


def hold_gates(console: Console, records: Sequence[Record], gates: Sequence[Gate]) -> int:
    """Prints the outcome of each gate: a line for every comparison in which it fails, on standard error, and one line
    for the others. Returns the exit code: 1 if one fails, else 0. Raises InputError naming a gate that has no value in
    any comparison."""
    rows = Rows.of(records)
    cells = cells_of(records)
    code, nowhere = 0, None
    for gate in gates:
        found = list(outcomes(gate, rows, cells))
        counts = {state: sum(one.state == state for one in found) for state in ("passes", "fails", "no value")}
        for one in found:
            if one.state == "fails":
                tell(f"benchmarks.report: FAILS {one.title}: {gate.text}: {one.words}")
        for one in [one for one in found if one.state == "no value"][:MOST_LEFT_OUT]:
            _say(console, f"no value: {one.title}: {gate.text}: {one.words}")
        _say(console, f"{gate.text}: {', '.join(f'{state} in {n}' for state, n in counts.items())} comparisons")
        if counts["fails"]:
            code = 1
        elif not counts["passes"]:
            nowhere = nowhere or (gate, found)
    if nowhere:
        gate, found = nowhere
        raise InputError(f"--fail-if {gate.text!r} has no value in any comparison: {_why_nowhere(gate, rows, found)}")
    return code


Cells = Mapping[str, Mapping[str, Any]]
"""The columns of each cell that are numbers, by its id."""


def cells_of(records: Sequence[Record]) -> Cells:
    """The numbers of the table of cells."""
    numbers = {name: column for name, column in columns().items() if column.is_number}
    return {record.id: {name: column.value(record) for name, column in numbers.items()} for record in records}


def outcomes(gate: Gate, rows: Rows, cells: Cells) -> Iterator[Outcome]:
    """The outcome in each comparison: cells that ask the same question of every backend that the gate names, by the
    seeds that all of them have. Backends with several rows of one question, as of two versions, are compared in every
    combination. A seed that diverged fails the gate: it has no number, and nothing worse can be said of a training."""
    names = {id(row): cells for row, cells in zip(rows.rows, rows.names, strict=True)}
    for group in _questions(rows):
        of_backend = {name: [row for row in group if row.first.asked.backend == name] for name in gate.backends}
        if not all(of_backend.values()):
            continue
        for each in itertools.product(*of_backend.values()):
            title = " ".join(_title(names[id(each[0])]))
            if any(len(found) > 1 for found in of_backend.values()):
                title += f" ({'; '.join(row.versions() for row in each)})"
            yield _outcome(gate, title, dict(zip(of_backend, each, strict=True)), cells)


def measure(records: Sequence[Brief], name: str, cells: Cells) -> Measured:
    """A column over the seeds, as the tables have it: the mean of a score with its interval; the median of a time with
    its quartiles, for `epoch_s` over the epochs of all seeds; the most of what is a worst case. Raises NoValue if it is
    missing for a seed."""
    values = [cells[cell_id(record.asked)][name] for record in records]
    if any(value is None for value in values):
        raise NoValue("is not there")
    numbers = np.array(values, float)
    if name == "epoch_s":
        numbers = np.array([second for record in records for second in record.epoch_seconds])
    match columns()[name].over:
        case "mean":
            metric = name.split("_", 1)[1]
            loss = metric == "loss"
            found = mean_interval(numbers) if loss else score_interval(numbers, bounds_of(metric))
            return Measured(statistics.fmean(numbers), *(found or (None, None)))
        case "median":
            low, median, high = quartiles(numbers)
            return Measured(median, low, high, "({} – {})")
        case "most":
            return Measured(float(numbers.max()))
        case "same":
            return Measured(float(numbers[0]))


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _questions(rows: Rows) -> list[list[Row]]:
    """The rows of each question on each kind of machine: what is of different hardware is not compared."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows.rows:
        groups.setdefault((row.first.asked.without("seed", *BACKEND), row.machine()), []).append(row)
    return list(groups.values())


def _title(names: Mapping[str, str]) -> Iterator[str]:
    for name, cell in names.items():
        if name != "backend":
            yield cell if name in ("task", "model") else f"{name} {cell}"


def _outcome(gate: Gate, title: str, rows: Mapping[str, Row], cells: Cells) -> Outcome:
    seeds = set.intersection(*({record.recipe.seed for record in row.records} for row in rows.values()))
    records = {name: [one for one in row.records if one.recipe.seed in seeds] for name, row in rows.items()}
    if not seeds:
        return Outcome(title, "no value", f"{' and '.join(rows)} have no seed in common")
    diverged = [one for found in records.values() for one in found if one.diverged is not None]
    if diverged:
        return Outcome(title, "fails", ", ".join(map(_diverged, diverged)))
    measured: dict[Quantity, Measured] = {}
    for quantity in gate.quantities:
        try:
            measured[quantity] = measure(records[quantity.backend], quantity.column, cells)
        except NoValue as error:
            return Outcome(title, "no value", f"{quantity} {error}")
    try:
        fails = gate.holds({quantity: one.number for quantity, one in measured.items()})
    except NoValue as error:
        return Outcome(title, "no value", str(error))
    numbers = ", ".join(f"{quantity} {one}" for quantity, one in measured.items())
    marked = " !" * any(one.disturbed for found in records.values() for one in found)
    return Outcome(title, "fails" if fails else "passes", f"{numbers} ({_counted(len(seeds))}){marked}")


def _counted(seeds: int) -> str:
    return "1 seed" if seeds == 1 else f"{seeds} seeds"


def _diverged(record: Brief) -> str:
    step = record.diverged
    assert step is not None, "only such are told"
    return f"{record.asked.backend} seed {record.recipe.seed} {shown(step)}"


def _why_nowhere(gate: Gate, rows: Rows, found: Sequence[Outcome]) -> str:
    if found:
        return f"{found[0].title}: {found[0].words}"
    there = {row.first.asked.backend for row in rows.rows}
    missing = [name for name in gate.backends if name not in there]
    if missing:
        return f"no cell is of {', '.join(missing)}"
    return f"no question was asked of {' and '.join(gate.backends)}"
