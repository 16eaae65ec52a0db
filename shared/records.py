"""Records: one JSON file a cell, with question, answer and circumstances, named by a hash of the question."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import stat
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import msgspec
import numpy as np
from msgspec import Struct

from shared.answer import Count, Scores, Some, Trained
from shared.checkpoint.start import Start
from shared.diverging import as_diverged
from shared.errors import InputError, tell
from shared.files import hash_file, to_json, whole_file, write_whole
from shared.job import EmbeddingUpdate, Every, Precision
from shared.notes import Note
from shared.parsing import parse_json
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
    embedding_update: EmbeddingUpdate = "dense"
    """Whether every row of the word embedding was updated at every step, or only those that training can touch."""
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
        for name in ("precision", "embedding_update"):
            msgspec.structs.force_setattr(self, name, sys.intern(getattr(self, name)))

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


class Place(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The place of a cell's run in a cluster."""

    node: str
    """Ray's id of the node."""
    host: str
    """The machine's name and address."""
    alone: bool
    """Whether the cell had its GPU, or the node's cores, to itself. If not, its times mean nothing."""
    attempts: Some
    """How often the cell was started, as nodes were lost."""
    started: str
    """ISO 8601, UTC, with milliseconds: the cell had its place from here."""
    ended: str
    """As `started`: the cell's worker, and all that was measured around it, had ended."""


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
    place: Place | None = None
    """None for a cell that ran on the machine of its command."""


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

    @property
    def timed(self) -> bool:
        """Whether its times mean something: the training did not diverge, and had its cores or its GPU to itself as far
        as its engine could tell."""
        place = self.circumstances.place
        return self.answer.diverged is None and (place is None or place.alone)

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
    file comes last. It holds neither NaN nor infinity, and its digest stands at its end: what is before is the text
    that it is the digest of. Returns the record as it is kept: with the digests of its arrays and of itself. A file of
    that name that is no record is kept as `ID.json.bad`. Raises InputError if it is a record of a newer format."""
    path = record_path(out, record.id)
    if os.path.lexists(path) and isinstance(_read(path), _Unfit):
        path.replace(_free_name(path))
    with whole_file(path.with_suffix(".npz")) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    kept = msgspec.structs.replace(_without_nan(record), arrays=hash_file(path.with_suffix(".npz")), digest=None)
    text = _undigested(json.loads(to_json(kept, finite=True)))
    digest = hashlib.sha256(text).hexdigest()
    write_whole(path, (text[:-1] + _end(digest)).decode())
    return msgspec.structs.replace(kept, digest=digest)


def _undigested(content: dict[str, Any]) -> bytes:
    """A record's JSON without its digest, in the canonical form of `cell_id`. The digest is the sha256 of this text."""
    return _canonical({name: part for name, part in content.items() if name != "digest"})


def _end(digest: str) -> bytes:
    """The end of a record's file."""
    return f',"digest":"{digest}"}}'.encode()


def read_records(out: Path) -> list[Record]:
    """Reads every record under `out`, in the order of their file names. A file that is no record, or is not as it was
    written, is named on standard error and left aside. Raises InputError naming a record of a newer format."""
    return list(each_record(out))


class Records(Sequence[Record]):
    """The records under a folder, as `read_records` has them, each read when it is asked for: of thousands, memory has
    one at a time. Raises InputError as `read_records` does, and if one is changed or removed meanwhile."""

    def __init__(self, out: Path, cells: Iterable[str] | None = None) -> None:
        """The records of these cells, which have some; without them, all under `out`."""
        self.out = out
        self.ids = [record.id for record in each_record(out)] if cells is None else list(cells)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Record]:
        return map(self.of, self.ids)

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> list[Record]: ...
    def __getitem__(self, place: int | slice) -> Record | list[Record]:
        return list(map(self.of, self.ids[place])) if isinstance(place, slice) else self.of(self.ids[place])

    def of(self, cell: str) -> Record:
        """The record of a cell."""
        found = read_record(self.out, cell)
        if found is None:
            path = record_path(self.out, cell)
            raise InputError(f"{path} was changed or removed while it was read; give the command again")
        return found


def each_record(out: Path) -> Iterator[Record]:
    """The records of `read_records`, one after another, each read when it is asked for."""
    for path in record_files(out):
        if record := _known(path):
            yield record


def record_files(out: Path) -> list[Path]:
    """The files that may be records, in the order of their names."""
    return sorted((out / "records").glob("[!.]*.json"))


def read_record(out: Path, cell: str) -> Record | None:
    """Reads the record of a cell; None if there is none. A file that is none, or is not as it was written, is named as
    by `read_records`. Raises InputError if its format is newer than this code."""
    return _known(record_path(out, cell))


