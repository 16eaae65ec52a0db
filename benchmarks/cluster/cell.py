"""Runs a cell's job on a node, as on the machine of a command: python -m benchmarks.cluster.cell ASKED FOLDER DATA
CHECKPOINT PYTHON

It prints one JSON object, a `Told`. It ends when its standard input is closed."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from backends.worker import end_with_the_launcher
from benchmarks.workers.allocator import choose_allocator
from benchmarks.workers.environments import find_environment
from benchmarks.workers.kept_job import make_ready
from benchmarks.workers.launcher import LOG, Killed, Limits, answered_folder
from benchmarks.workers.measured import run_measured
from shared.answer import Event, Remarked
from shared.errors import InputError, ProcessFailed
from shared.files import from_json, to_json
from shared.job import ANSWER, ARRAYS, ERROR, Job, spare_folder
from shared.partial import locked
from shared.records import Circumstances

MODEL = "model"
"""The fine-tuned model, in the job's folder."""


class Asked(Struct, frozen=True, kw_only=True):
    """The question to a node, besides the paths."""

    job: Job
    """Its paths are of another machine."""
    versions: dict[str, str]
    """Versions that the backend's modules must have: they are part of the cell's identity."""
    limits: Limits
    longest: int
    """Bytes of the longest answer."""
    allocator: str | None = None
    """As `choose_allocator` takes it."""


class Failed(Struct, frozen=True, kw_only=True):
    """A `ProcessFailed`."""

    message: str
    tail: list[str] = []
    refused: bool = False
    killed: bool = False

    def error(self) -> ProcessFailed:
        """The exception."""
        return (Killed if self.killed else ProcessFailed)(self.message, tuple(self.tail), self.refused)


class Told(Struct, frozen=True, kw_only=True):
    """The outcome of a cell's job on a node."""

    started: str
    ended: str
    files: dict[str, str] = {}
    """Path of each file that goes to the driver, by its place in the job's folder."""
    remarks: list[str] = []
    """Lines that the worker said of the training's course."""
    circumstances: Circumstances | None = None
    failed: Failed | None = None


def main() -> None:
    """Runs the job that the command line names."""
    asked, folder, data, checkpoint, python = map(Path, sys.argv[1:])
    end_with_the_launcher()
    wanted = from_json(asked.read_bytes(), Asked)
    save = None if wanted.job.save is None else str(folder / MODEL)
    job = replace(wanted.job, data=str(data), checkpoint=str(checkpoint), save=save)
    with locked(folder):  # an earlier process with this job may not have ended yet
        print(to_json(_run(wanted, job, folder, python)), flush=True)


def _run(asked: Asked, job: Job, folder: Path, python: Path) -> Told:
    """Runs the job in its folder."""
    remarks: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Remarked):
            remarks.append(event.line)

    started, circumstances, failed = _now(), None, None
    try:
        choose_allocator(asked.allocator)
        environment = find_environment(job.backend, {job.backend: python})
        if environment.versions != asked.versions:
            raise InputError(f"{python} has {_shown(environment.versions)}, and the plan {_shown(asked.versions)}")
        make_ready(folder, job)
        circumstances = run_measured(folder, job.threads, environment, hear, asked.limits, asked.longest)
    except InputError as error:
        failed = Failed(message=str(error), refused=True)
    except ProcessFailed as error:
        failed = Failed(
            message=str(error), tail=list(error.tail), refused=error.refused, killed=isinstance(error, Killed)
        )
    files = _files(folder, answered=failed is None)
    return Told(started=started, ended=_now(), files=files, remarks=remarks, circumstances=circumstances, failed=failed)


def _files(folder: Path, answered: bool) -> dict[str, str]:
    """The files that go to the driver: the answer and the model, or what the worker printed."""
    places = [answered_folder(folder) / name for name in (ANSWER, ARRAYS)] if answered else [folder / LOG]
    found = {place.name: str(place) for place in (*places, folder / ERROR) if place.is_file()}
    for place in (spare_folder(folder) / MODEL, folder / MODEL):
        if place.is_dir():
            found |= {f"{MODEL}/{file.name}": str(file) for file in place.iterdir()}
    return found


def _shown(versions: dict[str, str]) -> str:
    return ", ".join(f"{module} {version}" for module, version in versions.items())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


if __name__ == "__main__":
    main()
