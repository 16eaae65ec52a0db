"""The time that cells take, by records of like cells."""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Iterable

from benchmarks.cells.plan import Cell
from shared.recipe import Recipe
from shared.records import Asked, Record


class Estimates:
    """Seconds of cells. A cell takes the median of those that differ in their seed alone; if there are none, the time
    by row and epoch of those that differ in neither model, width, batch nor way to compute."""

    def __init__(self, records: Iterable[Record]) -> None:
        same: dict[str, list[float]] = {}
        by_row: dict[Hashable, list[float]] = {}
        for record in records:
            seconds = record.circumstances.worker_seconds
            if seconds is None or record.answer.diverged is not None:
                continue
            same.setdefault(record.asked.without("seed"), []).append(seconds)
            rows = record.rows["train"] * record.recipe.epochs
            by_row.setdefault(_like(record.asked, record.recipe), []).append(seconds / rows)
        self.same = {key: statistics.median(found) for key, found in same.items()}
        self.by_row = {key: statistics.median(found) for key, found in by_row.items()}

    def seconds(self, cell: Cell) -> float | None:
        """The cell's time; None if no record tells."""
        found = self.same.get(cell.asked.without("seed"))
        if found is None and (pace := self.by_row.get(_like(cell.asked, cell.recipe))) is not None:
            found = pace * len(cell.question.splits["train"]) * cell.recipe.epochs
        return found


def _like(asked: Asked, recipe: Recipe) -> Hashable:
    computing = (asked.backend, asked.device, asked.threads, asked.precision, asked.compile, asked.embedding_update)
    return (asked.checkpoint, *computing, recipe.max_len, recipe.batch_size, recipe.padding)


def shown_time(seconds: float) -> str:
    """A time in words, such as 40 s, 12 min or 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
