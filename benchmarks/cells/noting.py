"""Notes of a cell: what its data and its scores say that one should know."""

from __future__ import annotations

from benchmarks.cells.plan import Question
from shared.encoding import read_sizes
from shared.notes import Note, of_data, of_results
from shared.records import SPLITS, Record


def data_notes(question: Question) -> list[Note]:
    """Notes of the question's data, known before anything is trained."""
    return of_data(
        {name: rows.labels for name, rows in question.splits.items()},
        question.task.labels,
        {name: len(rows) for name, rows in question.splits.items()},
        read_sizes(question.data).cut,
    )


def result_notes(question: Question, record: Record) -> list[Note]:
    """Notes of the record's scores."""
    scores = {split: record.scores(split) or {} for split in SPLITS}
    return of_results(
        {name: rows.labels for name, rows in question.splits.items()},
        question.labels,
        {split: found["accuracy"] for split, found in scores.items() if "accuracy" in found},
    )
