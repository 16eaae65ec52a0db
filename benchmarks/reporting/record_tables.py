"""From records to tables: a CSV with everything, and for people a table of quality and one of speed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from benchmarks.reporting.comparisons import pairs_frame, pairs_legend
from benchmarks.reporting.numbers import MISSING, around_median, decimals, number
from benchmarks.reporting.page import Block, Notes, Page, Picture, Table, write_csv
from benchmarks.reporting.pairs import pairs_of
from benchmarks.reporting.rows import METRICS, PACKED, SHOWN, Row, Rows, Speed, Spread
from benchmarks.statistics.times import DRIFT
from benchmarks.workers.attempts import DISTURBED
from shared.limits import PRINTED_ROWS
from shared.records import SPLITS, Record, Split

MARK = "*"
"""Follows an accuracy that is not above the majority class."""

FOLDER = "pictures"
"""The folder of the pictures that benchmarks.report draws."""

MOST_PAIRS = 100
"""The most lines of the table of comparisons."""

QUALITY_LEGEND = (
    f"`{MARK}`: not above the majority class, whose share `majority` is",
    "`–`: not scored: the split has no labels, or the task has no such split or metric",
    "several seeds: mean ± sample standard deviation [95 % interval of the mean, by Student's t on the logit scale]; "
    "no interval if all seeds score the same; digits as the interval supports them",
)

MIXED_LEGEND = (
    "different machines answered one question (column `machine`): nothing is averaged over them, and only what was "
    "answered on the same kind is compared"
)

DIVERGED_LEGEND = "diverged: a loss, a logit or a weight became NaN or infinite; it has no score and is in no mean"

CIRCUMSTANCES: dict[str, Callable[[Row], Hashable]] = {
    "train_rows": lambda row: row.first.rows.get("train", 0),
    "device": Row.device,
    "threads": lambda row: row.first.asked.threads,
    "versions": Row.versions,
    "revision": lambda row: row.first.asked.revision,
    "machine": Row.machine,
}
"""Columns that the quality table shows only if rows of one task and backend differ in them."""


@dataclass(frozen=True)
class Tables:
    """The tables of a set of records."""

    rows: Rows
    blocks: Sequence[Block]
    """The tables for people, and their legend."""

    @classmethod
    def of(cls, records: Sequence[Record]) -> Tables:
        """The tables of records, which are read once if they are a folder's (`Records`)."""
        rows = Rows.of(records)
        return cls(rows, _blocks(rows))

    @cached_property
    def raw(self) -> pd.DataFrame:
        """The table with everything, a line a row; see `frame`."""
        return _frame(self.rows)

    def write(self, out: Path) -> None:
        """Writes `table.csv` and `table.md` under `out`. The latter shows the pictures that are there."""
        write_csv(out / "table.csv", self.raw)
        self.write_page(out)

    def write_page(self, out: Path) -> None:
        """Writes `table.md` alone, as once there are other pictures."""
        pictures = [Picture(path.stem, str(path.relative_to(out))) for path in sorted((out / FOLDER).glob("*.png"))]
        Page([*self.blocks, *pictures]).write(out / "table.md")

    def published(self) -> list[Record]:
        """The records of published recipes."""
        return [record.whole() for row in self.rows.rows for record in row.records if record.preset]

    def print(self, console: Console) -> None:
        """Shows the tables for people on the terminal, PRINTED_ROWS rows of each at most."""
        Page(self.blocks).print(console)


def write_tables(out: Path, records: Sequence[Record]) -> None:
    """Writes the tables of records under `out`."""
    Tables.of(records).write(out)


def print_tables(console: Console, records: Sequence[Record]) -> None:
    """Shows the tables of records on the terminal."""
    Tables.of(records).print(console)


def quality(records: Sequence[Record]) -> pd.DataFrame:
    """The table of scores for people, its cells strings; QUALITY_LEGEND explains it."""
    return _quality(Rows.of(records))


def frame(records: Sequence[Record]) -> pd.DataFrame:
    """The table with everything. Scores are means over the seeds, with the sample standard deviation in a column
    `..._sd` and the ends of the mean's interval in `..._low` and `..._high`."""
    return _frame(Rows.of(records))


def _frame(rows: Rows) -> pd.DataFrame:
    found = pd.DataFrame([_values(row, rows.settings) for row in rows.rows])
    return found if rows.told_apart(Row.machine) else found.drop(columns="machine")


def _values(row: Row, settings: Sequence[str]) -> dict[str, Any]:
    first = row.first
    values: dict[str, Any] = {"task": first.asked.task, "model": first.model, "backend": first.asked.backend}
    values |= {name: row.setting(name) for name in settings}
    values["seeds"] = len(row.records)
    values |= {f"{split}_rows": first.rows.get(split, 0) for split in ("train", *SPLITS)}
    for split in SPLITS:
        for metric in METRICS:
            values |= _spread_values(f"{split}_{metric}", row.scores(split, metric))
        values[f"{split}_majority"] = first.majority.get(split)
    speed = row.speed()
    values |= asdict(speed) if speed else dict.fromkeys(field.name for field in fields(Speed))
    values |= {name: value(row) for name, value in CIRCUMSTANCES.items() if name != "train_rows"}
    values["note"] = row.note()
    return values


