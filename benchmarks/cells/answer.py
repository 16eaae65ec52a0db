"""Answers cells: skips those that have a record, and has the others run by an engine, each in a fresh process. Any
number of commands may do so on one folder: each cell is run by one of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console

from benchmarks.cells.engine import LOCAL, CellLines, Engine, Running, Slot, Unit
from benchmarks.cells.failures import Alike, Failure, failure_path, read_failure, remove_half_kept
from benchmarks.cells.job_folder import remove_answered, remove_job
from benchmarks.cells.locks import cell_lock, holder, remove_ended
from benchmarks.cells.plan import Cell
from benchmarks.cells.room import check_room
from benchmarks.cells.running import check_place, job_folder, run_cell
from benchmarks.workers.launcher import NO_LIMITS, Limits
from shared.checkpoint.saved import is_saved
from shared.diverging import shown
from shared.records import check_formats, read_record, record_path

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

    answered: list[Cell]
    """The cells that have a record, of now or of earlier."""
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


def answer_cells(
    console: Console, cells: list[Cell], out: Path, hint: str, how: How = AS_EVER, engine: Engine = LOCAL
) -> Answers:
    """Runs the cells that have no record under `out` yet (all with `rerun`); prints counts and the hint. If models are
    to be saved, a cell whose model is not there runs too, unless its training diverged. A cell that fails does not keep
    the others from running. Of the records under `out` those of these cells are read, one at a time. Raises InputError
    if any there is newer than this code, if a model cannot have its place, and if there is no room for what is to be
    written."""
    check_formats(out, but={cell.id for cell in cells})
    remove_ended(out)
    remove_half_kept(out)
    seen = {cell.id: State.of(out, cell) for cell in cells}
    known = {cell.id: found for cell in cells if (found := Known.of(out, cell))}
    due = Due.of(cells, out, how, known)
    todo, before = due.todo, due.before
    remove_answered(out, known.keys() - {cell.id for cell in todo})
    if how.save:
        for cell in todo:
            check_place(f"--save {how.save}", how.save / cell.id)
    check_room(todo, out, how.save)
    console.print(due.shown(hint), highlight=False, soft_wrap=True)
    with engine.start(console, todo, out) as running:
        sweep = Sweep(out, how, engine, running, seen)
        sweep.run(todo)
    known |= {cell.id: found for cell in todo if (found := Known.of(out, cell))}
    ends = [(cell, known[cell.id].diverged) for cell in cells if cell.id in known]
    diverged = [f"{cell.title} {shown(step)}" for cell, step in ends if step is not None]
    codes = sweep.codes
    return Answers(
        answered=[cell for cell, _ in ends],
        ran=len(codes),
        failed=[cell for cell in todo if codes.get(cell.id)],
        before=before,
        left_out=len(todo) - len(codes),
        diverged=diverged,
        code=1 if 1 in codes.values() or diverged or before else max(codes.values(), default=0),
    )


@dataclass(frozen=True)
class Due:
    """Cells that are due, and those that are not."""

    todo: list[Cell]
    before: list[Failure]
    """Failures of cells that do not run, because they failed before."""
    answered: int

    @classmethod
    def of(cls, cells: list[Cell], out: Path, how: How, known: dict[str, Known]) -> Due:
        """Finds what is due, if these cells have a record under `out`."""
        due = [cell for cell in cells if how.rerun or cell.id not in known or _unsaved(cell, known[cell.id], how)]
        failures = {cell.id: failure for cell in due if (failure := read_failure(out, cell.id))}
        todo = [cell for cell in due if how.failed == "too" or (cell.id in failures) == (how.failed == "only")]
        before = [failures[cell.id] for cell in due if cell.id in failures] if how.failed == "not" else []
        return cls(todo, before, len(cells) - len(due))

    def shown(self, hint: str) -> str:
        """The counts in a line. `hint` says what there is to know of answered cells."""
        before = f"{len(self.before)} failed before (--retry runs them again), " if self.before else ""
        cells = self.answered + len(self.before) + len(self.todo)
        return f"{cells} cells: {self.answered} answered already ({hint}), {before}{len(self.todo)} to run"


def told_diverged(diverged: list[str]) -> str:
    """A line on the cells that diverged."""
    return f"{len(diverged)} cells diverged and have no score; pass another --learning-rate: {'; '.join(diverged)}"


@dataclass(frozen=True)
class Known:
    """A cell's record, as far as planning asks."""

    diverged: int | None
    """The step at which the training diverged."""

    @classmethod
    def of(cls, out: Path, cell: Cell) -> Known | None:
        """Reads what the record tells, if there is one."""
        record = read_record(out, cell.id)
        return None if record is None else cls(record.answer.diverged)


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
    """The cells of one command, run by an engine."""

    out: Path
    how: How
    engine: Engine
    running: Running
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
            held = [cell for unit in self.running.run(self.engine.units(cells), self._unit) for cell in unit]
            if len(held) == len(cells):
                for cell in held:
                    told = self._tell_waiting(cell, told)
                time.sleep(WAIT_SECONDS)
            cells = held

    def _unit(self, cells: Unit, slot: Slot) -> list[Cell]:
        """Runs cells in the slot, one after another. Returns those that another process has now."""
        return [cell for cell in cells if not self.alike.reached(cell.backend) and not self._turn(cell, slot)]

    def _turn(self, cell: Cell, slot: Slot) -> bool:
        """Runs the cell, unless another process has run it meanwhile. Returns False if another has it now."""
        with cell_lock(self.out, cell.id) as mine:
            if mine and not self._ran_elsewhere(cell, slot.lines):
                self._run(cell, slot)
            return mine

    def _run(self, cell: Cell, slot: Slot) -> None:
        how = self.how
        record = None if how.rerun else read_record(self.out, cell.id)
        if how.rerun:
            remove_job(job_folder(self.out, cell))
        outcome = run_cell(cell, self.out, how.save, slot, how.limits, record)
        self.codes[cell.id] = outcome.code
        if self.alike.add(cell.backend, outcome.reason):
            slot.lines.line(
                f"      {how.alike} cells of {cell.backend} failed alike, one after another: its others are left out; "
                "mend the cause, or pass --max-failures"
            )

    def _ran_elsewhere(self, cell: Cell, lines: CellLines) -> bool:
        """Whether another process has run the cell since it was planned: takes its outcome."""
        now, seen = State.of(self.out, cell), self.seen[cell.id]
        if now == seen:
            return False
        if now.failure not in (None, seen.failure):
            failure = read_failure(self.out, cell.id)
            lines.elsewhere(cell.title, f"failed in another process: {failure.reason if failure else '?'}")
            self.codes[cell.id] = 1
            return True
        known = Known.of(self.out, cell)
        if known is None or _unsaved(cell, known, self.how):
            return False
        lines.elsewhere(cell.title, "answered by another process")
        self.codes[cell.id] = 0
        return True

    def _tell_waiting(self, cell: Cell, told: set[str]) -> set[str]:
        """Says for whom a cell waits, once. Returns what was said so far."""
        line = f"waiting for {holder(self.out, cell.id)}, which has {cell.title}"
        if line not in told:
            self.running.line(line)
        return told | {line}


def _unsaved(cell: Cell, known: Known, how: How) -> bool:
    return how.save is not None and known.diverged is None and not is_saved(how.save / cell.id)
