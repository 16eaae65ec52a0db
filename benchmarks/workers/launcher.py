"""Starts a worker for one job and waits for it: a local process, in a session of its own. The only file that knows how
a job reaches a worker; an engine that reaches other machines would go here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.workers.environments import CHECKOUT, worker_variables
from shared.job import ANSWER, ERROR, EVENTS, Job

if TYPE_CHECKING:
    from benchmarks.workers.progress import RunProgress

LOG = "worker.log"
POLL_SECONDS = 0.1
TAIL_LINES = 5


@dataclass(frozen=True)
class Outcome:
    """How a worker ended."""

    answer: dict[str, Any] | None
    """None where it failed."""
    error: str = ""
    """One line that says why it failed."""
    bad_input: bool = False
    """It failed because the job asked for what cannot be done."""
    tail: tuple[str, ...] = ()
    """The last lines that a failed worker printed."""


class WorkerFailed(Exception):
    """A worker ended without an answer."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
        """The exit code of a command that needs the answer: 2 for bad input, else 1."""


def ask(name: str, job: Job, python: Path, folder: Path, progress: RunProgress) -> dict[str, Any]:
    """Writes the job into a new folder, runs it and gives its answer, under this name in what is shown. Raises
    WorkerFailed, the worker's last lines shown before."""
    progress.begin(name)
    folder.mkdir()
    job.write(folder)
    outcome = run_worker(python, folder, job.threads, progress.event)
    if outcome.answer is None:
        for line in outcome.tail:
            progress.line(f"      | {line}")
        raise WorkerFailed(f"{name}: {outcome.error}", 2 if outcome.bad_input else 1)
    return outcome.answer


def run_worker(
    python: Path,
    folder: Path,
    threads: int,
    on_event: Callable[[dict[str, Any]], None],
    module: str = "backends.worker",
) -> Outcome:
    """Runs the job in the folder and gives its outcome. However this function is left, the worker has ended. `module`
    is another program that answers jobs (a room's `trainer.py`)."""
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
    return _outcome(process.returncode, folder)


def _follow(file: Path) -> Iterator[list[dict[str, Any]]]:
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
        yield [json.loads(line) for line in lines]


def _outcome(code: int, folder: Path) -> Outcome:
    if code == 0 and (folder / ANSWER).is_file():
        return Outcome(json.loads((folder / ANSWER).read_text(encoding="utf-8")))
    if code == 2 and (folder / ERROR).is_file():
        return Outcome(None, json.loads((folder / ERROR).read_text(encoding="utf-8"))["message"], bad_input=True)
    lines = [line for line in (folder / LOG).read_text(errors="replace").splitlines() if line.strip()]
    tail = tuple(lines[-TAIL_LINES:])
    if code < 0:
        name = signal.Signals(-code).name
        why = "; the kernel does this when memory runs out" if name == "SIGKILL" else ""
        return Outcome(None, f"the worker was killed by {name}{why}", tail=tail)
    return Outcome(None, f"the worker ended with exit code {code}", tail=tail)


class ScriptFailed(Exception):
    """A script ended without its answer."""

    def __init__(self, message: str, tail: tuple[str, ...]) -> None:
        super().__init__(message)
        self.tail = tail
        """The last lines that it printed."""


def run_script(command: list[Any], answer: Path, threads: int, variables: dict[str, str] | None = None) -> Any:
    """Runs an interpreter with a script and its arguments, `answer` after them, and gives the JSON that it leaves.
    Raises ScriptFailed."""
    process = subprocess.run(
        [*map(str, command), str(answer)],
        cwd=CHECKOUT,
        env=worker_variables(threads) | (variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if process.returncode:
        script = next(Path(part).name for part in map(str, command[1:]) if part not in ("-m", "-P"))
        raise ScriptFailed(
            f"{script} ended with exit code {process.returncode}", tuple(process.stdout.splitlines()[-TAIL_LINES:])
        )
    return json.loads(answer.read_text())


class ModeFailed(Exception):
    """A process of this mode ended without an answer."""

    def __init__(self, message: str, tail: tuple[str, ...]) -> None:
        super().__init__(message)
        self.tail = tail
