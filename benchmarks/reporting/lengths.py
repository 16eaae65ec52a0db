"""Rows and labels of a task, tokens of its training rows, and what each max_len would cut."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.reporting.numbers import MISSING
from benchmarks.reporting.page import Notes, Page, Table
from benchmarks.reporting.pictures import draw_lengths
from benchmarks.workers.conversion import converter, tokenizer_builder
from benchmarks.workers.progress import terminal
from shared.checkpoint.sources import resolve_model, shown_model
from shared.encoding import token_lengths
from shared.tasks import Rows, Task

SHARES = (50, 95, 99)
"""Shares of the rows, in percent, whose longest row is shown."""


def show_lengths(tasks: Sequence[Task], model: str, data_dir: Path | None, max_lens: list[int], out: Path) -> None:
    """Prints two tables and draws a picture for each task. Raises InputError."""
    folder = resolve_model(model, converter({}), tokenizer_builder({}))
    counts, rows, pictures = [], [], []
    for task in tasks:
        splits = task.load(data_dir)
        counts += _labels(task, splits)
        lengths = token_lengths(splits["train"], folder)
        rows.append(_row(task.name, lengths, max_lens))
        pictures.append(draw_lengths(out, task.name, shown_model(model), lengths, max_lens))
    console = terminal()
    tables = [
        Table(pd.DataFrame(counts).fillna(MISSING), "Rows"),
        Table(pd.DataFrame(rows), "Tokens of the training rows"),
    ]
    Page([*tables, Notes([f"{task.name}: {task.about}" for task in tasks if task.own])]).print(console)
    console.print(f"{out}: {', '.join(pictures)}", style="dim")


def _labels(task: Task, splits: dict[str, Rows]) -> list[dict[str, str]]:
    """A row for each label: its share of every split."""
    found = []
    for index, label in enumerate(task.labels):
        row = {"task": task.name, "label": label}
        for split, rows in splits.items():
            count = None if rows.labels is None else rows.labels.count(index)
            row[split] = f"{len(rows):,} unlabelled" if count is None else f"{count:,} ({count / len(rows):.1%})"
        found.append(row)
    return found


def _row(task: str, lengths: np.ndarray, max_lens: Sequence[int]) -> dict[str, str]:
    row = {"task": task, "rows": f"{len(lengths):,}", "mean": f"{lengths.mean():.1f}"}
    row |= {f"{share} %": f"{np.percentile(lengths, share):.0f}" for share in SHARES}
    row |= {"longest": str(lengths.max())}
    return row | {f"cut at {n}": f"{(lengths > n).mean():.1%}" for n in max_lens}
