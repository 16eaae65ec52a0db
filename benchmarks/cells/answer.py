"""Answers cells: skips those that have a record, and runs the others one by one, each in a fresh process."""

from __future__ import annotations

import shutil
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from msgspec import structs
from rich.console import Console

from backends import BACKENDS
from benchmarks.cells.noting import data_notes, result_notes
from benchmarks.cells.plan import Cell
from benchmarks.cells.room import check_room
from benchmarks.workers.environments import worker_settings
from benchmarks.workers.launcher import LOG, answered_folder, run_worker
from benchmarks.workers.machine import BusyCores, describe_machine, matrix_product_rate, memory_bandwidth
from benchmarks.workers.progress import RunProgress
from shared.answer import Trained
from shared.batching import training_order
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import shown_model
from shared.diverging import shown
from shared.encoding import read_encoded
from shared.errors import ProcessFailed
from shared.flops import Work, floor_seconds, optimizer_bytes
from shared.job import ARRAYS, ERROR, spare_folder
from shared.metrics import details, majority_score
from shared.notes import Note
from shared.records import CellWork, Circumstances, Record, read_records, write_record


@dataclass(frozen=True)
class Answers:
    """The outcome of the cells asked for."""

    records: list[Record]
    """A record for every cell that is answered, now or earlier."""
    ran: int
    failed: list[Cell]
    diverged: list[str]
    """The cells whose training diverged, now or earlier, each with its step."""
    code: int
    """The command's exit code: 0 if none failed or diverged, 1 if one did, 2 if those that failed were all refused and
    none diverged."""


def answer_cells(
    console: Console, cells: list[Cell], out: Path, hint: str, save: Path | None = None, rerun: bool = False
) -> Answers:
    """Runs the cells that have no record under `out` yet (all with `rerun`); prints counts and the hint. If models are
    to be saved, a cell whose model is not there runs too, unless its training diverged. A cell that fails does not keep
    the others from running. Raises InputError if a record is newer than this code, and if there is no room for what is
    to be written."""
    answered = {record.id: record for record in read_records(out)}
    todo = [cell for cell in cells if rerun or cell.id not in answered or _unsaved(cell, answered[cell.id], save)]
    check_room(todo, out, save)
    console.print(
        f"{len(cells)} cells: {len(cells) - len(todo)} answered already ({hint}), {len(todo)} to run",
        highlight=False,
        soft_wrap=True,
    )
    with RunProgress(console, len(todo)) as progress:
        codes = [run_cell(cell, out, save, progress) for cell in todo]
    titles = {cell.id: cell.title for cell in cells}
    records = [record for record in read_records(out) if record.id in titles]
    diverged = [f"{titles[r.id]} {shown(r.answer.diverged)}" for r in records if r.answer.diverged is not None]
    return Answers(
        records=records,
        ran=len(todo),
        failed=[cell for cell, code in zip(todo, codes, strict=True) if code],
        diverged=diverged,
        code=1 if 1 in codes or diverged else max(codes, default=0),
    )


def told_diverged(diverged: list[str]) -> str:
    """A line on the cells that diverged."""
    return f"{len(diverged)} cells diverged and have no score; pass another --learning-rate: {'; '.join(diverged)}"


def run_cell(cell: Cell, out: Path, save: Path | None, progress: RunProgress) -> int:
    """Runs one cell in a fresh process and writes its record. Returns 0, 1 if it failed or something could not be kept,
    2 if it was refused."""
    progress.begin(cell.title)
    noted = data_notes(cell.question)
    for note in noted:
        progress.note(note.line)
    folder = (out / "jobs" / cell.id).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cell.job((save / cell.id).absolute() if save else None).write(folder)
    try:
        answer, circumstances = _ask(cell, folder, progress)
    except ProcessFailed as failure:
        progress.failed(f"FAILED {cell.backend}", failure)
        if failure.refused:
            shutil.rmtree(folder)
        else:
            progress.line(f"      its whole output: {out / 'jobs' / cell.id / LOG}")
        return failure.code
    record = _record(cell, answer, circumstances, noted)
    progress.end(_summary(answer, circumstances.worker_seconds))
    for note in record.notes[len(noted) :]:
        progress.line(f"    note: {note.line}")
    unsaved = _why_unsaved(folder, save / cell.id) if save and answer.diverged is None else None
    if unsaved:
        progress.line(f"      the model could not be saved in {save}: {unsaved}")
    kept = _keep(record, folder, out, progress)
    return 1 if unsaved or not kept else 0