def check_formats(out: Path, but: Container[str]) -> None:
    """Raises InputError naming a record under `out` of a newer format than this code, as `read_records` does. Looks
    into the files without reading them as records, but for those of these cells, which are read anyway."""
    for path in record_files(out):
        if path.stem not in but:
            with suppress(OSError):  # one that vanishes, or cannot be read, is no record
                if path.stat().st_size <= LARGEST and any(int(n) > FORMAT for n in NUMBER.findall(path.read_bytes())):
                    _read(path)


NUMBER = re.compile(rb'"format"\s*:\s*(\d{1,9})')
"""A format's number in a record's text."""


@dataclass(frozen=True)
class _Unfit:
    """The reason why a file counts as no record, and the remedy."""

    reason: str
    remedy: str = "run its cell again"


def _known(path: Path) -> Record | None:
    """The record in a file. One that is none is named."""
    found = _read(path)
    if isinstance(found, _Unfit):
        _name_unfit(path, found)
        return None
    return found


@cache
def _name_unfit(path: Path, unfit: _Unfit) -> None:
    """Names the file, once however often a command reads its folder."""
    tell(f"{path} {unfit.reason} and is left aside; {unfit.remedy}")


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


NO_RECORD = _Unfit("is not a record of this project")


def _read(path: Path) -> Record | _Unfit | None:
    """Reads a record; None if the file has vanished. Raises InputError if its format is newer than this code."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
            return NO_RECORD
        content = path.read_bytes()
        return _read_sealed(path, content) or _read_closely(path, content)
    except FileNotFoundError:
        return None
    except OSError:
        return NO_RECORD
    except MemoryError:
        raise MemoryError(f"{path} has {about.st_size:,} bytes") from None


def _read_sealed(path: Path, content: bytes) -> Record | _Unfit | None:
    """Reads a record that lies there as `write_record` left it, whose digest is told without parsing; None if it does
    not, or if another version of this project left it."""
    digest = content[-DIGITS - 2 : -2].decode(errors="replace")
    end = _end(digest)
    if not content.endswith(end):
        return None
    text = hashlib.sha256(memoryview(content)[: -len(end)])
    text.update(b"}")
    if text.hexdigest() != digest:
        return None
    try:
        record = DECODER.decode(content)
    except (ValueError, RecursionError, InputError):
        return None
    return (_misfit(path, record, True) or record) if record.format == FORMAT else None


DIGITS = 64
"""Digits of a sha256, hex."""

DECODER = msgspec.json.Decoder(Record)


class _Head(Struct, frozen=True):
    """The fields of a record by which it is seen whether this code can read it."""

    format: int
    recipe: Any = None
    """A newer format may have something else."""


def _read_closely(path: Path, content: bytes) -> Record | _Unfit:
    """Reads a record that may be anything. Raises InputError as `_read` does."""
    try:
        head = _parsed(content, _Head)
    except (ValueError, OverflowError, RecursionError):
        return NO_RECORD
    if head.format > FORMAT:
        raise InputError(
            f"{path} is a record of format {head.format}, and this code reads formats up to {FORMAT}; update this "
            "project, or move the file away"
        )
    if head.format < 1 or not isinstance(head.recipe, dict) or not head.recipe.keys() <= FIELDS:
        return NO_RECORD  # msgspec would pass over another field of a recipe
    try:
        record = _without_nan(_parsed(content, Record))
        whole = record.digest is None or record.digest == hashlib.sha256(_undigested(parse_json(content))).hexdigest()
    except (ValueError, OverflowError, RecursionError, InputError):
        return NO_RECORD
    return _misfit(path, record, whole) or record


FIELDS = {f.name for f in fields(Recipe)}

K = TypeVar("K", _Head, Record)


def _parsed(content: bytes, kind: type[K]) -> K:
    """The content of a file as this type; takes no memory for anything else. Raises ValueError, and what `Recipe`
    raises. Older records hold NaN, which msgspec's own reader refuses."""
    if b"NaN" not in content and b"Infinity" not in content:
        return msgspec.json.decode(content, type=kind)
    return msgspec.convert(parse_json(content), kind)


def _misfit(path: Path, record: Record, whole: bool) -> _Unfit | None:
    """The reason why the record is not the one of this name, as it was written; None if it is. `whole` says that it has
    the digest of its content, or is of before digests; then its id tells its question."""
    if cell_id(record.asked) != record.id or record.recipe.asked() != record.asked.recipe:
        return _Unfit("does not answer the question of its id")
    if not whole:
        return _Unfit("is not as it was written")
    if path.stem != record.id:
        return _Unfit(f"is the record of {record.id} under another name", "give it its own name, or remove it")
    return None
