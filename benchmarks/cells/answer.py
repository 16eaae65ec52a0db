"""Cells, answered: those that have a record are skipped, the others run one by one, each in a fresh process."""

from __future__ import annotations

import shutil
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from backends import BACKENDS
from benchmarks.cells.plan import Cell
from benchmarks.workers.environments import worker_settings
from benchmarks.workers.launcher import LOG, run_worker
from benchmarks.workers.machine import BusyCores, describe_machine, matrix_product_rate, memory_bandwidth
from benchmarks.workers.progress import RunProgress
from shared.batching import training_order
from shared.checkpoint.config import read_architecture
from shared.encoding import read_encoded
from shared.flops import Work, floor_seconds, optimizer_bytes
from shared.job import ARRAYS
from shared.metrics import details, majority_score
from shared.records import FORMAT, Record, read_records, steady_epoch_seconds, write_record


@dataclass(frozen=True)
class Answers:
    """What has become of the cells asked for."""

    records: list[Record]
    """Of every cell that is answered, whenever that was."""
    ran: int
    failed: list[Cell]
    code: int
    """The command's exit code: 0 when none failed, 1 when one did, 2 when those that failed were all refused."""


def answer_cells(
    console: Console, cells: list[Cell], out: Path, to_ask_anew: str, save: Path | None = None, rerun: bool = False
) -> Answers:
    """Runs the cells that have no record under `out` yet, or with `rerun` all, and says how many these are and how they
    can be asked anew. Where models are to be saved, a cell whose model is not there is run too. A cell that fails does
    not keep the others from running. Raises InputError where a record cannot be read."""
    answered = {record["id"] for record in read_records(out)}
    todo = [cell for cell in cells if rerun or cell.id not in answered or _unsaved(cell, save)]
    console.print(
        f"{len(cells)} cells: {len(cells) - len(todo)} answered already ({to_ask_anew}), {len(todo)} to run",
        highlight=False,
        soft_wrap=True,
    )
    with RunProgress(console, len(todo)) as progress:
        codes = [run_cell(cell, out, save, progress) for cell in todo]
    asked = {cell.id for cell in cells}
    return Answers(
        records=[record for record in read_records(out) if record["id"] in asked],
        ran=len(todo),
        failed=[cell for cell, code in zip(todo, codes, strict=True) if code],
        code=1 if 1 in codes else max(codes, default=0),
    )


def run_cell(cell: Cell, out: Path, save: Path | None, progress: RunProgress) -> int:
    """Runs one cell in a fresh process and writes its record. Returns 0, 1 where it failed, 2 where it was refused."""
    progress.begin(cell.title)
    folder = (out / "jobs" / cell.id).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cell.job((save / cell.id).absolute() if save else None).write(folder)
    circumstances: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "interpreter": cell.environment.shown,
        "python": cell.environment.python_version,
        "packages": cell.environment.packages,
        "settings": worker_settings(cell.threads),
        "machine": describe_machine(),
        "matrix_product_flops_before": matrix_product_rate(cell.threads),
        "memory_bandwidth_before": memory_bandwidth(cell.threads),
    }
    busy, start = BusyCores(), time.perf_counter()
    outcome = run_worker(cell.environment.python, folder, cell.threads, progress.event)
    circumstances["worker_seconds"] = time.perf_counter() - start
    circumstances["cores_busy_with_others"] = busy.by_others()
    circumstances["matrix_product_flops_after"] = matrix_product_rate(cell.threads)
    circumstances["memory_bandwidth_after"] = memory_bandwidth(cell.threads)
    if outcome.answer is None:
        progress.end(f"FAILED {cell.backend}: {outcome.error}")
        for line in outcome.tail:
            progress.line(f"      | {line}")
        if outcome.bad_input:
            shutil.rmtree(folder)
            return 2
        progress.line(f"      its whole output: {out / 'jobs' / cell.id / LOG}")
        return 1
    record = {
        "format": FORMAT,
        "id": cell.id,
        "asked": cell.asked,
        "model": cell.model,
        "preset": cell.preset,
        "recipe": cell.recipe.to_json(),
        "rows": {name: len(rows) for name, rows in cell.splits.items()},
        "majority": {
            name: majority_score(np.array(rows.labels)) for name, rows in cell.splits.items() if rows.labels is not None
        },
        "answer": outcome.answer | {"details": _details(cell, outcome.answer["predictions"])},
        "circumstances": circumstances,
        "work": _work(cell, outcome.answer, circumstances),
    }
    with np.load(folder / ARRAYS) as arrays:
        write_record(out, record, dict(arrays))
    shutil.rmtree(folder)
    progress.end(_summary(outcome.answer, circumstances["worker_seconds"]))
    return 0


def _work(cell: Cell, answer: dict[str, Any], circumstances: dict[str, Any]) -> dict[str, Any]:
    """Operations of an epoch's training, on real tokens and on all, mean over the epochs; on a CPU in float32, whose
    rates are measured around the run, also the least seconds that an epoch could take and how many times that it did.
    """
    architecture = read_architecture(cell.checkpoint, cell.recipe, len(cell.labels))
    lengths = read_encoded(cell.data)["train"].lengths
    batches = (rows for epoch in training_order(cell.recipe, lengths) for rows in epoch)
    multiple, epochs = BACKENDS[cell.backend].width_multiple(cell.compile), cell.recipe.epochs
    work = Work.of(architecture, lengths, batches, cell.recipe, multiple)
    found: dict[str, Any] = {"real_flops": work.real_flops / epochs, "all_flops": work.all_flops / epochs}
    if cell.device == "cpu" and cell.precision == "float32":
        rate, bandwidth = (
            max(circumstances[f"{name}_{when}"] for when in ("before", "after"))
            for name in ("matrix_product_flops", "memory_bandwidth")
        )
        floor = floor_seconds(work, optimizer_bytes(architecture, cell.recipe), rate, bandwidth) / epochs
        times = statistics.median(steady_epoch_seconds(answer)) / floor
        found |= {"floor_seconds": floor, "times_floor": times}
    return found


def _details(cell: Cell, predictions: dict[str, list[int]]) -> dict[str, Any]:
    """Of each split that was predicted and has labels."""
    return {
        name: details(np.array(labels), np.array(predicted), cell.labels, cell.recipe.batch_size)
        for name, predicted in predictions.items()
        if (labels := cell.splits[name].labels) is not None
    }


def _summary(answer: dict[str, Any], seconds: float) -> str:
    if answer["test"] is None:
        scores = "test not scored"
    else:
        scores = "test " + ", ".join(f"{name} {value:.3f}" for name, value in answer["test"].items())
    return f"{scores}; {seconds:.0f} s in all"


def _unsaved(cell: Cell, save: Path | None) -> bool:
    return save is not None and not (save / cell.id).is_dir()
