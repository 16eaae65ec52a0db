"""Tidy tables for other programs: a row a cell (a question with one seed), or a row an epoch; every column has a type
of its own."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pandas as pd

from benchmarks.cli.values import as_typed, kind_of
from benchmarks.reporting.page import write_csv
from benchmarks.reporting.rows import COUNTED, METRICS, shown_versions
from benchmarks.statistics.times import disturbed
from shared.errors import InputError
from shared.files import whole_file
from shared.recipe import Recipe
from shared.records import SPLITS, Record, Split

Kind = Literal["Int64", "float64", "boolean", "string", "datetime64[ns, UTC]"]
"""The types of columns, as pandas names them. All have a place for a value that is missing."""

Over = Literal["same", "mean", "median", "most"]
"""The value of several seeds, made of each one's: all have the same; their mean; their median; the largest."""

KINDS: dict[type, Kind] = {int: "Int64", float: "float64", bool: "boolean", str: "string", tuple: "string"}

MIB = 2**20

SCORES = ("loss", *METRICS)
"""Scores of a split, in the order of their columns."""

ENDINGS = (".csv", ".parquet")
"""Endings of files that a table is written to."""


@dataclass(frozen=True)
class Column:
    """A column of the table of cells."""

    kind: Kind
    value: Callable[[Record], Any]
    """None if the record has none."""
    over: Over = "same"

    @property
    def is_number(self) -> bool:
        """Tells whether its values are numbers."""
        return self.kind in ("Int64", "float64")


@cache
def columns() -> dict[str, Column]:
    """The columns of the table of cells, in their order."""
    return {**_question(), **_settings(), **_rows(), **_scores(), **_speed(), **_circumstances()}