def _spread_values(name: str, spread: Spread | None) -> dict[str, float | None]:
    if spread is None:
        return dict.fromkeys((name, f"{name}_sd", f"{name}_low", f"{name}_high"))
    return {name: spread.mean, f"{name}_sd": spread.deviation, f"{name}_low": spread.low, f"{name}_high": spread.high}


def _blocks(rows: Rows) -> list[Block]:
    names = len(_names(rows))
    blocks: list[Block] = [Table(_quality(rows), "Quality", names=names, most=PRINTED_ROWS)]
    found = pairs_of(rows)
    pairs = found[:MOST_PAIRS]
    if pairs:
        blocks.append(Table(pairs_frame(pairs, rows), "Comparisons", names=names))
    blocks.append(Table(_speed(rows), "Speed", names=names, most=PRINTED_ROWS))
    return [*blocks, Notes(_legend(rows) + pairs_legend(pairs, len(found)))]


def _quality(rows: Rows) -> pd.DataFrame:
    table = _names(rows)
    table |= {n: [str(value(row)) for row in rows.rows] for n, value in CIRCUMSTANCES.items() if rows.told_apart(value)}
    table["seeds"] = [str(len(row.records)) for row in rows.rows]
    for split in SPLITS:
        for metric in METRICS:
            if metric == "accuracy" or any(_scored(row, metric) for row in rows.rows):
                table[f"{split} {SHOWN[metric]}"] = [_score(row, split, metric) for row in rows.rows]
        table[f"{split} majority"] = [number(row.first.majority.get(split), ".3f") for row in rows.rows]
    if any(row.diverged() for row in rows.rows):
        table["note"] = [row.diverged() or MISSING for row in rows.rows]
    return pd.DataFrame(table)


def _speed(rows: Rows) -> pd.DataFrame:
    speeds = [row.speed() for row in rows.rows]

    def column(form: str, value: Callable[[Speed], float | None]) -> list[str]:
        return [number(value(one) if one else None, form) for one in speeds]

    table = _names(rows)
    table["epoch s"] = [_epoch_seconds(one) if one else MISSING for one in speeds]
    table["examples/s"] = column(".1f", lambda one: one.examples_per_second)
    table["real tokens/s"] = column(".0f", lambda one: one.tokens_per_second)
    table["padded"] = [f"{100 * one.padding_share:.0f} %" if one else MISSING for one in speeds]
    table["floor s"] = column(".1f", lambda one: one.floor_seconds)
    table["× floor"] = column(".2f", lambda one: one.times_floor)
    table["first step s"] = column(".2f", lambda one: one.first_step_seconds)
    table["peak MiB"] = column(".0f", lambda one: one.peak_memory_bytes / 2**20)
    table["device"] = [row.device() for row in rows.rows]
    table["others' cores"] = column(".2f", lambda one: one.cores_busy_with_others)
    return pd.DataFrame(table)


def _epoch_seconds(speed: Speed) -> str:
    found = (speed.epoch_seconds_q1, speed.epoch_seconds, speed.epoch_seconds_q3)
    return around_median(found, 1) + " !" * speed.disturbed


def _names(rows: Rows) -> dict[str, list[str]]:
    """The columns that name a row of either table."""
    return {name: [one[name] for one in rows.names] for name in rows.names[0]}


def _scored(row: Row, metric: str) -> bool:
    """Tells whether some split has the metric as a number."""
    spreads = [row.scores(split, metric) for split in SPLITS]
    return any(spread is not None and not np.isnan(spread.mean) for spread in spreads)


def _legend(rows: Rows) -> list[str]:
    records = [record for row in rows.rows for record in row.records]
    machines = sorted({record.machine.shown for record in records})
    threads = sorted({record.asked.threads for record in records})
    titles = zip(*_names(rows).values(), strict=True)
    diverged = [f"{' '.join(t)}: {row.diverged()}" for t, row in zip(titles, rows.rows, strict=True) if row.diverged()]
    return [
        *QUALITY_LEGEND,
        *([DIVERGED_LEGEND, *diverged] if diverged else []),
        *([MIXED_LEGEND] if rows.mixed else []),
        *([f"no times: {PACKED}"] if any(PACKED in row.note() for row in rows.rows) else []),
        "`epoch s`: median (quartiles) of the training time of an epoch, evaluation apart, tracing and compilation "
        "taken out, of every shape of a batch (`first step s` has the first's)",
        "`floor s`: the least time of an epoch: operations on its real tokens by the rate of matrix products, the "
        "optimizer's bytes by the memory's, both measured around the run; `–` where they were not",
        "`others' cores`: how many cores other processes kept busy meanwhile; `!`: disturbed, times not to be trusted: "
        f"they were more than {DISTURBED}, or the rate of matrix products moved by more than {100 * DRIFT:.0f} %",
        f"measured on {'; '.join(machines)}; {', '.join(map(str, threads))} threads a worker",
    ]


def _score(row: Row, split: Split, metric: str) -> str:
    spread = row.scores(split, metric)
    if spread is None:
        return MISSING
    form = f".{decimals(spread.low, spread.high, 3)}f"
    text = number(spread.mean, form)
    if spread.deviation is not None and not np.isnan(spread.deviation):
        text += f" ± {spread.deviation:{form}}"
    if spread.low is not None and spread.high is not None:
        text += f" [{spread.low:{form}}, {spread.high:{form}}]"
    return text if metric != "accuracy" or row.above_majority(split) else text + MARK
