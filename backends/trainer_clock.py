"""The clock of a library's own trainer: passes synchronised at both ends, the first step told apart.

A room's `trainer.py` fine-tunes as users of that library do, and `benchmarks.speed` compares the adapters with it. It
runs in the backend's environment as a worker does:

    python -m backends.BACKEND.trainer JOB_FOLDER

The job is one of shared/job.py. A trainer reads its encoded rows and trains on them in the order in which they lie, as
many passes as the recipe has epochs. It takes max_len, padding, batch_size, learning_rate, decay and seed from the
recipe, and leaves all else at the library's own. The answer has a worker's fields about time and memory, and
`arguments`, all that the library was told.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backends.worker import end_with_the_launcher
from shared.files import write_whole
from shared.job import ANSWER, Job


class Passes:
    """A library's trainer, or its user's loop, tells of each pass over the rows and of each batch and step."""

    def __init__(self, started: float, synchronize: Callable[[], object]) -> None:
        """`started`: when the process began, in seconds since the epoch. `synchronize` returns when the device is
        idle."""
        self.started, self.synchronize = started, synchronize
        self.passes: list[dict[str, Any]] = []
        self.first_step_at, self.first_step_seconds = 0.0, 0.0
        self.stepping = self.passing = 0.0

    def begin_pass(self) -> None:
        self.passes.append({"steps": 0, "rows": 0, "padded_tokens": 0})
        self.synchronize()
        self.passing = time.perf_counter()

    def batch(self, rows: int, width: int) -> None:
        """A batch of so many rows, each padded to `width` tokens, is about to be trained on."""
        now = self.passes[-1]
        now["steps"] += 1
        now["rows"] += rows
        now["padded_tokens"] += rows * width

    def begin_step(self) -> None:
        if not self.first_step_at:
            self.first_step_at, self.stepping = time.time(), time.perf_counter()

    def end_step(self) -> None:
        if not self.first_step_seconds:
            self.synchronize()
            self.first_step_seconds = time.perf_counter() - self.stepping

    def end_pass(self) -> None:
        self.synchronize()
        self.passes[-1]["seconds"] = time.perf_counter() - self.passing

    def answer(self, peak_memory_bytes: int, arguments: dict[str, Any]) -> dict[str, Any]:
        return {
            "epochs": self.passes,
            "first_step_seconds": self.first_step_seconds,
            "start_seconds": self.first_step_at - self.started,
            "peak_memory_bytes": peak_memory_bytes,
            "arguments": arguments,
        }


def answer_job(train: Callable[[Job], dict[str, Any]]) -> None:
    """Runs the job whose folder the command line names, and leaves its answer there."""
    folder = Path(sys.argv[1])
    end_with_the_launcher()
    job = Job.read(folder)
    # Stock trainers take every GPU that they see. Frameworks look when they first use one.
    os.environ["CUDA_VISIBLE_DEVICES"] = job.device.removeprefix("cuda:").removeprefix("cpu")
    write_whole(folder / ANSWER, json.dumps(train(job)))
