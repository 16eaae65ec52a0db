"""The clock of a library's own trainer: passes synchronised at both ends, and the first step by itself.

A room's `trainer.py` fine-tunes as users of that library do. `benchmarks.speed` sets it beside the adapter. It runs in
the backend's environment as a worker does:

    python -m backends.ROOM.trainer JOB_FOLDER

The job is one of shared/job.py, the answer a `TrainerAnswer`. A trainer trains on the job's encoded rows in the order
in which they lie, one pass for each of the recipe's epochs. It takes max_len, padding, batch_size, learning_rate, decay
and seed from the recipe, and leaves all else as the library has it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backends.devices import alone
from backends.worker import end_with_the_launcher
from shared.answer import Pass, TrainerAnswer
from shared.errors import InputError
from shared.files import to_json, write_whole
from shared.job import ANSWER, ERROR, Job


class Passes:
    """Times what a library's trainer, or its user's loop, reports: passes over the rows, batches and steps."""

    def __init__(self, started: float, synchronize: Callable[[], object]) -> None:
        """`started` is when the process began, by time.perf_counter. `synchronize` returns once the device is idle."""
        self.started, self.synchronize = started, synchronize
        self.passes: list[Pass] = []
        self.steps = self.rows = self.padded_tokens = 0
        self.first_step_at = self.first_step_seconds = self.passing = 0.0

    def begin_pass(self) -> None:
        """A pass over the rows begins."""
        self.steps = self.rows = self.padded_tokens = 0
        self.synchronize()
        self.passing = time.perf_counter()

    def batch(self, rows: int, width: int) -> None:
        """A batch of so many rows, each padded to `width` tokens, comes next."""
        self.steps += 1
        self.rows += rows
        self.padded_tokens += rows * width

    def begin_step(self) -> None:
        """A step begins."""
        if not self.first_step_at:
            self.first_step_at = time.perf_counter()

    def end_step(self) -> None:
        """A step is over."""
        if not self.first_step_seconds:
            self.synchronize()
            self.first_step_seconds = time.perf_counter() - self.first_step_at

    def end_pass(self) -> None:
        """The pass is over."""
        self.synchronize()
        seconds = time.perf_counter() - self.passing
        done = Pass(steps=self.steps, rows=self.rows, padded_tokens=self.padded_tokens, seconds=seconds)
        self.passes.append(done)

    def answer(self, peak_memory_bytes: int, arguments: dict[str, Any]) -> TrainerAnswer:
        """The answer to the job. `arguments` are all that the library was told."""
        return TrainerAnswer(
            epochs=self.passes,
            first_step_seconds=self.first_step_seconds,
            start_seconds=self.first_step_at - self.started,
            peak_memory_bytes=peak_memory_bytes,
            arguments=arguments,
        )


def answer_job(train: Callable[[Job], TrainerAnswer]) -> None:
    """Runs the job in the folder that the command line names, and leaves its answer there. If the trainer raises
    InputError, leaves the reason and exits with 2."""
    folder = Path(sys.argv[1])
    end_with_the_launcher()
    job = Job.read(folder)
    # The libraries' trainers take every GPU that they see. Frameworks look when they first use one.
    os.environ["CUDA_VISIBLE_DEVICES"] = alone(job.device)
    try:
        answer = train(job)
    except InputError as refusal:
        write_whole(folder / ERROR, str(refusal))
        sys.exit(2)
    write_whole(folder / ANSWER, to_json(answer))
