"""Workers side by side, where no time is measured. One thread looks at each in turn."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from benchmarks.workers.launcher import Turns, working
from shared.answer import Event
from shared.job import Job

T = TypeVar("T")

AT_ONCE = 2
"""Workers that run together. Each has all the threads that it is asked to have, since another number would round in
another order: two fill the cores while one imports or compiles, and more would only share them, and take memory."""

WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Makes OpenMP's threads sleep as they wait for one another. If they turned in a loop, they would take the cores that
the other worker needs. What is computed stays the same."""


def asking(job: Job, python: Path, folder: Path, answer: type[T], on_event: Callable[[Event], None]) -> Turns[T]:
    """The worker of `launcher.ask`, to run beside others. Raises ProcessFailed without a name."""
    folder.mkdir()
    job.write(folder)
    return (yield from working(python, folder, job.threads, on_event, answer, variables=_variables()))


def _variables() -> dict[str, str]:
    return {name: os.environ.get(name, value) for name, value in WAITING.items()}


@dataclass(eq=False)
class Begun(Generic[T]):
    """A worker that waits, runs, or has answered."""

    turns: Turns[T]
    answers: list[T] = field(default_factory=list)
    """Empty until it has answered."""


class Beside:
    """Runs workers, at most `at_once` together. However the block is left, all have ended."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self.waiting: deque[Begun[Any]] = deque()
        self.running: list[Begun[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for begun in self.running:
            begun.turns.close()

    def add(self, turns: Turns[T]) -> Begun[T]:
        """Queues a worker."""
        begun = Begun(turns)
        self.waiting.append(begun)
        return begun

    def result(self, begun: Begun[T]) -> T:
        """Looks at all in turn until this one has answered. Raises what any of them raises."""
        return self.until(lambda: begun.answers)[0]

    def until(self, found: Callable[[], T | None]) -> T:
        """Looks at all in turn until `found` gives something, and gives that. Raises what any of them raises."""
        while not (value := found()):
            self._turn()
        return value

    def run(
        self,
        python: Path,
        folder: Path,
        threads: int,
        on_event: Callable[[Event], None],
        answer: type[T],
        module: str = "backends.worker",
    ) -> T:
        """Runs a worker as `run_worker` does, before all that wait and beside those that run. Raises as `result`."""
        begun = Begun(working(python, folder, threads, on_event, answer, module, variables=_variables()))
        self.waiting.appendleft(begun)
        return self.result(begun)

    def _turn(self) -> None:
        while self.waiting and len(self.running) < self.at_once:
            self.running.append(self.waiting.popleft())
        for begun in tuple(self.running):
            try:
                next(begun.turns)
            except StopIteration as end:
                begun.answers.append(end.value)
                self.running.remove(begun)
