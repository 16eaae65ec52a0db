"""Asks the reference, in torch's interpreter."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.workers.environments import Environment, find_environment
from benchmarks.workers.launcher import run_worker
from shared.answer import Event, Fit
from shared.errors import ProcessFailed
from shared.reference import Described, Done, Explained, LossesExplained, Question, write_question

T = TypeVar("T", Described, Done, Explained, LossesExplained, Fit)


@dataclass(frozen=True)
class Reference:
    """torch's interpreter."""

    environment: Environment
    threads: int

    @classmethod
    def find(cls, pythons: dict[str, Path], threads: int) -> Reference:
        """Finds the interpreter. Raises InputError."""
        return cls(find_environment("torch", pythons), threads)

    def ask(self, question: Question, answer: type[T], on_event: Callable[[Event], None] = lambda _: None) -> T:
        """Runs the question in a process of its own; `on_event` receives the progress. Raises ProcessFailed."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_question(question, folder)
            try:
                return run_worker(
                    self.environment.python, folder, self.threads, on_event, answer, "backends.torch.reference"
                )
            except ProcessFailed as failure:
                raise ProcessFailed(f"the reference: {failure}", failure.tail, failure.refused) from None
