"""Runs one cell: the job's folder, the worker, the record, and the model's place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from benchmarks.cells.engine import CellLines, Slot
from benchmarks.cells.failures import forget_failure, keep_failure
from benchmarks.cells.job_folder import (
    MODEL,
    Answered,
    answer_bytes,
    find_model,
    read_trained,
    remove_job,
    take_up,
)
from benchmarks.cells.noting import data_notes
from benchmarks.cells.plan import Cell
from benchmarks.cells.record import make_record, work_of
from benchmarks.workers.launcher import LOG, Killed, Limits, read_reason
from shared.answer import Trained
from shared.checkpoint.saved import is_saved
from shared.diverging import shown
from shared.errors import InputError, ProcessFailed
from shared.files import link_or_copy, whole_folder
from shared.flops import Work
from shared.job import ERROR
from shared.notes import Note
from shared.records import Circumstances, Record, write_record


@dataclass(frozen=True)
class Outcome:
    """The end of a cell's run."""

    code: int
    """0, 1 if it failed or something could not be kept, 2 if it was refused."""
    reason: str | None = None
    """Why it failed; None if it is answered."""


def run_cell(
    cell: Cell,
    out: Path,
    save: Path | None,
    slot: Slot,
    limits: Limits,
    recorded: Record | None,
) -> Outcome:
    """Runs one cell in a fresh process of the slot, or takes up the answer that an interrupted run left, and writes its
    record. The model gets its place after that. `recorded` is the record of a cell whose model alone is missing."""
    progress = slot.lines
    progress.begin(cell.title)
    folder = job_folder(out, cell)
    try:
        noted, work = _known_before(cell)
        for note in noted:
            progress.note(note.line)
        (answer, arrays), circumstances = _answered(cell, folder, save is not None, slot, limits, recorded)
    except ProcessFailed as failure:
        return _failed(cell, out, folder, progress, failure)
    record = make_record(cell, answer, circumstances, work, noted)
    progress.end(_summary(answer, circumstances.worker_seconds))
    for note in record.notes[len(noted) :]:
        progress.line(f"    note: {note.line}")
    if recorded is None or structs.replace(recorded.answer, details={}) != answer:
        try:
            write_record(out, record, arrays)
        except OSError as error:
            why = f"{out} cannot take the record ({error.strerror})"
            progress.line(f"      {why}: make room, and the same command takes it from {folder}")
            return Outcome(1, why)
    forget_failure(out, cell.id)
    if save is not None and answer.diverged is None:
        unsaved = _give_place(folder, save / cell.id, record)
        if unsaved:
            progress.line(f"      the model could not be saved in {save}: {unsaved}")
            return Outcome(1, unsaved)
    remove_job(folder)
    return Outcome(0)


def job_folder(out: Path, cell: Cell) -> Path:
    """The folder of a cell's job."""
    return (out / "jobs" / cell.id).absolute()


def _known_before(cell: Cell) -> tuple[list[Note], Work]:
    """Notes and work of the cell, known before it runs. Raises ProcessFailed if the encoded rows are gone meanwhile."""
    try:
        return data_notes(cell.question), work_of(cell)
    except OSError as error:
        why = f"{cell.question.data} cannot be read ({error.strerror})"
        raise ProcessFailed(f"{why}; the same command encodes again") from None
    except InputError as error:
        raise ProcessFailed(str(error), refused=True) from None


def _answered(
    cell: Cell,
    folder: Path,
    saves: bool,
    slot: Slot,
    limits: Limits,
    recorded: Record | None,
) -> tuple[Answered, Circumstances]:
    """The answer that was left in the folder, or a worker's. Raises ProcessFailed."""
    job = cell.job(folder / MODEL if saves else None)
    left = take_up(folder, cell, job, need_model=recorded is not None)
    if left:
        slot.lines.line("    answered by a run that was interrupted")
        return left
    circumstances = slot.answer(cell, folder, limits, answer_bytes(cell))
    return read_trained(folder, cell), circumstances


def _failed(cell: Cell, out: Path, folder: Path, progress: CellLines, failure: ProcessFailed) -> Outcome:
    """Tells of a failure, and keeps it unless it says nothing of the cell."""
    progress.failed(f"FAILED {cell.backend}", failure)
    if failure.refused:
        remove_job(folder)
    else:
        if not isinstance(failure, Killed):
            keep_failure(out, cell, failure)
        progress.line(f"      its output: {out / 'jobs' / cell.id / LOG}")
    return Outcome(failure.code, str(failure))


def _give_place(folder: Path, target: Path, record: Record) -> str | None:
    """Gives the model its place, with its card. Returns the reason if that failed: the job's folder then keeps what
    there is."""
    # Imported here: it imports pandas, which most cells have no use for.
    from benchmarks.cells.model_card import CARD, model_card

    model = find_model(folder)
    if model is None:
        error = folder / ERROR
        return read_reason(error) if error.is_file() else "the worker ended before it was written"
    try:
        with whole_folder(target, replace=True) as partial:
            for file in model.iterdir():
                link_or_copy(file, partial / file.name)
            (partial / CARD).write_text(model_card(record), encoding="utf-8")
    except OSError as error:
        return f"{error.strerror}; make room, and the same command takes it from {folder}"
    except InputError as error:
        return str(error)
    return None


def check_place(option: str, target: Path) -> None:
    """Raises InputError if a model cannot have this place, which something else has."""
    empty = target.is_dir() and not any(target.iterdir())
    if os.path.lexists(target) and not empty and not is_saved(target):
        raise InputError(f"{option}: {target} exists and is no saved model; remove it, or pass another folder")


def _summary(answer: Trained, seconds: float | None) -> str:
    if answer.diverged is not None:
        scores = f"{shown(answer.diverged)}: a loss, a logit or a weight is NaN or infinite, and nothing is scored"
    elif answer.test is None:
        scores = "test not scored"
    else:
        scores = "test " + ", ".join(f"{name} {value:.3f}" for name, value in answer.test.items())
    return scores if seconds is None else f"{scores}; {seconds:.0f} s in all"
