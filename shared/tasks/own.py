"""Own data as a task: a file, a folder of files, a task.toml that describes them, or a data set of the hub.

What is read is kept in the cache as columns on disk, known by the files' content and by how they are read, so that a
large file is read once and takes no memory.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shared.cache import cache_dir
from shared.errors import InputError
from shared.files import from_json, hash_files, to_json
from shared.kept import kept_folder
from shared.parsing import parse_toml, small_text
from shared.tasks import TASK_MODULES, Reading, Rows, Task
from shared.tasks.columns import Columns, find_columns
from shared.tasks.hub_own import PREFIX, hub_tables
from shared.tasks.labels import Coder, check_texts, indices, label_names
from shared.tasks.table_files import TableFile, endings, open_table
from shared.tasks.texts import Texts, TextWriter

SPLIT_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "validation", "valid", "val", "eval"),
    "test": ("test",),
}
"""Names of the files in a folder, without their endings, by split."""

SHARD = r"(?:-\d+-of-\d+)?"
TOML = "task.toml"
FORMAT = 1
"""Version of what is kept in the cache."""

METRICS = {True: ("accuracy", "mcc", "f1"), False: ("accuracy", "macro_f1", "mcc")}
"""Metrics of tasks of two labels, and of more."""


def is_own(name: str) -> bool:
    """Whether a task's name is of own data: a path, there or not, or a data set of the hub. A registered task's name is
    not, though a folder may have it too."""
    path = Path(name)
    if name in TASK_MODULES:
        return False
    return name.startswith(PREFIX) or path.exists() or os.sep in name or path.suffix.lower() in (*endings(), ".toml")


@dataclass(frozen=True)
class Described:
    """Own data as found: the files of each split, and how they are read."""

    name: str
    files: dict[str, tuple[Path, ...]]
    reading: Reading
    labels: tuple[str, ...] = ()
    """Names of the labels by index, if they are declared."""
    hub: dict[str, tuple[TableFile, ...]] = field(default_factory=dict)
    """Tables of the hub's data set, in place of files."""
    content: str = ""
    """A hash of the hub's data set."""
    commit: str | None = None
    """The hub's commit."""


def open_own(name: str, reading: Reading) -> Task:
    """Reads own data. Raises InputError naming file and line, or the option that is wanted."""
    described = _of_hub(name, reading) if name.startswith(PREFIX) else _describe(Path(name).expanduser(), reading)
    kept = _kept(described)
    about = from_json((kept / "about.json").read_bytes(), About)
    splits = {split: _rows(kept / split, about, split, described.commit) for split in about.splits}
    share = described.reading.dev_share
    if share:
        if "dev" in splits:
            raise InputError(f"{name} has a dev file, and --dev-share asks for rows of train; pass one of the two")
        splits["train"], splits["dev"] = hold_out(splits["train"], share, described.reading.share_seed or 0)
    return Task(
        name=described.name,
        labels=about.labels,
        pair=about.pair,
        metrics=METRICS[len(about.labels) == 2],
        load=lambda _: splits,
        own=True,
        about=about.shown,
    )


# --- the files


def _describe(path: Path, reading: Reading) -> Described:
    if not path.exists():
        raise InputError(
            f"{path} is no file or folder; pass a task of {', '.join(TASK_MODULES)}, or the path of your own data"
        )
    if path.suffix.lower() == ".toml" or (path / TOML).is_file():
        described = _from_toml(path if path.is_file() else path / TOML, reading)
    elif path.is_dir():
        described = Described(path.resolve().name, _files_of(path), reading)
    else:
        described = Described(path.stem, {"train": (path,)}, reading)
    return replace(described, name=_task_name(described.name))


def _of_hub(name: str, reading: Reading) -> Described:
    found = hub_tables(name, SPLIT_NAMES)
    name = _task_name(name.removeprefix(PREFIX))
    return Described(name, {}, reading, hub=found.tables, content=found.content, commit=found.commit)


def _task_name(name: str) -> str:
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "own"
    return f"{plain}-own" if plain in TASK_MODULES else plain


