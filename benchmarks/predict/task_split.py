"""A task's split as what is asked, its scores if it has labels, and the files that GLUE's server takes."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.cli.own_options import chosen_reading
from benchmarks.cli.parser import check_writable
from shared.errors import InputError, tell
from shared.files import write_whole
from shared.metrics import score
from shared.tasks import Rows, Task, get_task
from shared.tasks.glue import SUBMISSIONS, Submission

UNNAMED = re.compile(r"LABEL_\d+")
"""A label's name where transformers was told none."""


@dataclass(frozen=True)
class TaskSplit:
    """The rows of a task that are asked about: one split, or all those of a submission, one after another."""

    task: Task
    name: str
    rows: Rows
    files: tuple[tuple[Submission, int], ...] = ()
    """GLUE's files that are wanted, each with its number of rows."""

    def columns(self, model: str, labels: Sequence[str]) -> list[int]:
        """The model's output for each of the task's labels: of the same name, or of the same number if the model's
        labels have no names. Raises InputError if the model has other labels."""
        wanted = self.task.labels
        if set(wanted) <= set(labels):
            return [labels.index(name) for name in wanted]
        if len(labels) >= len(wanted) and all(map(UNNAMED.fullmatch, labels)):
            return list(range(len(wanted)))
        raise InputError(
            f"{model} has the labels {', '.join(labels)}, and {self.task.name} {', '.join(wanted)}; pass a model that "
            "was fine-tuned on it"
        )

    def show_scores(self, model: str, labels: Sequence[str], logits: dict[str, np.ndarray]) -> None:
        """Prints each backend's scores on standard error, if the split has labels."""
        if self.rows.labels is None:
            return
        columns, truth = self.columns(model, labels), np.array(self.rows.labels)
        for backend, array in logits.items():
            scores = score(self.task.metrics, array[:, columns], truth)
            shown = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
            tell(f"{backend} on {self.task.name}'s {self.name}: {shown}")

    def submit(self, folder: Path, columns: list[int], logits: np.ndarray) -> Iterator[str]:
        """Writes GLUE's files into the folder. Yields a line about each."""
        start = 0
        for wanted, count in self.files:
            predicted = logits[start : start + count, columns].argmax(axis=1).tolist()
            ids = (self.rows.ids or range(len(self.rows)))[start : start + count]
            said = [self.task.labels[label] if wanted.words else label for label in predicted]
            lines = [f"{index}\t{label}" for index, label in zip(ids, said, strict=True)]
            write_whole(folder / wanted.file, "\n".join(["index\tprediction", *lines, ""]))
            note = (
                "" if count == wanted.rows else f"; GLUE's own test has {wanted.rows:,}, and the server wants them all"
            )
            yield f"{folder / wanted.file}: {count:,} rows{note}"
            start += count


def read_task_split(options: argparse.Namespace, texts: list[str]) -> TaskSplit | None:
    """The split that the options ask about; None if they name no task. Raises InputError if they name texts too, if the
    task has no such split, and if GLUE's server takes no file of it."""
    reading = chosen_reading(options, [options.task] if options.task else [])
    if options.task is None:
        if options.submission is not None:
            raise InputError("--submission wants --task, one of GLUE's")
        return None
    if texts or options.file is not None:
        raise InputError("--task and texts of your own: pass one of the two")
    task = get_task(options.task, reading)
    if options.submission is None:
        rows = _split(task, task.load(options.data_dir), options.split)
        return TaskSplit(task, options.split, rows)
    check_writable("--submission", options.submission)
    files = [one for one in SUBMISSIONS.get(task.name, ()) if options.split in ("test", one.split)]
    if not files or task.own:
        raise InputError(
            f"GLUE's server takes no file of {task.name}'s {options.split}; it takes the test of "
            f"{', '.join(SUBMISSIONS)}"
        )
    splits = task.load(options.data_dir)
    parts = [(one, _split(task, splits, one.split)) for one in files]
    for one, rows in parts:
        if rows.labels is not None and len(rows) != one.rows:
            raise InputError(
                f"{task.name}'s {one.split} here has labels and is not GLUE's; pass --data-dir a folder with GLUE's "
                "files"
            )
    joined = parts[0][1] if len(parts) == 1 else _joined([rows for _, rows in parts])
    return TaskSplit(task, options.split, joined, tuple((one, len(rows)) for one, rows in parts))


def _split(task: Task, splits: dict[str, Rows], name: str) -> Rows:
    if name not in splits:
        raise InputError(
            f"{task.name} has no split {name!r} here; it has {', '.join(splits)}: pass --split one of them"
        )
    return splits[name]


def _joined(parts: Sequence[Rows]) -> Rows:
    """The rows of pairs without labels, one part after another."""
    return Rows(
        [text for rows in parts for text in rows.first],
        [text for rows in parts for text in rows.second or []],
        None,
        [index for rows in parts for index in rows.ids or map(str, range(len(rows)))],
    )
