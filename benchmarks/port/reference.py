"""Asks the reference, in torch's interpreter."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.workers.environments import Environment, find_environment
from benchmarks.workers.launcher import run_worker
from benchmarks.workers.machine import cpu_name
from shared.answer import Event, Fit
from shared.errors import ProcessFailed
from shared.reference import Described, Done, Explained, LossesExplained, Question, write_question

PROGRAM = "backends.torch.reference"

T = TypeVar("T", Described, Done, Explained, LossesExplained, Fit)


@dataclass(frozen=True)
class Reference:
    """torch's interpreter."""

    environment: Environment
    threads: int
    run: Callable[..., Any] | None = None
    """Runs a worker as `run_worker` does, which stands for None."""

    @classmethod
    def find(cls, pythons: dict[str, Path], threads: int) -> Reference:
        """Finds the interpreter. Raises InputError."""
        return cls(find_environment("torch", pythons), threads)

    def ask(self, question: Question, answer: type[T], on_event: Callable[[Event], None] = lambda _: None) -> T:
        """Runs the question in a process of its own; `on_event` receives the progress. Raises ProcessFailed."""
        run = self.run or run_worker
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_question(question, folder)
            try:
                answered: T = run(self.environment.python, folder, self.threads, on_event, answer, PROGRAM)
            except ProcessFailed as failure:
                raise failure.of("the reference") from None
            return answered

    def basis(self) -> str:
        """Text of all that its answers follow from besides the question and this project's code."""
        return repr((sorted(self.environment.versions.items()), self.threads, cpu_name()))
