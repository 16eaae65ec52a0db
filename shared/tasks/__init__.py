"""The registry of tasks. A task is one small module here with a `TASK`, and a line in `TASK_MODULES`."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from shared.errors import InputError
from shared.tasks.texts import AT_ONCE, Texts

TASK_MODULES = {
    "cola": "shared.tasks.cola",
    "mrpc": "shared.tasks.mrpc",
    "sst-binary": "shared.tasks.sst_binary",
    "sst2": "shared.tasks.sst2",
    "qqp": "shared.tasks.qqp",
    "mnli": "shared.tasks.mnli",
    "qnli": "shared.tasks.qnli",
    "rte": "shared.tasks.rte",
    "wnli": "shared.tasks.wnli",
    "emotion": "shared.tasks.emotion",
    "google-play": "shared.tasks.google_play",
    "google-play-unique": "shared.tasks.google_play_unique",
    "acceptability": "shared.tasks.acceptability",
    "paraphrase": "shared.tasks.paraphrase",
}


@dataclass(frozen=True)
class Rows:
    """Rows of one split, as columns of equal length."""

    first: Sequence[str]
    """A list, or `shared.tasks.texts.Texts`, which leaves them in a file."""
    second: Sequence[str] | None
    """None for a task of single sentences."""
    labels: list[int] | None
    """Indices into the task's label names; None if the source has no labels, as GLUE's test files."""
    ids: Sequence[str] | None = field(default=None, compare=False)
    """The source's own name of each row, which no score depends on; None if it has none."""
    commit: str | None = field(default=None, compare=False)
    """The hub's commit that the rows are of; None if they are not from the hub."""

    def __len__(self) -> int:
        return len(self.first)

    def head(self, limit: int) -> Rows:
        """Returns the first `limit` rows."""
        return Rows(
            self.first[:limit],
            None if self.second is None else self.second[:limit],
            None if self.labels is None else self.labels[:limit],
            None if self.ids is None else self.ids[:limit],
            self.commit,
        )

    def take(self, rows: np.ndarray) -> Rows:
        """Returns the rows of these numbers (int64 [n]), in this order."""
        return Rows(
            _taken(self.first, rows),
            None if self.second is None else _taken(self.second, rows),
            None if self.labels is None else [self.labels[i] for i in rows],
            None if self.ids is None else _taken(self.ids, rows),
            self.commit,
        )

    @cached_property
    def hash(self) -> str:
        """sha256, hex, over texts and labels. Computed once, as many cells have the same rows."""
        digest = hashlib.sha256()
        for column in (self.first, self.second, self.labels):
            for part in _represented(column):
                digest.update(part.encode())
        return digest.hexdigest()


def _taken(column: Sequence[str], rows: np.ndarray) -> Sequence[str]:
    return column.take(rows) if isinstance(column, Texts) else [column[i] for i in rows]


def _represented(column: Sequence[str] | list[int] | None) -> Iterator[str]:
    """The text that `repr` gives for the column as a list, in pieces."""
    if not isinstance(column, Texts):
        yield repr(column)
        return
    yield "["
    for start in range(0, len(column), AT_ONCE):
        yield (", " if start else "") + repr(list(column[start : start + AT_ONCE]))[1:-1]
    yield "]"


@dataclass(frozen=True)
class Reading:
    """How own data is read, as the command line says it. What is None is found, or as task.toml has it."""

    text: str | None = None
    """Name of the text's column."""
    pair: str | None = None
    """Name of the second text's column."""
    label: str | None = None
    id: str | None = None
    encoding: str | None = None
    dev_share: float | None = None
    """Share of the training rows that becomes dev, the same share of every label."""
    share_seed: int | None = None
    """Seed of the draw."""


@dataclass(frozen=True)
class Task:
    """A task, without its rows."""

    name: str
    labels: tuple[str, ...]
    """Names of the labels, by index."""
    pair: bool
    """Whether a row has two texts."""
    metrics: tuple[str, ...]
    """Names in shared.metrics.METRICS. The first decides which epoch is best."""
    load: Callable[[Path | None], dict[str, Rows]]
    """Reads the splits `train` and, if there are any, `dev` and `test`, from the data folder, or from the hub if it is
    None. Raises InputError naming the files that it looked for, or the file and line of a malformed row."""
    built_in: bool = False
    """Whether a grammar of this project makes the rows. Such a task needs neither folder nor hub."""
    own: bool = False
    """Whether the rows are the user's own (shared.tasks.own). Then its labels are part of a cell's identity."""
    about: str = ""
    """One line about it, for people: of a registered task the question that it asks, of own data what was read."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows of each split as published. The copy that is read may have others."""


def get_task(name: str, reading: Reading | None = None) -> Task:
    """Returns the task of this name, or the one that a file or folder of this path makes, read as `reading` says.
    Raises InputError naming the known tasks if there is none, and as `shared.tasks.own.open_own` does."""
    if name not in TASK_MODULES:
        from shared.tasks.own import is_own, open_own

        if is_own(name):
            return open_own(name, reading or Reading())
        raise InputError(
            f"unknown task {name!r}; pass a file or folder of your own data, or one of {', '.join(TASK_MODULES)}"
        )
    task: Task = importlib.import_module(TASK_MODULES[name]).TASK
    return task
