"""A cell with checkpoints, whose worker or runner is ended by a signal: the same command goes on with it. That it ends
as one that was not killed is shown on each backend (tests/backends/test_resuming.py)."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import psutil

from shared.job import CHECKPOINT
from shared.records import read_records
from shared.resuming import INTERRUPTIONS
from tests.processes import ended, wait_until, workers_of
from tests.test_runner import TOY, run, started

CELL = ("--backend", "gluon", *TOY, "--limit", "8", "--batch-size", "8", "--epochs", "50", "--keep", "best")
EVERY = ("--checkpoint-every", "10")


def suspended(out: Path, interruptions: int) -> psutil.Process:
    """The cell's worker, stopped when it has a checkpoint, and has gone on so often. It cannot finish before the test
    has acted on it."""

    def goes_on() -> bool:
        counted = sum(file.stat().st_size for file in out.glob(f"jobs/*/{CHECKPOINT}/{INTERRUPTIONS}"))
        return counted == interruptions and any(out.glob(f"jobs/*/{CHECKPOINT}/*.npz"))

    wait_until(goes_on, "a worker goes on")
    (worker,) = workers_of(out)
    worker.suspend()
    return worker


def test_a_cell_goes_on_after_its_worker_or_runner_was_killed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with started(out, *CELL, *EVERY) as process:
        worker = suspended(out, 0)
        worker.send_signal(signal.SIGHUP)  # a worker obeys it at once, as it does SIGTERM
        worker.resume()
        stdout, _ = process.communicate()
    assert (process.returncode, ended(worker)) == (1, True)
    assert "FAILED gluon: the worker was killed by SIGHUP" in stdout
    with started(out, *CELL, *EVERY) as process:
        worker = suspended(out, 1)
        process.kill()
        process.wait()
        wait_until(lambda: ended(worker), "the worker has ended")
    finished = run(*CELL, *EVERY, "--out", out)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert re.search(r"goes on after step [1-4]0 of 50\n", finished.stdout)
    assert list((out / "jobs").iterdir()) == []
    (record,) = read_records(out)
    assert (record.answer.interruptions, len(record.answer.epochs), len(record.answer.step_loss)) == (2, 50, 50)
