"""Room on the disks for what cells will write, looked at before anything is trained."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from math import prod
from pathlib import Path

from benchmarks.cells.plan import Cell
from shared.checkpoint.config import read_architecture
from shared.errors import InputError

SPARE = 2**20
"""Bytes of a cell's record and of its model's small files, generously."""


def check_room(cells: Sequence[Cell], out: Path, save: Path | None) -> None:
    """Raises InputError if the disk of `out` has no room for the records of these cells, for a checkpoint and for a
    model that has no place yet, or that of `save` for their models, in words that name the option."""
    at_once = max(map(_checkpoint_bytes, cells), default=0)  # cells run one by one
    if save is not None:
        at_once += max(map(_model_bytes, cells), default=0)
    wanted: dict[tuple[str, Path], int] = {("--out", out): sum(map(_record_bytes, cells)) + at_once}
    if save is not None:
        wanted["--save", save] = sum(map(_model_bytes, cells))
    for (option, folder), size in wanted.items():
        there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(there).free
        if size > free:
            raise InputError(
                f"{option} {folder}: {len(cells)} cells need {_mebibytes(size)}, and the disk has {_mebibytes(free)} "
                "left; make room, or pass another folder"
            )


def _record_bytes(cell: Cell) -> int:
    """The logits twice, as the worker's and as the record's, and the predictions as text."""
    rows = sum(len(split) for split in cell.question.splits.values())
    return rows * (2 * 4 * len(cell.question.labels) + 8) + SPARE


def _model_bytes(cell: Cell) -> int:
    question = cell.question
    shapes = read_architecture(question.checkpoint, cell.recipe, len(question.labels)).shapes()
    return 4 * sum(map(prod, shapes.values())) + SPARE


def _checkpoint_bytes(cell: Cell) -> int:
    """Weights and two moments, and the kept epoch's weights; twice, as one stays until the next is written."""
    if cell.checkpoint_every is None:
        return 0
    return 2 * (4 if cell.recipe.keep == "best" else 3) * _model_bytes(cell)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
