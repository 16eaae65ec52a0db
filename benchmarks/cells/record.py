"""The record of a cell, made of its answer and the circumstances of its run."""

from __future__ import annotations

import statistics

import numpy as np
from msgspec import structs

from backends import BACKENDS
from benchmarks.cells.noting import result_notes
from benchmarks.cells.plan import Cell
from shared.answer import Trained
from shared.architecture import Architecture
from shared.batching import training_order
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import shown_model
from shared.encoding import read_sizes
from shared.flops import Work, floor_seconds, optimizer_bytes
from shared.metrics import details, majority_score
from shared.notes import Note
from shared.records import CellWork, Circumstances, Record


def make_record(cell: Cell, answer: Trained, circumstances: Circumstances, work: Work, noted: list[Note]) -> Record:
    """The record. `work` is that of all epochs, and `noted` are the data's notes."""
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
        work=_epoch_work(cell, work, answer, circumstances) if answer.diverged is None else None,
        notes=noted,
        commits=question.commits,
    )
    return structs.replace(record, notes=noted + result_notes(question, record))


def work_of(cell: Cell) -> Work:
    """The work of all epochs of the cell's training."""
    lengths = read_sizes(cell.question.data).train
    batches = (rows for epoch in training_order(cell.recipe, lengths) for rows in epoch)
    backend = BACKENDS[cell.backend]
    multiple, groups = backend.width_multiple(cell.compile), backend.groups(cell.device, cell.compile)
    return Work.of(_architecture(cell), lengths, batches, cell.recipe, multiple, groups)


def _epoch_work(cell: Cell, work: Work, answer: Trained, circumstances: Circumstances) -> CellWork:
    """An epoch's operations; on a CPU in float32 also its least seconds, by the rates around the run."""
    epochs = cell.recipe.epochs
    operations = CellWork(real_flops=work.real_flops / epochs, all_flops=work.all_flops / epochs)
    if cell.device != "cpu" or cell.precision != "float32":
        return operations
    rate = max(circumstances.matrix_product_flops_before, circumstances.matrix_product_flops_after or 0.0)
    bandwidth = max(circumstances.memory_bandwidth_before or 0.0, circumstances.memory_bandwidth_after or 0.0)
    moved = optimizer_bytes(_architecture(cell), cell.recipe)
    floor = floor_seconds(work.real_flops, work.steps, moved, rate, bandwidth) / epochs
    times = statistics.median(answer.steady_epoch_seconds()) / floor
    return structs.replace(operations, floor_seconds=floor, times_floor=times)


def _architecture(cell: Cell) -> Architecture:
    return read_architecture(cell.question.checkpoint, cell.recipe, len(cell.question.labels))