def _files_of(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The files of each split in a folder, or in its folder `data`. Raises InputError if train is missing, and if a
    split has files of several kinds."""
    found: dict[str, tuple[Path, ...]] = {}
    there = sorted(path for place in (folder, folder / "data") if place.is_dir() for path in place.iterdir())
    for split, names in SPLIT_NAMES.items():
        form = re.compile(rf"(?:{'|'.join(names)}){SHARD}", re.IGNORECASE)
        files = [path for path in there if path.suffix.lower() in endings() and form.fullmatch(path.stem)]
        if len({re.sub(SHARD + "$", "", path.stem) + path.suffix for path in files}) > 1:
            raise InputError(f"{folder} has several files for {split}: {', '.join(p.name for p in files)}; keep one")
        if files:
            found[split] = tuple(files)
    if "train" not in found:
        raise InputError(
            f"{folder} has no train file; add train{{{','.join(endings())}}} (beside it dev and test, if you have "
            f"them), or a {TOML} that names the files"
        )
    return found


class _Toml(msgspec.Struct, forbid_unknown_fields=True):
    """The content of a task.toml."""

    train: str | list[str]
    dev: str | list[str] | None = None
    test: str | list[str] | None = None
    name: str | None = None
    text: str | None = None
    pair: str | None = None
    label: str | None = None
    id: str | None = None
    encoding: str | None = None
    dev_share: float | None = None
    share_seed: int | None = None
    labels: list[str | int] = []


def _from_toml(file: Path, reading: Reading) -> Described:
    """Reads a task.toml. What the command line says comes first."""
    try:
        said = msgspec.convert(parse_toml(small_text(file)), _Toml)
    except ValueError as error:
        raise InputError(f"{file}: {error}; docs/tasks.md shows what it may hold") from None
    files = {}
    for split in SPLIT_NAMES:
        names = getattr(said, split)
        if names:
            files[split] = tuple(file.parent / name for name in ([names] if isinstance(names, str) else names))
            for path in files[split]:
                if not path.is_file():
                    raise InputError(f"{file}: {split} is {path}, which is no file; mend the path")
    if "train" not in files:
        raise InputError(f"{file}: train names no file; add one")
    labels = tuple(map(str, said.labels))
    if labels and len(set(labels)) < max(2, len(labels)):
        raise InputError(f"{file}: labels are {', '.join(labels)}; list two or more, each once")
    own = Reading(**{f.name: getattr(said, f.name) for f in fields(Reading)})
    given = {f.name: value for f in fields(Reading) if (value := getattr(reading, f.name)) is not None}
    return Described(said.name or file.resolve().parent.name, files, _checked(replace(own, **given), file), labels)


def _checked(reading: Reading, file: Path) -> Reading:
    if reading.dev_share is not None and not 0 <= reading.dev_share < 1:
        raise InputError(f"{file}: dev_share is {reading.dev_share}; pass a share from 0 to below 1")
    return reading


# --- what is kept of them


class About(msgspec.Struct, frozen=True):
    """The columns in the cache."""

    labels: tuple[str, ...]
    pair: bool
    shown: str
    """The columns that were read, for people."""
    splits: dict[str, bool]
    """Whether each split has labels."""
    ids: bool


def _kept(described: Described) -> Path:
    """The folder in the cache that holds these files' columns. Makes it if it is not there."""
    wanted: dict[str, Any] = {"format": FORMAT, "labels": described.labels, "hub": described.content}
    wanted |= {f.name: getattr(described.reading, f.name) for f in fields(Reading) if f.name in READ_BY}
    wanted["files"] = {split: [_hash(path) for path in paths] for split, paths in described.files.items()}
    folder = cache_dir() / "own" / hashlib.sha256(to_json(wanted).encode()).hexdigest()[:24]
    return kept_folder(folder, lambda partial: _read(described, partial))


READ_BY = ("text", "pair", "label", "id", "encoding")
"""Fields of Reading that the columns depend on."""


def _hash(path: Path) -> str:
    try:
        return f"{path.suffix.lower()} {hash_files([path])} {path.name}"
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); pass another") from None


