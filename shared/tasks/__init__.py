"""The registry of tasks. A task is one small module here with a `TASK`, and a line in `TASK_MODULES`."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from shared.errors import InputError

TASK_MODULES = {
    "cola": "shared.tasks.cola",
    "mrpc": "shared.tasks.mrpc",
    "sst-binary": "shared.tasks.sst_binary",
    "sst2": "shared.tasks.sst2",
    "qqp": "shared.tasks.qqp",
    "emotion": "shared.tasks.emotion",
    "google-play": "shared.tasks.google_play",
    "google-play-unique": "shared.tasks.google_play_unique",
    "acceptability": "shared.tasks.acceptability",
    "paraphrase": "shared.tasks.paraphrase",
}


@dataclass(frozen=True)
class Rows:
    """Rows of one split, as columns of equal length."""

    first: list[str]
    second: list[str] | None
    """None for a task of single sentences."""
    labels: list[int] | None
    """Indices into the task's label names; None if the source has no labels, as GLUE's test files."""

    def __len__(self) -> int:
        return len(self.first)

    def head(self, limit: int) -> Rows:
        """Returns the first `limit` rows."""
        return Rows(
            self.first[:limit],
            None if self.second is None else self.second[:limit],
            None if self.labels is None else self.labels[:limit],
        )

    def take(self, rows: np.ndarray) -> Rows:
        """Returns the rows of these numbers (int64 [n]), in this order."""
        return Rows(
            [self.first[i] for i in rows],
            None if self.second is None else [self.second[i] for i in rows],
            None if self.labels is None else [self.labels[i] for i in rows],
        )

    @cached_property
    def hash(self) -> str:
        """sha256, hex, over texts and labels. Computed once, as many cells have the same rows."""
        digest = hashlib.sha256()
        for column in (self.first, self.second, self.labels):
            digest.update(repr(column).encode())
        return digest.hexdigest()


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


def get_task(name: str) -> Task:
    """Returns the task of this name. Raises InputError naming the known tasks if there is none."""
    if name not in TASK_MODULES:
        raise InputError(f"unknown task {name!r}; known: {', '.join(TASK_MODULES)}")
    task: Task = importlib.import_module(TASK_MODULES[name]).TASK
    return task