def cells_frame(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each record, with the columns of `columns`."""
    rows = [[column.value(record) for column in columns().values()] for record in records]
    values = zip(*rows, strict=True) if rows else [()] * len(columns())
    return pd.DataFrame(
        {name: _series(list(found), one.kind) for (name, one), found in zip(columns().items(), values, strict=True)}
    )


def epochs_frame(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each epoch of each record: the learning curves. `id` says of which record it is."""
    rows = [
        {
            "id": record.id,
            "task": record.asked.task,
            "model": record.model,
            "backend": record.asked.backend,
            "seed": record.recipe.seed,
            "epoch": number,
            "kept": number == record.answer.kept_epoch,
            "steps": epoch.steps,
            "train_loss": epoch.train_loss,
            "train_accuracy": epoch.train_accuracy,
            **{f"dev_{name}": (epoch.dev or {}).get(name) for name in SCORES},
            "epoch_s": None if _packed(record) else seconds,
            "dev_s": None if _packed(record) else epoch.dev_seconds,
        }
        for record in records
        for number, (epoch, seconds) in enumerate(
            zip(record.answer.epochs, record.answer.steady_epoch_seconds(), strict=True), start=1
        )
    ]
    kinds = {name: KIND_OF_EPOCHS.get(name, "float64") for name in EPOCH_COLUMNS}
    return pd.DataFrame({name: _series([row[name] for row in rows], kind) for name, kind in kinds.items()})


EPOCH_COLUMNS = (
    *("id", "task", "model", "backend", "seed", "epoch", "kept", "steps", "train_loss", "train_accuracy"),
    *(f"dev_{name}" for name in SCORES),
    *("epoch_s", "dev_s"),
)

KIND_OF_EPOCHS: dict[str, Kind] = {
    **dict.fromkeys(("id", "task", "model", "backend"), "string"),
    **dict.fromkeys(("seed", "epoch", "steps"), "Int64"),
    "kept": "boolean",
}


def check_export(option: str, path: Path) -> None:
    """Raises InputError if no table can be written to the path."""
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{option} {path}: the name tells no format; let it end with {' or '.join(ENDINGS)}")
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; pass a file")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Writes the table as CSV or Parquet, as the path's ending says. CSV has every digit, and no text in it that a
    spreadsheet would take for a formula; Parquet has the texts as they are."""
    if path.suffix.lower() == ".csv":
        write_csv(path, table, form=None)
        return
    with whole_file(path) as file:
        table.to_parquet(file, index=False)


def _series(values: list[Any], kind: Kind) -> pd.Series:
    if kind == "datetime64[ns, UTC]":
        return pd.Series(pd.to_datetime(pd.Series(values, dtype="string"), utc=True, errors="coerce", format="ISO8601"))
    return pd.Series(values, dtype=kind)


def _question() -> dict[str, Column]:
    texts: dict[str, Callable[[Record], str]] = {
        "id": lambda record: record.id,
        "task": lambda record: record.asked.task,
        "model": lambda record: record.model,
        "backend": lambda record: record.asked.backend,
        "versions": lambda record: shown_versions(record.asked),
    }
    return {
        **{name: Column("string", value) for name, value in texts.items()},
        "revision": Column("Int64", lambda record: record.asked.revision),
        "recipe": Column("string", lambda record: record.preset.name if record.preset else None),
    }


def _settings() -> dict[str, Column]:
    """Every field of the recipe, but for numbers of rows, and what else was asked."""
    hints = get_type_hints(Recipe)
    names = [one.name for one in fields(Recipe) if one.name not in COUNTED]
    return {
        **{name: Column(KINDS[kind_of(_plain(hints[name]))], _recipe_value(name)) for name in names},
        "precision": Column("string", lambda record: record.asked.precision),
        "compile": Column("boolean", lambda record: record.asked.compile),
        "embedding_update": Column("string", lambda record: record.asked.embedding_update),
        "head": Column("string", lambda record: record.asked.head),
        "tokens": Column("Int64", lambda record: record.asked.tokens),
        "reseeded": Column("string", lambda r: None if r.asked.reseeded is None else str(r.asked.reseeded)),
        "device": Column("string", lambda record: record.asked.device),
        "threads": Column("Int64", lambda record: record.asked.threads),
    }


def _plain(hint: Any) -> Any:
    """The hint; `str` for one of several words."""
    return str if getattr(hint, "__origin__", None) is Literal else hint


def _recipe_value(name: str) -> Callable[[Record], Any]:
    def value(record: Record) -> Any:
        found = getattr(record.recipe, name)
        return as_typed(found) if isinstance(found, tuple) else found

    return value


def _rows() -> dict[str, Column]:
    def count(split: str) -> Column:
        return Column("Int64", lambda record: record.rows.get(split))

    def majority(split: str) -> Column:
        return Column("float64", lambda record: record.majority.get(split))

    splits = ("train", *SPLITS)
    return {**{f"{s}_rows": count(s) for s in splits}, **{f"{s}_majority": majority(s) for s in splits}}


def _scores() -> dict[str, Column]:
    def score(split: Split, metric: str) -> Column:
        return Column("float64", lambda record: (record.scores(split) or {}).get(metric), "mean")

    return {
        "train_loss": Column("float64", lambda r: r.answer.epochs[-1].train_loss if r.answer.epochs else None, "mean"),
        **{f"{split}_{metric}": score(split, metric) for split in SPLITS for metric in SCORES},
        "kept_epoch": Column("Int64", lambda record: record.answer.kept_epoch or None, "median"),
        "diverged_at_step": Column("Int64", lambda record: record.answer.diverged, "median"),
    }


def _speed() -> dict[str, Column]:
    """Times are missing if they mean nothing."""

    def time(value: Callable[[Record], float | None]) -> Column:
        return Column("float64", lambda record: None if _packed(record) else value(record), "median")

    def column(value: Callable[[Record], float | None], over: Over = "median") -> Column:
        return Column("float64", value, over)

    return {
        "epoch_s": time(lambda record: _median(record.answer.steady_epoch_seconds())),
        "examples_per_s": time(lambda record: _rate(record, "rows")),
        "tokens_per_s": time(lambda record: _rate(record, "tokens")),
        "padding_share": column(_padding_share),
        "floor_s": time(lambda record: record.work.floor_seconds if record.work else None),
        "times_floor": time(lambda record: record.work.times_floor if record.work else None),
        "first_step_s": time(lambda record: record.answer.first_step_seconds),
        "start_s": time(lambda record: record.answer.start_seconds),
        "test_s": time(lambda record: record.answer.test_seconds if record.answer.test else None),
        "all_s": time(lambda record: record.circumstances.worker_seconds),
        "peak_mib": column(lambda record: record.answer.peak_memory_bytes / MIB, "most"),
    }


def _circumstances() -> dict[str, Column]:
    texts: dict[str, Callable[[Record], str | None]] = {
        "machine": lambda record: record.circumstances.machine.shown,
        "node": lambda record: record.circumstances.place.host if record.circumstances.place else None,
        "system": lambda record: record.circumstances.machine.system,
        "python": lambda record: record.circumstances.python,
        "notes": lambda record: "; ".join(note.line for note in record.notes),
        "received": lambda record: record.answer.received,
    }
    return {
        "started": Column("datetime64[ns, UTC]", lambda record: record.circumstances.started),
        "others_cores": Column("float64", lambda record: record.circumstances.cores_busy_with_others, "most"),
        "product_gflops": Column("float64", lambda r: r.circumstances.matrix_product_flops_before / 1e9, "median"),
        "alone": Column("boolean", lambda record: not _packed(record)),
        "disturbed": Column("boolean", lambda record: disturbed(record.circumstances)),
        "interruptions": Column("Int64", lambda record: record.answer.interruptions, "most"),
        **{name: Column("string", value) for name, value in texts.items()},
    }


def _packed(record: Record) -> bool:
    """Whether it shared its cores with other cells, so that its times mean nothing."""
    place = record.circumstances.place
    return place is not None and not place.alone


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _rate(record: Record, counted: str) -> float | None:
    """Rows or tokens a second of training, without compilation."""
    seconds = sum(record.answer.steady_epoch_seconds())
    return sum(getattr(epoch, counted) for epoch in record.answer.epochs) / seconds if seconds > 0 else None


def _padding_share(record: Record) -> float | None:
    epochs = record.answer.epochs
    padded = sum(epoch.padded_tokens for epoch in epochs)
    return 1 - sum(epoch.tokens for epoch in epochs) / padded if padded else None
