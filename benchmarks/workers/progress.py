"""What a long run shows while it goes: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

WIDTH = 140
"""Columns of what is printed where there is no terminal to ask."""


def terminal(stderr: bool = False) -> Console:
    """Standard output, or error, as wide as its terminal."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=WIDTH)


class RunProgress:
    """Follows the cells of one run. Lines that stay are printed either way; bars only on a terminal."""

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
        self.current: TaskID | None = None

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bars.stop()

    def line(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def begin(self, title: str) -> None:
        """A cell starts."""
        self.number += 1
        self.line(f"[{self.number}/{self.cells}] {title}")
        self.current = self.bars.add_task("  loading", total=None, note="")

    def event(self, event: dict[str, Any]) -> None:
        """The current cell's worker tells of progress."""
        if self.current is None:
            return
        if event["event"] == "loaded":
            self.bars.update(self.current, description="  loaded")
        elif event["event"] == "step":
            self.bars.update(
                self.current,
                description=f"  epoch {event['epoch']}",
                completed=event["step"],
                total=event["of"],
                note=f"loss {event['loss']:.3f}",
            )
        elif event["event"] == "epoch":
            dev = ", ".join(f"{name} {value:.3f}" for name, value in (event["dev"] or {}).items())
            self.line(
                f"    epoch {event['epoch']}/{event['of']}: {event['seconds']:.1f} s, "
                f"training loss {event['train_loss']:.3f}, dev {dev or 'without labels'}"
            )

    def end(self, text: str) -> None:
        """The current cell is over."""
        self.line(f"    {text}")
        if self.current is not None:
            self.bars.remove_task(self.current)
            self.current = None
        self.bars.advance(self.all)
