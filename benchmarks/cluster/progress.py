"""Shows the progress of a sweep over a cluster: a line for each cell that starts or is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console

from benchmarks.cells.estimates import Estimates, shown_time
from benchmarks.cells.plan import Cell
from shared.answer import Event
from shared.errors import ProcessFailed


@dataclass
class Running:
    """A cell that runs."""

    host: str
    since: float
    expected: float | None
    """Seconds that it should take; None if nothing tells."""


class ClusterProgress:
    """Follows the cells of a sweep. Its methods may be called by several threads."""

    def __init__(self, console: Console, cells: Sequence[Cell], estimates: Estimates) -> None:
        self.console, self.cells, self.estimates = console, len(cells), estimates
        found = [estimates.seconds(cell) for cell in cells]
        self.known = sum(seconds for seconds in found if seconds is not None)
        """Seconds that records tell of the cells that are not over."""
        self.unknown = found.count(None)
        """Cells that are not over, of which they tell nothing."""
        self.running: dict[int, Running] = {}
        """The cell that each thread follows now."""
        self.done = self.failed = 0
        self.took: list[float] = []
        """Seconds of the cells of which records had told nothing."""
        self.noted: set[str] = set()
        self.lock = threading.RLock()
        self.status = console.status("") if console.is_terminal else None

    def __enter__(self) -> Self:
        if self.status:
            self.status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.status:
            self.status.stop()

    def line(self, text: str) -> None:
        """Prints a line that stays."""
        with self.lock:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def runs(self, cell: Cell, host: str) -> None:
        """The cell of this thread starts on a machine."""
        expected = self.estimates.seconds(cell)
        with self.lock:
            self.running[threading.get_ident()] = Running(host, time.monotonic(), expected)
            self.line(f"{cell.title}: runs on {host}")
            self._show()

    def over(self, title: str, text: str, lines: Sequence[str], failed: bool) -> None:
        """The cell of this thread is over."""
        with self.lock:
            ran = self.running.pop(threading.get_ident(), None)
            self._count(ran)
            self.failed += failed
            where = f" on {ran.host}" if ran else ""
            self.line(f"[{self.done}/{self.cells}] {title}{where}: {text} ({self.summary()})")
            for one in lines:
                self.line(one)
            self._show()

    def _count(self, ran: Running | None) -> None:
        left = self.cells - self.done
        self.done += 1
        if ran is None:  # taken up, or run elsewhere: as much as the mean of those left
            self.known *= (left - 1) / left
            self.unknown = min(self.unknown, left - 1)
        elif ran.expected is None:
            self.unknown -= 1
            self.took.append(time.monotonic() - ran.since)
        else:
            self.known -= ran.expected

    def note_once(self, text: str) -> bool:
        """Whether a note is new."""
        with self.lock:
            new = text not in self.noted
            self.noted.add(text)
            return new

    def summary(self) -> str:
        """Counts of cells, and the time left."""
        waiting = self.cells - self.done - len(self.running)
        parts = [f"{len(self.running)} run", f"{waiting} wait"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        left = self.seconds_left()
        if left:
            parts.append(f"about {shown_time(left)} left")
        return ", ".join(parts)

    def seconds_left(self) -> float | None:
        """Time left, if as many cells run at a time as now: by records of like cells, and for the others by what this
        sweep's cells took. None if nothing tells."""
        if self.unknown and not self.took:
            return None
        mean = sum(self.took) / len(self.took) if self.took else 0.0
        return (self.known + self.unknown * mean) / max(1, len(self.running))

    def _show(self) -> None:
        if self.status:
            hosts = ", ".join(sorted({one.host for one in self.running.values()}))
            self.status.update(f"{self.done}/{self.cells} cells: {self.summary()}; on {hosts or 'no node'}")


@dataclass
class UnitProgress:
    """Follows the cells of one unit. A cell's lines are shown together once it is over."""

    sweep: ClusterProgress
    title: str = ""
    lines: list[str] = field(default_factory=list)
    over: bool = True

    def begin(self, title: str) -> None:
        """A cell starts."""
        self.title, self.over = title, False
        self.lines.clear()

    def line(self, text: str) -> None:
        """A line of the current cell."""
        if self.over:
            self.sweep.line(f"    {self.title}: {text.strip()}")
        else:
            self.lines.append(text)

    def note(self, text: str) -> None:
        """A note, once however many cells it is true of."""
        if self.sweep.note_once(text):
            self.line(f"    note: {text}")

    def event(self, event: Event) -> None:
        """The cell's worker tells of progress: too much to show of many at a time."""

    def failed(self, what: str, failure: ProcessFailed) -> None:
        """The current cell failed or was refused."""
        self.lines += [f"      | {line}" for line in failure.tail]
        self._end(f"{what}: {failure}", failed=True)

    def end(self, text: str) -> None:
        """The current cell is over."""
        self._end(text, failed=False)

    def elsewhere(self, title: str, text: str) -> None:
        """A cell is over that another process has run."""
        self.begin(title)
        self._end(text, failed=False)

    def _end(self, text: str, failed: bool) -> None:
        self.over = True
        self.sweep.over(self.title, text, self.lines, failed)
