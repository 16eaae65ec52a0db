"""The seam between a sweep and the place where its workers run: this machine, one cell at a time (`LOCAL`), or a
cluster (`benchmarks.cluster`). Plans, job folders and records are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from benchmarks.workers.environments import Environment, find_environments, find_python
from benchmarks.workers.launcher import Limits
from benchmarks.workers.machine import choose_device, choose_threads
from benchmarks.workers.measured import run_measured
from shared.answer import Event
from shared.errors import ProcessFailed
from shared.records import Circumstances

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.cells.plan import Cell
    from benchmarks.workers.progress import RunProgress

Unit = Sequence["Cell"]
"""Cells that run at one place, one after another."""

Turn = Callable[[Unit, "Slot"], list["Cell"]]
"""Runs a unit's cells in a slot. Returns those that another process has now."""


class CellLines(Protocol):
    """Shows the progress of cells of which one runs at a time."""

    def begin(self, title: str) -> None:
        """A cell starts."""

    def line(self, text: str) -> None:
        """A line of the current cell that stays."""

    def note(self, text: str) -> None:
        """A note that stays, once however many cells it is true of."""

    def event(self, event: Event) -> None:
        """The current cell's worker tells of progress."""

    def failed(self, what: str, failure: ProcessFailed) -> None:
        """The current cell failed or was refused."""

    def end(self, text: str) -> None:
        """The current cell is over."""

    def elsewhere(self, title: str, text: str) -> None:
        """A cell is over that another process has run."""


class Slot(Protocol):
    """A place for one unit."""

    @property
    def lines(self) -> CellLines:
        """Shows the progress of the unit."""

    def answer(self, cell: Cell, folder: Path, limits: Limits, longest: int) -> Circumstances:
        """Runs the folder's job. Its worker's answer, of `longest` bytes at most, and all else that it leaves are in
        the folder then. Returns the circumstances. Raises ProcessFailed."""


class Running(Protocol):
    """The cells of a sweep on their way."""

    def line(self, text: str) -> None:
        """Prints a line."""

    def run(self, units: Iterable[Unit], turn: Turn) -> Iterator[list[Cell]]:
        """Gives each unit a slot and its turn. Returns what the turns return, each as it ends."""


class Engine(Protocol):
    """A place where cells run."""

    @property
    def slots(self) -> int:
        """Units that run at a time, as far as is known now."""

    def check_pythons(self, backends: Iterable[str], given: dict[str, Path]) -> None:
        """Looks for the interpreters of these backends, as far as that is quick. Raises InputError."""

    def find_environments(self, backends: Iterable[str], given: dict[str, Path]) -> dict[str, Environment]:
        """The environment of each backend, by name. Raises InputError."""

    def choose_device(self, asked: str) -> str:
        """The device that is meant by `auto`, `cpu`, `cuda` or `cuda:N`. Raises InputError if it is not there."""

    def choose_threads(self, asked: int | None, device: str) -> int:
        """The threads asked for, or as many as a cell on this device can have. Raises InputError."""

    def units(self, cells: Sequence[Cell]) -> list[Unit]:
        """The cells in units, in the order in which they should run."""

    def start(self, console: Console, cells: Sequence[Cell], out: Path) -> AbstractContextManager[Running]:
        """Shows the progress of these cells, for the time of a block. Records of like cells under `out` tell how long
        they take."""


@dataclass(frozen=True)
class Local:
    """This machine, one cell at a time."""

    slots: int = 1

    def check_pythons(self, backends: Iterable[str], given: dict[str, Path]) -> None:
        """See Engine."""
        for backend in backends:
            find_python(backend, given)

    def find_environments(self, backends: Iterable[str], given: dict[str, Path]) -> dict[str, Environment]:
        """See Engine."""
        return find_environments(backends, given)

    def choose_device(self, asked: str) -> str:
        """See Engine."""
        return choose_device(asked)

    def choose_threads(self, asked: int | None, device: str) -> int:
        """See Engine."""
        return choose_threads(asked)

    def units(self, cells: Sequence[Cell]) -> list[Unit]:
        """See Engine. Each cell is one, so that several runners share the cells evenly."""
        return [[cell] for cell in cells]

    @contextmanager
    def start(self, console: Console, cells: Sequence[Cell], out: Path) -> Iterator[Running]:
        """See Engine."""
        from benchmarks.workers.progress import RunProgress  # slow to import, and many a plan is refused

        with RunProgress(console, len(cells)) as lines:
            yield LocalRun(lines)


@dataclass(frozen=True)
class LocalRun:
    """Cells on this machine, one after another; the slot of each."""

    lines: RunProgress

    def line(self, text: str) -> None:
        """See Running."""
        self.lines.line(text)

    def run(self, units: Iterable[Unit], turn: Turn) -> Iterator[list[Cell]]:
        """See Running."""
        return (turn(unit, self) for unit in units)

    def answer(self, cell: Cell, folder: Path, limits: Limits, longest: int) -> Circumstances:
        """See Slot."""
        return run_measured(folder, cell.threads, cell.environment, self.lines.event, limits, longest)


LOCAL = Local()
