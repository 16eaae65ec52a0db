"""Checkpoints of a training: all that a worker that is started again needs to go on.

A checkpoint is one file in the job's folder, `checkpoint/STEP-SHA256.npz`. It has the model's state under the model's
own names, the kept epoch under names in `kept/`, and `progress`, the JSON of a `Progress`. The name has the hash of the
job and the file's content: a file that is damaged, or of another job, is never taken up. A file gets its name after all
of it is on the disk, and the file before it is removed after that. So one is there whenever the process is killed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from msgspec import Struct

from shared.answer import Epoch, Scores, Stretch
from shared.files import flush, from_json, to_json
from shared.job import Every

PROGRESS = "progress"
INTERRUPTIONS = "interruptions"
"""File with one byte for each interruption."""

Arrays = Iterator[tuple[str, np.ndarray]]
"""Arrays by name. Each is written before the next is asked for."""


class Progress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """State of a training, apart from its arrays. See `shared.answer.Fit`."""

    received: str
    """sha256, hex, over the arguments of the train steps so far."""
    step_loss: list[float]
    correct: list[int]
    """Correct rows of each step."""
    rows: list[int]
    first_step_seconds: float
    first_step_tokens: int
    dev_before: Scores | None
    epochs: list[Epoch]
    """The epochs that are over."""
    current: Stretch
    """The part of the next one that is trained."""
    kept_epoch: int
    kept_score: float | None
    """None unless the best epoch is kept."""
    peak_memory_bytes: int


@dataclass(frozen=True)
class Found:
    """A checkpoint on the disk, whole and of the job."""

    progress: Progress
    arrays: Mapping[str, np.ndarray]
    """Each is read from the disk when it is asked for."""


@dataclass
class Checkpoints:
    """The checkpoints of one job."""

    folder: Path
    job: bytes
    """The job's question (`shared.job.Job.question`)."""
    every: Every

    def steps_left(self, step: int) -> int | None:
        """Steps from step number `step` (of all epochs) to the next checkpoint; None if it comes at the epoch's end."""
        return self.every - step % self.every if isinstance(self.every, int) else None

    def write(self, progress: Progress, arrays: Arrays) -> None:
        """Writes a checkpoint in place of the one before. Raises OSError if the disk does not take it: the one before
        is still there then."""
        self.folder.mkdir(exist_ok=True)
        partial = self.folder / "partial"
        try:
            with partial.open("wb") as file:
                _write_arrays(zipfile.ZipFile(file, "w"), progress, arrays)
                file.flush()
                os.fsync(file.fileno())
            whole = self.folder / f"{len(progress.step_loss):09}-{self._hash(partial)}.npz"
            partial.replace(whole)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        flush(self.folder)
        for other in self.folder.glob("*.npz"):
            if other != whole:
                other.unlink()

    def read(self) -> tuple[Found | None, list[Path]]:
        """Returns the latest checkpoint that is whole and of this job, if there is one, and the files that are not."""
        refused: list[Path] = []
        for file in sorted(self.folder.glob("*.npz"), reverse=True):
            try:
                if file.stem.split("-")[-1] == self._hash(file):
                    arrays = np.load(file, allow_pickle=False)
                    return Found(from_json(arrays[PROGRESS].tobytes(), Progress), arrays), refused
            except (OSError, ValueError):
                pass
            refused.append(file)
        return None, refused

    def count_interruption(self) -> int:
        """Counts that the training goes on from a checkpoint, as far as the disk has room. Returns how often it did,
        now included."""
        counted = self.folder / INTERRUPTIONS
        before = counted.stat().st_size if counted.is_file() else 0
        with suppress(OSError), counted.open("ab") as file:
            file.write(b".")
            file.flush()
            os.fsync(file.fileno())
        return before + 1

    def remove(self) -> None:
        """Removes every checkpoint of the job."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _hash(self, file: Path) -> str:
        digest = hashlib.sha256(self.job)
        with file.open("rb") as stream:
            while piece := stream.read(2**20):
                digest.update(piece)
        return digest.hexdigest()


def _write_arrays(archive: zipfile.ZipFile, progress: Progress, arrays: Arrays) -> None:
    """Writes what `numpy.savez` would, one array in memory at a time."""
    told = np.frombuffer(to_json(progress).encode(), np.uint8)
    with archive:
        for name, array in chain([(PROGRESS, told)], arrays):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
