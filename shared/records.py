"""Records: one JSON file a cell, with question, answer and circumstances, named by a hash of the question."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct

from shared.answer import Scores, Trained
from shared.checkpoint.start import Start
from shared.diverging import as_diverged
from shared.errors import InputError
from shared.files import to_json, write_whole
from shared.job import Precision
from shared.notes import Note
from shared.recipe import Recipe

FORMAT = 1
"""Version of the record's format. It rises when a field is renamed or changes its meaning; a new field with a default
needs no new format."""

Split = Literal["dev", "test"]
"""A split that a cell is scored on."""

SPLITS: tuple[Split, ...] = ("dev", "test")


class Asked(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The question of a cell; the cell's id is its hash. Fields at their default are left out, so that a new field
    changes no old id."""

    kind: Literal["train"]
    backend: str
    revision: int
    """Revision of the backend's adapter."""
    versions: dict[str, str]
    """Version of each module that the adapter imports."""
    task: str
    data: str
    """sha256 of the splits."""
    checkpoint: str
    """sha256 of the checkpoint's files."""
    recipe: dict[str, Any]
    """Fields that differ from the default (`Recipe.asked`)."""
    device: str
    threads: int
    precision: Precision = "float32"
    compile: bool = False
    head: Literal["new", "kept"] = "new"
    """Whether the head is drawn, or is the checkpoint's own."""
    tokens: Literal[1, 2] = 1
    """Version of the rules for the tokenizer's files; 1 if both give this checkpoint the same tokenizer."""
    labels: list[str] = []
    """Names of the labels of own data, which a task's name does not tell."""

    def without(self, *names: str) -> str:
        """JSON text without these fields of the question and of its recipe. Cells that differ only in these fields have
        equal texts."""
        kept = {name: value for name, value in msgspec.to_builtins(self).items() if name not in names}
        kept["recipe"] = {name: value for name, value in self.recipe.items() if name not in names}
        return json.dumps(kept, sort_keys=True)


class PresetUse(Struct, frozen=True, forbid_unknown_fields=True):
    """The published recipe that was asked for, and the names of its fields that were overridden."""

    name: str
    overridden: list[str]


class Machine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machine that a cell ran on."""

    cpu: str
    cores: int | None
    memory_bytes: int
    system: str
    gpus: list[str]

    @property
    def shown(self) -> str:
        """Processor, cores and GPUs on one line."""
        return ", ".join([f"{self.cpu}, {self.cores} cores", *self.gpus])


class Circumstances(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time and machine of a cell's run, and what else the machine did. None stands for what older records lack."""

    started: str
    """ISO 8601, UTC."""
    interpreter: str
    python: str
    packages: dict[str, str]
    settings: dict[str, str] | None = None
    """Environment variables of the worker that affect its computation."""
    machine: Machine
    matrix_product_flops_before: float
    """Rate of numpy's matrix product, FLOP/s."""
    memory_bandwidth_before: float | None = None
    """Bytes a second."""
    worker_seconds: float
    cores_busy_with_others: float
    matrix_product_flops_after: float
    memory_bandwidth_after: float | None = None


class CellWork(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Operations of an epoch's training (mean over the epochs), and the least time that they take."""

    real_flops: float
    all_flops: float
    """Padding included."""
    floor_seconds: float | None = None
    """None except on a CPU in float32, the one case whose rates are measured around the run."""
    times_floor: float | None = None


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that is kept of a cell."""

    format: int = FORMAT
    id: str
    asked: Asked
    model: str
    """The model as asked for; a folder is named by its last part."""
    preset: PresetUse | None = None
    start: Start | None = None
    """None for older records, whose head was always new."""
    recipe: Recipe
    rows: dict[str, int]
    """Number of rows, by split."""
    majority: Scores
    """Share of the commonest label, by split that has labels."""
    answer: Trained
    circumstances: Circumstances
    work: CellWork | None = None
    notes: list[Note] = []
    """Things to know before its scores are trusted."""

    def scores(self, split: Split) -> Scores | None:
        """Loss and metrics of the split; on dev, of the epoch whose weights were kept. None if the split is missing or
        has no labels, and for a training that diverged."""
        if split == "test":
            return self.answer.test
        return self.answer.kept.dev if self.answer.kept else None


def cell_id(asked: Asked | Mapping[str, Any]) -> str:
    """The id of a cell: 16 hex digits of the sha256 over the question's canonical JSON (sorted keys, no spaces)."""
    question = msgspec.to_builtins(asked)
    text = json.dumps(question, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def record_path(out: Path, cell: str) -> Path:
    """The file of a cell's record."""
    return out / "records" / f"{cell}.json"


def write_record(out: Path, record: Record, arrays: dict[str, np.ndarray]) -> None:
    """Writes `records/ID.json` under `out`, and the arrays as `ID.npz` beside it. The JSON file is written last, and
    whole or not at all, and holds neither NaN nor infinity. A file of that name that is no record is kept as
    `ID.json.bad`. Raises InputError if it is a record of a newer format."""
    path = record_path(out, record.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and _read(path) is None:
        path.replace(_free_name(path))
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(path.with_suffix(".npz"))
    write_whole(path, to_json(_without_nan(record), finite=True))


def read_records(out: Path) -> list[Record]:
    """Reads every record under `out`, in the order of their file names. A file that is no record is named on standard
    error and left aside. Raises InputError naming a record of a newer format."""
    records = []
    for path in sorted((out / "records").glob("*.json")):
        record = _read(path)
        if record is None:
            _name_bad(path)
        else:
            records.append(record)
    return records


@cache
def _name_bad(path: Path) -> None:
    """Names the file, once however often a command reads its folder."""
    print(f"{path} is not a record of this project and is left aside; run its cell again", file=sys.stderr)


def _without_nan(record: Record) -> Record:
    """The record. One whose answer holds NaN or infinity is of a training that diverged."""
    answer = as_diverged(record.answer)
    return record if answer is record.answer else msgspec.structs.replace(record, answer=answer, work=None)


def _free_name(path: Path) -> Path:
    """The name under which a bad file is kept: `ID.json.bad`, or `ID.json.2.bad` and so on if that is taken."""
    name = path.with_name(f"{path.name}.bad")
    numbers = itertools.count(2)
    while name.exists():
        name = path.with_name(f"{path.name}.{next(numbers)}.bad")
    return name


def _read(path: Path) -> Record | None:
    """Reads a record; None if the file holds none. Raises InputError if its format is newer than this code."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        return None
    if content["format"] > FORMAT:
        raise InputError(
            f"{path} is a record of format {content['format']}, and this code reads formats up to {FORMAT}; update "
            "this project, or move the file away"
        )
    if content["format"] < 1:
        return None
    try:
        Recipe.from_json(content["recipe"])  # refuses a field that msgspec would pass over
        return _without_nan(msgspec.convert(content, Record))
    except (ValueError, KeyError, TypeError, AttributeError, InputError):
        return None
