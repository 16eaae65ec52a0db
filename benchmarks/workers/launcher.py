"""Starts a process in a backend's interpreter and waits for its answer: a worker for a job, in a session of its own, or
a script. The only file that knows how a job reaches a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.workers.environments import CHECKOUT, worker_variables
from shared.answer import Event, Trained, TrainerAnswer
from shared.diverging import shown
from shared.errors import ProcessFailed
from shared.files import from_json
from shared.job import ANSWER, ERROR, EVENTS, Job, spare_folder

if TYPE_CHECKING:
    from benchmarks.workers.progress import RunProgress

LOG = "worker.log"
POLL_SECONDS = 0.1
TAIL_LINES = 5

T = TypeVar("T")


def ask(name: str, job: Job, python: Path, folder: Path, answer: type[T], progress: RunProgress) -> T:
    """Writes the job into a new folder, runs it and gives its answer. `name` labels the progress lines. Raises
    ProcessFailed."""
    progress.begin(name)
    folder.mkdir()
    job.write(folder)
    try:
        return run_worker(python, folder, job.threads, progress.event, answer)
    except ProcessFailed as failure:
        raise ProcessFailed(f"{name}: {failure}", failure.tail, failure.refused) from None


def run_worker(
    python: Path,
    folder: Path,
    threads: int,
    on_event: Callable[[Event], None],
    answer: type[T],
    module: str = "backends.worker",
) -> T:
    """Runs the job in the folder and gives its answer, of the type that `answer` names. However this function is left,
    the worker has ended. `module` is another program that answers jobs (a room's `trainer.py`). Raises ProcessFailed.
    """
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", module, folder],
            cwd=CHECKOUT,
            env=worker_variables(threads),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        events = _follow(folder / EVENTS)
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                for event in next(events):
                    on_event(event)
            for event in next(events):
                on_event(event)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin:
                process.stdin.close()
    place = answered_folder(folder)
    if process.returncode == 0 and (place / ANSWER).is_file():
        return from_json((place / ANSWER).read_bytes(), answer)
    raise _failure(process.returncode, folder)


def answered_folder(folder: Path) -> Path:
    """The place of the job's answer and arrays: its folder, or the spare one if that could not take them."""
    return folder if (folder / ANSWER).is_file() else spare_folder(folder)


def check_finished(answer: Trained | TrainerAnswer) -> None:
    """Raises ProcessFailed if the training diverged: its times are of no whole epoch."""
    if isinstance(answer, Trained) and answer.diverged is not None:
        raise ProcessFailed(f"the training {shown(answer.diverged)}: pass a smaller --learning-rate, or another model")


def run_script(
    command: list[Any], answer_file: Path, threads: int, answer: type[T], variables: dict[str, str] | None = None
) -> T:
    """Runs an interpreter with a script and its arguments, `answer_file` after them, and gives the answer that it
    leaves there. Raises ProcessFailed."""
    process = subprocess.run(
        [*map(str, command), str(answer_file)],
        cwd=CHECKOUT,
        env=worker_variables(threads) | (variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if process.returncode:
        script = next(Path(part).name for part in map(str, command[1:]) if part not in ("-m", "-P"))
        tail = tuple(process.stdout.splitlines()[-TAIL_LINES:])
        raise ProcessFailed(f"{script} ended with exit code {process.returncode}", tail)
    return from_json(answer_file.read_bytes(), answer)


def _follow(file: Path) -> Iterator[list[Event]]:
    """At each turn, the events that whole new lines of the file hold."""
    position = 0
    while True:
        lines: list[bytes] = []
        if file.exists():
            with file.open("rb") as stream:
                stream.seek(position)
                text = stream.read()
            end = text.rfind(b"\n") + 1
            position += end
            lines = text[:end].splitlines()
        yield [from_json(line, Event) for line in lines]  # type: ignore[arg-type]


def _failure(code: int, folder: Path) -> ProcessFailed:
    if code == 2 and (folder / ERROR).is_file():
        return ProcessFailed((folder / ERROR).read_text(encoding="utf-8"), refused=True)
    lines = [line for line in (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    tail = tuple(lines[-TAIL_LINES:])
    if code < 0:
        name = signal.Signals(-code).name
        why = "; the kernel does this when memory runs out" if name == "SIGKILL" else ""
        return ProcessFailed(f"the worker was killed by {name}{why}", tail)
    return ProcessFailed(f"the worker ended with exit code {code}", tail)
