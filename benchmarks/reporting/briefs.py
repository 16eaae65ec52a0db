"""Records in brief: what the tables need of them, a tenth of their size, so that thousands fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.statistics.times import disturbed
from shared.answer import Scores
from shared.notes import Note
from shared.recipe import Recipe
from shared.records import SPLITS, Asked, CellWork, Machine, PresetUse, Record, Records, Split


@dataclass(frozen=True, slots=True)
class Brief:
    """A record in brief. See `Record` and its parts for the fields."""

    asked: Asked
    model: str
    preset: PresetUse | None
    recipe: Recipe
    rows: dict[str, int]
    majority: Scores
    scored: dict[Split, Scores | None]
    diverged: int | None
    timed: bool
    epoch_seconds: list[float]
    """Training time of each epoch without compilation (`Fit.steady_epoch_seconds`)."""
    trained_rows: int
    """Sum over all epochs, as those that follow."""
    tokens: int
    padded_tokens: int
    first_step_seconds: float
    start_seconds: float
    peak_memory_bytes: int
    work: CellWork | None
    machine: Machine
    started: str
    python: str
    notes: list[Note]
    cores_busy_with_others: float | None
    disturbed: bool
    whole: Callable[[], Record]
    """Gives the record."""

    @classmethod
    def of(cls, record: Record, whole: Callable[[], Record]) -> Brief:
        """The record in brief."""
        answer, circumstances = record.answer, record.circumstances
        return cls(
            asked=record.asked,
            model=record.model,
            preset=record.preset,
            recipe=record.recipe,
            rows=record.rows,
            majority=record.majority,
            scored={split: record.scores(split) for split in SPLITS},
            diverged=answer.diverged,
            timed=record.timed,
            epoch_seconds=answer.steady_epoch_seconds(),
            trained_rows=sum(epoch.rows for epoch in answer.epochs),
            tokens=sum(epoch.tokens for epoch in answer.epochs),
            padded_tokens=sum(epoch.padded_tokens for epoch in answer.epochs),
            first_step_seconds=answer.first_step_seconds,
            start_seconds=answer.start_seconds,
            peak_memory_bytes=answer.peak_memory_bytes,
            work=record.work,
            machine=circumstances.machine,
            started=circumstances.started,
            python=circumstances.python,
            notes=record.notes,
            cores_busy_with_others=circumstances.cores_busy_with_others,
            disturbed=disturbed(circumstances),
            whole=whole,
        )

    def scores(self, split: Split) -> Scores | None:
        """As `Record.scores`."""
        return self.scored[split]

    def steady_epoch_seconds(self) -> list[float]:
        """As `Fit.steady_epoch_seconds`."""
        return self.epoch_seconds


def in_brief(records: Sequence[Record]) -> Iterator[Brief]:
    """The records in brief. Those of a folder (`Records`) are read one at a time, and again if they are asked for."""
    for number, record in enumerate(records):
        whole = partial(records.of, record.id) if isinstance(records, Records) else partial(records.__getitem__, number)
        yield Brief.of(record, whole)
