"""Shows the progress of a long run: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment

from shared.answer import EpochEnded, Event, Loaded, Remarked, Stepped, Tried, Working
from shared.errors import ProcessFailed, visible

WIDTH = 140
"""Columns of output that does not go to a terminal."""


class Terminal(Console):
    """A console that shows text as it is: square brackets are no markup, and control characters are spelled. A reader
    that closes the pipe is an error for the command."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text, kept="\n"), style, control)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def terminal(stderr: bool = False, width: int | None = None) -> Console:
    """Standard output, or error, as wide as its terminal; of this width, else WIDTH, if it does not go to one."""
    console = Terminal(stderr=stderr)
    return console if console.is_terminal else Terminal(stderr=stderr, width=width or WIDTH)


class RunProgress:
    """Follows the cells of one run. Prints lines that stay, and on a terminal bars too."""

    def __init__(self, console: Console, cells: int) -> None:
        self.console, self.cells, self.number = console, cells, 0
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.all = self.bars.add_task("cells", total=cells, note="")
        self.current: CellProgress | None = None
        self.noted: set[str] = set()

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bars.stop()

    def line(self, text: str) -> None:
        """Prints a line that stays."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Prints a note that stays, once however many cells it is true of."""
        if text not in self.noted:
            self.noted.add(text)
            self.line(f"    note: {text}")

    def begin(self, title: str) -> None:
        """A cell starts, by itself."""
        self.current = self._begun(title, "")

    def beside(self, title: str) -> CellProgress:
        """A cell starts beside others: its lines and its bar have its title."""
        return self._begun(title, title)

    def _begun(self, title: str, label: str) -> CellProgress:
        self.number += 1
        self.line(f"[{self.number}/{self.cells}] {title}")
        return CellProgress(self, label)

    def elsewhere(self, title: str, text: str) -> None:
        """A cell is over that another process has run."""
        self.number += 1
        self.line(f"[{self.number}/{self.cells}] {title}: {text}")
        self.bars.advance(self.all)

    def event(self, event: Event) -> None:
        """The current cell's worker tells of progress."""
        if self.current is not None:
            self.current.event(event)

    def failed(self, what: str, failure: ProcessFailed) -> None:
        """The current cell failed or was refused: shows why, and the last lines of its process."""
        self.end(f"{what}: {failure}")
        for line in failure.tail:
            self.line(f"      | {line}")

    def end(self, text: str) -> None:
        """The current cell is over."""
        if self.current is None:
            self.line(f"    {text}")
            self.bars.advance(self.all)
        else:
            self.current.end(text)
            self.current = None


class CellProgress:
    """Follows one cell of a run. `label` stands in its lines and its bar if others run beside it."""

    def __init__(self, run: RunProgress, label: str) -> None:
        self.run, self.before = run, f"{label}: " if label else ""
        self.bar = run.bars.add_task(f"  {self.before}loading", total=None, note="")

    def event(self, event: Event) -> None:
        """Its worker tells of progress."""
        bars, bar = self.run.bars, self.bar
        match event:
            case Loaded():
                bars.update(bar, description=f"  {self.before}loaded")
            case Stepped():
                bars.update(
                    bar,
                    description=f"  {self.before}epoch {event.epoch}",
                    completed=event.step,
                    total=event.of,
                    note=f"loss {event.loss:.3f}",
                )
            case Working(what, number, of):
                bars.update(bar, description=f"  {self.before}{what}", completed=number, total=of, note="")
            case Remarked(line):
                self._line(line)
            case Tried():
                bars.update(bar, description=f"  {self.before}{event.what}", completed=event.number, total=event.of)
            case EpochEnded(number, of, epoch):
                dev = ", ".join(f"{name} {value:.3f}" for name, value in (epoch.dev or {}).items())
                self._line(
                    f"epoch {number}/{of}: {epoch.seconds:.1f} s, "
                    f"training loss {epoch.train_loss:.3f}, dev {dev or 'without labels'}"
                )

    def end(self, text: str) -> None:
        """It is over."""
        self._line(text)
        self.run.bars.remove_task(self.bar)
        self.run.bars.advance(self.run.all)

    def _line(self, text: str) -> None:
        self.run.line(f"    {self.before}{text}")
