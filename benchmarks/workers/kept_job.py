"""The folder of a job that may have been run before: what stays of it for another worker."""

from __future__ import annotations

import shutil
from pathlib import Path

from shared.job import CHECKPOINT, Job, spare_folder


def is_of(folder: Path, job: Job) -> bool:
    """Whether the folder's job asks the same."""
    try:
        return Job.read(folder).question() == job.question()
    except (OSError, ValueError, RecursionError):  # there is none, or a broken one
        return False


def make_ready(folder: Path, job: Job) -> None:
    """Makes the folder ready for a worker. A checkpoint of this job stays, for the worker to go on from; all else is
    removed."""
    goes_on = job.checkpoint_every is not None and is_of(folder, job)
    shutil.rmtree(spare_folder(folder), ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if not (goes_on and path.name == CHECKPOINT):
            _remove(path)
    job.write(folder)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
