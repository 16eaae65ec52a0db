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
from benchmarks.cells.plan import Cell
from benchmarks.workers.environments import worker_settings
from benchmarks.workers.launcher import LOG, run_worker
from benchmarks.workers.machine import BusyCores, describe_machine, matrix_product_rate, memory_bandwidth
from benchmarks.workers.progress import RunProgress
from shared.answer import Trained
from shared.batching import training_order
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import shown_model
from shared.encoding import read_encoded
from shared.errors import ProcessFailed
from shared.flops import Work, floor_seconds, optimizer_bytes
from shared.job import ARRAYS
from shared.metrics import details, majority_score
from shared.records import CellWork, Circumstances, Record, read_records, write_record


@dataclass(frozen=True)
class Answers:
    """The outcome of the cells asked for."""

    records: list[Record]
    """A record for every cell that is answered, now or earlier."""
    ran: int
    failed: list[Cell]
    code: int
    """The command's exit code: 0 if none failed, 1 if one did, 2 if those that failed were all refused."""


def answer_cells(
    console: Console, cells: list[Cell], out: Path, hint: str, save: Path | None = None, rerun: bool = False
) -> Answers:
    """Runs the cells that have no record under `out` yet (all with `rerun`); prints counts and the hint. If models are
    to be saved, a cell whose model is not there runs too. A cell that fails does not keep the others from running.
    Raises InputError if a record is newer than this code."""
    answered = {record.id for record in read_records(out)}
    todo = [cell for cell in cells if rerun or cell.id not in answered or _unsaved(cell, save)]
    console.print(
        f"{len(cells)} cells: {len(cells) - len(todo)} answered already ({hint}), {len(todo)} to run",
        highlight=False,
        soft_wrap=True,
    )
    with RunProgress(console, len(todo)) as progress:
        codes = [run_cell(cell, out, save, progress) for cell in todo]
    asked = {cell.id for cell in cells}
    return Answers(
        records=[record for record in read_records(out) if record.id in asked],
        ran=len(todo),
        failed=[cell for cell, code in zip(todo, codes, strict=True) if code],
        code=1 if 1 in codes else max(codes, default=0),
    )


def run_cell(cell: Cell, out: Path, save: Path | None, progress: RunProgress) -> int:
    """Runs one cell in a fresh process and writes its record. Returns 0, 1 if it failed, 2 if it was refused."""
    progress.begin(cell.title)
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
    with np.load(folder / ARRAYS) as arrays:
        write_record(out, _record(cell, answer, circumstances), dict(arrays))
    shutil.rmtree(folder)
    progress.end(_summary(answer, circumstances.worker_seconds))
    return 0


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


def _record(cell: Cell, answer: Trained, circumstances: Circumstances) -> Record:
    question = cell.question
    labels = {name: np.array(rows.labels) for name, rows in question.splits.items() if rows.labels is not None}
    scored = {
        name: details(labels[name], np.array(predicted), question.labels, cell.recipe.batch_size)
        for name, predicted in answer.predictions.items()
        if name in labels
    }
    return Record(
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
        work=_work(cell, answer, circumstances),
    )


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
    if answer.test is None:
        scores = "test not scored"
    else:
        scores = "test " + ", ".join(f"{name} {value:.3f}" for name, value in answer.test.items())
    return f"{scores}; {seconds:.0f} s in all"


def _unsaved(cell: Cell, save: Path | None) -> bool:
    return save is not None and not (save / cell.id).is_dir()
