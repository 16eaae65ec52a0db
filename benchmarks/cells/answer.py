"""Answers cells: skips those that have a record, and runs the others one by one, each in a fresh process. Any number of
processes may do so on one folder: each cell is run by one of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console

from benchmarks.cells.failures import Alike, Failure, failure_path, read_failure
from benchmarks.cells.job_folder import remove_job
from benchmarks.cells.locks import cell_lock, holder
from benchmarks.cells.plan import Cell
from benchmarks.cells.room import check_room
from benchmarks.cells.running import check_place, job_folder, run_cell
from benchmarks.workers.launcher import NO_LIMITS, Limits
from benchmarks.workers.progress import RunProgress
from shared.checkpoint.saved import is_saved
from shared.diverging import shown
from shared.records import Record, read_record, read_records, record_path

WAIT_SECONDS = 1.0
"""Time between two looks at cells that other processes have."""


@dataclass(frozen=True)
class How:
    """How cells are answered."""

    save: Path | None = None
    """Folder for the models; None to save none."""
    rerun: bool = False
    """Runs cells that are answered, too."""
    failed: Literal["too", "not", "only"] = "too"
    """Whether cells that failed before run."""
    limits: Limits = NO_LIMITS
    alike: int = 0
    """Failures of a backend in a row that are alike, after which its other cells are left out; 0 for no limit."""


AS_EVER = How()


@dataclass(frozen=True)
class Answers:
    """The outcome of the cells asked for."""

    records: list[Record]
    """A record for every cell that is answered, now or earlier."""
    ran: int
    failed: list[Cell]
    before: list[Failure]
    """Failures of cells that were not run, because they failed before."""
    left_out: int
    """Cells that were left out after failures that were alike."""
    diverged: list[str]
    """The cells whose training diverged, now or earlier, each with its step."""
    code: int
    """The command's exit code: 0 if none failed or diverged, 1 if one did, 2 if those that failed were all refused and
    none diverged."""


def answer_cells(console: Console, cells: list[Cell], out: Path, hint: str, how: How = AS_EVER) -> Answers:
    """Runs the cells that have no record under `out` yet (all with `rerun`); prints counts and the hint. If models are
    to be saved, a cell whose model is not there runs too, unless its training diverged. A cell that fails does not keep
    the others from running. Raises InputError if a record is newer than this code, if a model cannot have its place,
    and if there is no room for what is to be written."""
    seen = {cell.id: State.of(out, cell) for cell in cells}
    answered = {record.id: record for record in read_records(out)}
    due = [cell for cell in cells if how.rerun or cell.id not in answered or _unsaved(cell, answered[cell.id], how)]
    failures = {cell.id: failure for cell in due if (failure := read_failure(out, cell.id))}
    todo = [cell for cell in due if how.failed == "too" or (cell.id in failures) == (how.failed == "only")]
    before = [failures[cell.id] for cell in due if cell.id in failures] if how.failed == "not" else []
    if how.save:
        for cell in todo:
            check_place(f"--save {how.save}", how.save / cell.id)
    check_room(todo, out, how.save)
    failed_before = f"{len(before)} failed before (--retry runs them again), " if before else ""
    console.print(
        f"{len(cells)} cells: {len(cells) - len(due)} answered already ({hint}), {failed_before}{len(todo)} to run",
        highlight=False,
        soft_wrap=True,
    )
    with RunProgress(console, len(todo)) as progress:
        sweep = Sweep(out, how, progress, seen)
        sweep.run(todo)
    titles = {cell.id: cell.title for cell in cells}
    records = [record for record in read_records(out) if record.id in titles]
    diverged = [f"{titles[r.id]} {shown(r.answer.diverged)}" for r in records if r.answer.diverged is not None]
    codes = sweep.codes
    return Answers(
        records=records,
        ran=len(codes),
        failed=[cell for cell in todo if codes.get(cell.id)],
        before=before,
        left_out=len(todo) - len(codes),
        diverged=diverged,
        code=1 if 1 in codes.values() or diverged or before else max(codes.values(), default=0),
    )


def told_diverged(diverged: list[str]) -> str:
    """A line on the cells that diverged."""
    return f"{len(diverged)} cells diverged and have no score; pass another --learning-rate: {'; '.join(diverged)}"


@dataclass(frozen=True)
class State:
    """The files of a cell, by which it is seen whether another process has run it meanwhile."""

    record: tuple[int, int] | None
    failure: tuple[int, int] | None

    @classmethod
    def of(cls, out: Path, cell: Cell) -> State:
        """The state now."""
        return cls(_version(record_path(out, cell.id)), _version(failure_path(out, cell.id)))


def _version(file: Path) -> tuple[int, int] | None:
    """Changes whenever the file is written; None if there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


@dataclass
class Sweep:
    """The cells of one command, run in turn."""

    out: Path
    how: How
    progress: RunProgress
    seen: dict[str, State]
    """The state of each cell when it was planned."""
    codes: dict[str, int] = field(default_factory=dict)
    """Codes of the cells that are done, by id."""
    alike: Alike = field(init=False)

    def __post_init__(self) -> None:
        self.alike = Alike(self.how.alike)

    def run(self, cells: list[Cell]) -> None:
        """Runs the cells. Those that other processes have come last, and are waited for."""
        told: set[str] = set()
        while cells:
            held = [cell for cell in cells if not self.alike.reached(cell.backend) and not self._turn(cell)]
            if len(held) == len(cells):
                for cell in held:
                    told = self._tell_waiting(cell, told)
                time.sleep(WAIT_SECONDS)
            cells = held

    def _turn(self, cell: Cell) -> bool:
        """Runs the cell, unless another process has run it meanwhile. Returns False if another has it now."""
        with cell_lock(self.out, cell.id) as mine:
            if mine and not self._ran_elsewhere(cell):
                self._run(cell)
            return mine

    def _run(self, cell: Cell) -> None:
        how = self.how
        record = None if how.rerun else read_record(self.out, cell.id)
        if how.rerun:
            remove_job(job_folder(self.out, cell))
        outcome = run_cell(cell, self.out, how.save, self.progress, how.limits, record)
        self.codes[cell.id] = outcome.code
        if self.alike.add(cell.backend, outcome.reason):
            self.progress.line(
                f"      {how.alike} cells of {cell.backend} failed alike, one after another: its others are left out; "
                "mend the cause, or pass --max-failures"
            )

    def _ran_elsewhere(self, cell: Cell) -> bool:
        """Whether another process has run the cell since it was planned: takes its outcome."""
        now, seen = State.of(self.out, cell), self.seen[cell.id]
        if now == seen:
            return False
        if now.failure not in (None, seen.failure):
            failure = read_failure(self.out, cell.id)
            self.progress.elsewhere(cell.title, f"failed in another process: {failure.reason if failure else '?'}")
            self.codes[cell.id] = 1
            return True
        record = read_record(self.out, cell.id)
        if record is None or _unsaved(cell, record, self.how):
            return False
        self.progress.elsewhere(cell.title, "answered by another process")
        self.codes[cell.id] = 0
        return True

    def _tell_waiting(self, cell: Cell, told: set[str]) -> set[str]:
        """Says for whom a cell waits, once. Returns what was said so far."""
        line = f"waiting for {holder(self.out, cell.id)}, which has {cell.title}"
        if line not in told:
            self.progress.line(line)
        return told | {line}


def _unsaved(cell: Cell, record: Record, how: How) -> bool:
    return how.save is not None and record.answer.diverged is None and not is_saved(how.save / cell.id)
