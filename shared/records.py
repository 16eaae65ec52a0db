"""Records: one JSON file a cell, with question, answer and circumstances, named by a hash of the question."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct

from shared.answer import Count, Scores, Trained
from shared.checkpoint.start import Start
from shared.diverging import as_diverged
from shared.errors import InputError, tell
from shared.files import hash_file, to_json, whole_file, write_whole
from shared.job import Every, Precision
from shared.notes import Note
from shared.recipe import Recipe

FORMAT = 1
"""Version of the record's format. It rises when a field is renamed or changes its meaning; a new field with a default
needs no new format."""

LARGEST = 2**28
"""Bytes of the largest file that may be a record. One with predictions for ten million rows has a tenth of that."""

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
    reseeded: Every | None = None
    """How often dropout's stream started again, at checkpoints: after so many steps, or after each epoch. None if it
    did not: a backend whose stream can be kept answers the same question with checkpoints as without."""

    def __post_init__(self) -> None:
        # msgspec leaves a default out if it is the same object, which a word from a command line is not.
        msgspec.structs.force_setattr(self, "precision", sys.intern(self.precision))

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
    """Time and machine of a cell's run, and what else the machine did. None stands for what older records lack, and for
    what was not measured because the run was interrupted after its worker had answered."""

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
    worker_seconds: float | None
    cores_busy_with_others: float | None
    matrix_product_flops_after: float | None
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
    rows: dict[str, Count]
    """Number of rows, by split."""
    majority: Scores
    """Share of the commonest label, by split that has labels."""
    answer: Trained
    circumstances: Circumstances
    work: CellWork | None = None
    notes: list[Note] = []
    """Things to know before its scores are trusted."""
    commits: dict[str, str] = {}
    """The hub's commit of the `model` and of the `data`, as far as they are from there."""
    arrays: str | None = None
    """sha256 of the file of its arrays, which belong to it; None for older records."""
    digest: str | None = None
    """sha256 of the record's canonical JSON without this field; None for older records."""

    def scores(self, split: Split) -> Scores | None:
        """Loss and metrics of the split; on dev, of the epoch whose weights were kept. None if the split is missing or
        has no labels, and for a training that diverged."""
        if split == "test":
            return self.answer.test
        return self.answer.kept.dev if self.answer.kept else None


def cell_id(asked: Asked | Mapping[str, Any]) -> str:
    """The id of a cell: 16 hex digits of the sha256 over the question's canonical JSON (sorted keys, no spaces)."""
    return hashlib.sha256(_canonical(msgspec.to_builtins(asked))).hexdigest()[:16]


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def record_path(out: Path, cell: str) -> Path:
    """The file of a cell's record."""
    return out / "records" / f"{cell}.json"


def write_record(out: Path, record: Record, arrays: dict[str, np.ndarray]) -> Record:
    """Writes `records/ID.json` under `out`, and the arrays as `ID.npz` beside it, each whole or not at all; the JSON
    file comes last. It holds neither NaN nor infinity. Returns the record as it is kept: with the digests of its arrays
    and of itself. A file of that name that is no record is kept as `ID.json.bad`. Raises InputError if it is a record
    of a newer format."""
    path = record_path(out, record.id)
    if os.path.lexists(path) and isinstance(_read(path), _Unfit):
        path.replace(_free_name(path))
    with whole_file(path.with_suffix(".npz")) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    kept = msgspec.structs.replace(_without_nan(record), arrays=hash_file(path.with_suffix(".npz")), digest=None)
    kept = msgspec.structs.replace(kept, digest=_digest(json.loads(to_json(kept, finite=True))))
    write_whole(path, to_json(kept, finite=True))
    return kept


def _digest(content: dict[str, Any]) -> str:
    """sha256, hex, of a record's JSON without its digest, in the canonical form of `cell_id`."""
    return hashlib.sha256(_canonical({name: part for name, part in content.items() if name != "digest"})).hexdigest()


def read_arrays(out: Path, record: Record) -> dict[str, np.ndarray]:
    """Reads the arrays of a record: the logits of each split, [rows, labels]. Raises InputError if they are missing, or
    are not those that were written with the record."""
    path = record_path(out, record.id).with_suffix(".npz")
    try:
        if record.arrays not in (None, hash_file(path)):
            raise InputError(f"{path} is not of the record beside it; run its cell again")
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("it holds something else than arrays")
        return arrays
    except InputError:
        raise
    except Exception as error:  # numpy, zipfile and zlib raise many kinds for a damaged file
        raise InputError(f"{path} cannot be read ({error}); run its cell again") from None


def read_records(out: Path) -> list[Record]:
    """Reads every record under `out`, in the order of their file names. A file that is no record, or is not as it was
    written, is named on standard error and left aside. Raises InputError naming a record of a newer format."""
    records = []
    for path in sorted((out / "records").glob("[!.]*.json")):
        record = _read(path)
        if isinstance(record, _Unfit):
            _name_unfit(path, record)
        elif record is not None:
            records.append(record)
    return records


@dataclass(frozen=True)
class _Unfit:
    """The reason why a file counts as no record, and the remedy."""

    reason: str
    remedy: str = "run its cell again"


@cache
def _name_unfit(path: Path, unfit: _Unfit) -> None:
    """Names the file, once however often a command reads its folder."""
    tell(f"{path} {unfit.reason} and is left aside; {unfit.remedy}")


def read_record(out: Path, cell: str) -> Record | None:
    """Reads the record of a cell; None if there is none, or none that is as it was written. Raises InputError if its
    format is newer than this code."""
    found = _read(record_path(out, cell))
    return found if isinstance(found, Record) else None


def _without_nan(record: Record) -> Record:
    """The record. One whose answer holds NaN or infinity is of a training that diverged."""
    answer = as_diverged(record.answer)
    return record if answer is record.answer else msgspec.structs.replace(record, answer=answer, work=None)


def _free_name(path: Path) -> Path:
    """The name under which a bad file is kept: `ID.json.bad`, or `ID.json.2.bad` and so on if that is taken."""
    name = path.with_name(f"{path.name}.bad")
    numbers = itertools.count(2)
    while os.path.lexists(name):
        name = path.with_name(f"{path.name}.{next(numbers)}.bad")
    return name


def _read(path: Path) -> Record | _Unfit | None:
    """Reads a record; None if the file has vanished. Raises InputError if its format is newer than this code."""
    no_record = _Unfit("is not a record of this project")
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
            return no_record
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return no_record
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        return no_record
    if content["format"] > FORMAT:
        raise InputError(
            f"{path} is a record of format {content['format']}, and this code reads formats up to {FORMAT}; update "
            "this project, or move the file away"
        )
    if content["format"] < 1:
        return no_record
    try:
        Recipe.from_json(content["recipe"])  # refuses a field that msgspec would pass over
        record = _without_nan(msgspec.convert(content, Record))
        told = None if record.digest is None else _digest(content)
        asked = cell_id(content["asked"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, InputError):
        return no_record
    return _misfit(path, record, asked, told) or record


def _misfit(path: Path, record: Record, asked: str, digest: str | None) -> _Unfit | None:
    """The reason why the record is not the one of this name, as it was written; None if it is. `asked` is the hash of
    the question in the file, `digest` that of the file; older records have none, and their id tells their question."""
    if asked != record.id or record.recipe.asked() != record.asked.recipe:
        return _Unfit("does not answer the question of its id")
    if record.digest != digest:
        return _Unfit("is not as it was written")
    if path.stem != record.id:
        return _Unfit(f"is the record of {record.id} under another name", "give it its own name, or remove it")
    return None
