"""The job's folder of a cell, `jobs/ID`: what is left in it, what is taken up of that, and the checked answer."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Container
from pathlib import Path

import numpy as np

from benchmarks.cells.locks import cell_lock
from benchmarks.cells.plan import Cell
from benchmarks.workers.kept_job import is_of, make_ready
from benchmarks.workers.launcher import answered_folder, read_answer
from benchmarks.workers.measured import CIRCUMSTANCES
from shared.answer import Trained
from shared.batching import total_steps
from shared.errors import ProcessFailed
from shared.job import ANSWER, ARRAYS, Job, spare_folder
from shared.records import Circumstances, record_path

MODEL = "model"
"""The fine-tuned model, until it has its place."""

Answered = tuple[Trained, dict[str, np.ndarray]]
"""An answer, and the logits of each split, [rows, labels]."""


def take_up(folder: Path, cell: Cell, job: Job, need_model: bool) -> tuple[Answered, Circumstances] | None:
    """Makes the folder ready for the job. Returns the answer that an interrupted run left there, with the circumstances
    that it kept, if it answers this job; with `need_model` only if the model is there too. A checkpoint of this job
    stays, for a worker to go on from; all else is removed."""
    if is_of(folder, job) and (find_model(folder) or not need_model):
        try:
            return read_trained(folder, cell), read_circumstances(folder)
        except ProcessFailed:
            pass
    make_ready(folder, job)
    return None


def remove_job(folder: Path) -> None:
    """Removes the folder, and what lies elsewhere of it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(spare_folder(folder), ignore_errors=True)


def remove_answered(out: Path, answered: Container[str]) -> None:
    """Removes what a run that was killed has left of cells whose record has the answer already. What holds a model
    stays: `--save` gives it its place."""
    for folder in (out / "jobs").glob("*"):
        if folder.name in answered and _is_recorded(folder, record_path(out, folder.name)):
            with cell_lock(out, folder.name) as mine:
                if mine:
                    remove_job(folder)


def _is_recorded(folder: Path, record: Path) -> bool:
    """Whether all files in the folder are from before the record, and no model is there. The answer may be gone
    already, if the run was killed as it removed the folder."""
    try:
        times = (path.lstat().st_mtime_ns for path in folder.rglob("*") if not path.is_dir())
        newest = max(times, default=0)
        return folder.is_dir() and newest <= record.stat().st_mtime_ns and find_model(folder) is None
    except OSError:
        return False


def read_trained(folder: Path, cell: Cell) -> Answered:
    """Reads the answer and its arrays. Raises ProcessFailed if they are not whole, or do not fit the cell."""
    place = answered_folder(folder)
    if not (place / ANSWER).is_file():
        raise ProcessFailed("there is no answer")
    answer = read_answer(place / ANSWER, Trained, answer_bytes(cell))
    labels = len(cell.question.labels)
    rows = {name: len(split) for name, split in cell.question.splits.items()}
    for name, predicted in answer.predictions.items():
        if len(predicted) != rows.get(name) or not all(0 <= label < labels for label in predicted):
            raise ProcessFailed(f"the predictions for {name!r} in {ANSWER} do not fit its rows and labels")
    return answer, _read_arrays(place / ARRAYS, {name: (number, labels) for name, number in rows.items()})


def answer_bytes(cell: Cell) -> int:
    """The most bytes that an answer to the cell can have: numbers of each step, of each epoch and of each row."""
    rows = {name: len(split) for name, split in cell.question.splits.items()}
    steps = total_steps(cell.recipe, rows["train"])
    return 2**20 + 64 * steps + 2**13 * cell.recipe.epochs + 16 * (sum(rows.values()) - rows["train"])


def read_circumstances(folder: Path) -> Circumstances:
    """Reads what was kept. Raises ProcessFailed if there is nothing."""
    if not (folder / CIRCUMSTANCES).is_file():
        raise ProcessFailed("the circumstances of the answer were not kept")
    return read_answer(folder / CIRCUMSTANCES, Circumstances)


def find_model(folder: Path) -> Path | None:
    """The place of the fine-tuned model: the folder, or the spare one if that could not take it."""
    places = (folder / MODEL, spare_folder(folder) / MODEL)
    return next((place for place in places if place.is_dir()), None)


BROKEN = (OSError, ValueError, EOFError, KeyError, RuntimeError, zlib.error, zipfile.BadZipFile)
"""Errors that the readers of zip files and arrays raise if one is broken."""


def _read_arrays(file: Path, shapes: dict[str, tuple[int, int]]) -> dict[str, np.ndarray]:
    """Reads the arrays of these names, each a part of these, of real numbers and of this shape. Memory is taken for
    such alone. Raises ProcessFailed."""
    try:
        with zipfile.ZipFile(file) as members:
            for member in members.namelist():
                name = member.removesuffix(".npy")
                with members.open(member) as stream:
                    np.lib.format.read_magic(stream)
                    shape, _, kind = np.lib.format.read_array_header_1_0(stream)
                if shape != shapes.get(name) or kind not in (np.float32, np.float64):
                    raise ValueError(f"{name!r} is {kind} {list(shape)}")
        with np.load(file, allow_pickle=False) as loaded:
            return dict(loaded)
    except BROKEN as error:
        raise ProcessFailed(f"the answer's {ARRAYS} is broken ({error})") from None