def _read(described: Described, target: Path) -> None:
    """Reads every split into the empty folder `target`."""
    encoding = described.reading.encoding or "utf-8"
    columns: Columns | None = None
    coders: dict[str, Coder] = {}
    names: tuple[str, ...] = ()
    labelled: dict[str, bool] = {}
    opened = {split: [open_table(path, encoding) for path in paths] for split, paths in described.files.items()}
    for split, tables in (described.hub or opened).items():  # train comes first
        if columns is None:
            columns = find_columns(tables[0], described.reading)
        declared = described.labels or tables[0].label_names.get(columns.label, ())
        coders[split] = Coder(columns.label, declared if split == "train" else coders["train"].declared)
        (target / split).mkdir()
        _read_split(tables, columns, coders[split], target / split, split == "train")
        if split == "train":
            names = label_names(coders["train"])
        found = indices(coders[split], names, split == "train")
        labelled[split] = found is not None
        if found is not None:
            np.save(target / split / "labels.npy", found)
    assert columns is not None
    about = About(names, columns.pair is not None, columns.shown, labelled, columns.id is not None)
    (target / "about.json").write_text(to_json(about), encoding="utf-8")


def _read_split(tables: Sequence[TableFile], columns: Columns, coder: Coder, target: Path, train: bool) -> None:
    """Writes texts and ids of a split's files into `target`, and codes its labels. A file other than train's may lack
    the label's column. Raises InputError if there is no row."""
    kept = [name for name in (*columns.texts, columns.id) if name is not None]
    writers = [TextWriter(target / part) for part in ("first", "second", "ids") if _has(part, columns)]
    for table in tables:
        labelled = train or columns.label in table.columns
        wanted = [*kept, columns.label] if labelled else kept
        if missing := [name for name in wanted if name not in table.columns]:
            raise InputError(f"{table.path} has no column {', '.join(map(repr, missing))}, which train has; add it")
        before = len(coder.codes)
        for piece in table.pieces(wanted):
            for place, (name, writer) in enumerate(zip(kept, writers, strict=True)):
                values = piece.columns[place]
                texts = check_texts(table, piece, place, name) if name in columns.texts else map(str, values)
                try:
                    writer.add(texts)
                except UnicodeEncodeError as error:
                    number = next(n for n, t in zip(piece.numbers, values, strict=True) if t == error.object)
                    raise table.malformed(number, f"{name!r} is no Unicode text") from None
            values = piece.columns[-1] if labelled else [None] * len(piece.numbers)
            coder.add(table, piece.numbers, values)
        if len(coder.codes) == before:
            raise InputError(f"{table.path} has no rows; add some")
    for writer in writers:
        writer.close()


def _has(part: str, columns: Columns) -> bool:
    return part == "first" or (columns.pair if part == "second" else columns.id) is not None


def _rows(folder: Path, about: About, split: str, commit: str | None) -> Rows:
    labels = np.load(folder / "labels.npy").tolist() if about.splits[split] else None
    return Rows(
        Texts(folder / "first"),
        Texts(folder / "second") if about.pair else None,
        labels,
        Texts(folder / "ids") if about.ids else None,
        commit,
    )


def hold_out(rows: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
    """Draws a share of the rows, the same of every label, to the next whole row. Each label keeps a row in what
    remains. Returns what remains and what is drawn, each in the rows' own order. Raises InputError if either is
    empty."""
    labels = np.array(rows.labels)
    random = np.random.default_rng(seed)
    drawn = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        (places,) = np.nonzero(labels == label)
        count = min(round(share * len(places)), len(places) - 1)
        drawn[random.permutation(places)[:count]] = True
    if not drawn.any() or drawn.all():
        raise InputError(f"--dev-share {share} of {len(labels)} rows leaves none on one side; pass another share")
    return rows.take(np.nonzero(~drawn)[0]), rows.take(np.nonzero(drawn)[0])