def _keep(record: Record, folder: Path, out: Path, progress: RunProgress) -> bool:
    """Writes the record and removes the job's folder. If `out` cannot take the record, it is kept elsewhere, and a line
    says where: returns False."""
    place, spare = answered_folder(folder), spare_folder(folder)
    with np.load(place / ARRAYS) as loaded:
        arrays = dict(loaded)
    try:
        write_record(out, record, arrays)
    except OSError as error:
        write_record(spare, record, arrays)
        progress.line(
            f"      {out} cannot take the record ({error.strerror}): it is kept in {spare}/records; make room, and "
            f"copy that folder's files into {out}/records"
        )
        shutil.rmtree(folder, ignore_errors=True)
        return False
    shutil.rmtree(folder)
    shutil.rmtree(spare, ignore_errors=True)
    return True


def _why_unsaved(folder: Path, model: Path) -> str | None:
    """The reason why the model is not there; None if it is."""
    error = folder / ERROR
    if error.is_file():
        return error.read_text(encoding="utf-8")
    return None if model.is_dir() else "the disk may be full"


def _ask(cell: Cell, folder: Path, progress: RunProgress) -> tuple[Trained, Circumstances]:
    """The worker's answer, and what was measured around it. Raises ProcessFailed."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    rate, bandwidth = matrix_product_rate(cell.threads), memory_bandwidth(cell.threads)
    busy, start = BusyCores(), time.perf_counter()
    answer = run_worker(cell.environment.python, folder, cell.threads, progress.event, Trained)
    return answer, Circumstances(
        started=started,
        interpreter=cell.environment.shown,
        python=cell.environment.python_version,
        packages=cell.environment.packages,
        settings=worker_settings(cell.threads),
        machine=describe_machine(),
        matrix_product_flops_before=rate,
        memory_bandwidth_before=bandwidth,
        worker_seconds=time.perf_counter() - start,
        cores_busy_with_others=busy.by_others(),
        matrix_product_flops_after=matrix_product_rate(cell.threads),
        memory_bandwidth_after=memory_bandwidth(cell.threads),
    )


def _record(cell: Cell, answer: Trained, circumstances: Circumstances, noted: list[Note]) -> Record:
    question = cell.question
    labels = {name: np.array(rows.labels) for name, rows in question.splits.items() if rows.labels is not None}
    scored = {
        name: details(labels[name], np.array(predicted), question.labels, cell.recipe.batch_size)
        for name, predicted in answer.predictions.items()
        if name in labels
    }
    record = Record(
        id=cell.id,
        asked=cell.asked,
        model=shown_model(question.model),
        preset=cell.preset,
        start=question.start,
        recipe=cell.recipe,
        rows={name: len(rows) for name, rows in question.splits.items()},
        majority={name: majority_score(array) for name, array in labels.items()},
        answer=structs.replace(answer, details=scored),
        circumstances=circumstances,
        work=_work(cell, answer, circumstances) if answer.diverged is None else None,
        notes=noted,
    )
    return structs.replace(record, notes=noted + result_notes(question, record))


def _work(cell: Cell, answer: Trained, circumstances: Circumstances) -> CellWork:
    """An epoch's operations; on a CPU in float32 also its least seconds, by the rates around the run."""
    question = cell.question
    architecture = read_architecture(question.checkpoint, cell.recipe, len(question.labels))
    lengths = read_encoded(question.data)["train"].lengths
    batches = (rows for epoch in training_order(cell.recipe, lengths) for rows in epoch)
    multiple, epochs = BACKENDS[cell.backend].width_multiple(cell.compile), cell.recipe.epochs
    work = Work.of(architecture, lengths, batches, cell.recipe, multiple)
    operations = CellWork(real_flops=work.real_flops / epochs, all_flops=work.all_flops / epochs)
    if cell.device != "cpu" or cell.precision != "float32":
        return operations
    rate = max(circumstances.matrix_product_flops_before, circumstances.matrix_product_flops_after)
    bandwidth = max(circumstances.memory_bandwidth_before or 0.0, circumstances.memory_bandwidth_after or 0.0)
    floor = floor_seconds(work, optimizer_bytes(architecture, cell.recipe), rate, bandwidth) / epochs
    times = statistics.median(answer.steady_epoch_seconds()) / floor
    return structs.replace(operations, floor_seconds=floor, times_floor=times)


def _summary(answer: Trained, seconds: float) -> str:
    if answer.diverged is not None:
        scores = f"{shown(answer.diverged)}: a loss, a logit or a weight is NaN or infinite, and nothing is scored"
    elif answer.test is None:
        scores = "test not scored"
    else:
        scores = "test " + ", ".join(f"{name} {value:.3f}" for name, value in answer.test.items())
    return f"{scores}; {seconds:.0f} s in all"


def _unsaved(cell: Cell, record: Record, save: Path | None) -> bool:
    return save is not None and record.answer.diverged is None and not (save / cell.id).is_dir()
