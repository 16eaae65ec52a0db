"""A worker whose disk is full: training goes on, and the answer is left elsewhere."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends.worker as worker
from shared.answer import Loaded, Trained
from shared.errors import InputError
from shared.files import from_json
from shared.job import ANSWER, ARRAYS, ERROR, EVENTS, Job, spare_folder
from shared.recipe import Recipe
from tests.factories import answer

FULL = Path("/dev/full")
"""Every write to it finds no space left."""


class Weightless:
    """A model without weights."""

    def weights(self) -> dict[str, np.ndarray]:
        return {}


LOADED = Loaded(import_seconds=1.0, load_seconds=1.0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job's folder; the folder for temporary files is beside it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "job").mkdir()
    Job("train", "gluon", "toy", ("0", "1"), ("accuracy",), "data", "folder", Recipe(), "cpu", 1).write(
        tmp_path / "job"
    )
    return tmp_path / "job"


def imitate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the work itself telling of progress, and answering."""

    def work(job: Job, folder: Path, on_event: Any) -> Any:
        for _ in range(3):
            on_event(LOADED)
        return answer(), {"dev": np.ones((2, 2), np.float32)}, lambda: None

    monkeypatch.setattr(worker, "_answer", work)


def test_on_a_disk_with_room_the_folder_has_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imitate(monkeypatch)
    worker.run_job(folder)
    assert len((folder / EVENTS).read_text().splitlines()) == 3
    assert from_json((folder / ANSWER).read_bytes(), Trained) == answer()
    assert not spare_folder(folder).exists()


@pytest.mark.parametrize("taken", [ARRAYS, ANSWER])
def test_on_a_full_disk_the_answer_is_left_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch, taken: str) -> None:
    """Progress is no longer told, and the training does not end by it."""
    imitate(monkeypatch)
    (folder / EVENTS).symlink_to(FULL)
    if taken == ARRAYS:
        (folder / ARRAYS).symlink_to(FULL)
    else:
        (folder / ANSWER).mkdir()  # nothing can take its place
    worker.run_job(folder)
    spare = spare_folder(folder)
    assert from_json((spare / ANSWER).read_bytes(), Trained) == answer()
    with np.load(spare / ARRAYS) as arrays:
        assert arrays["dev"].shape == (2, 2)


def test_a_model_that_finds_no_room_is_left_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_folder(target: Path, *arguments: Any) -> None:
        if target.is_relative_to(folder):
            raise OSError(errno.ENOSPC, "No space left on device")
        target.mkdir(parents=True)

    monkeypatch.setattr(worker, "read_architecture", lambda *arguments: None)
    monkeypatch.setattr(worker, "write_folder", write_folder)
    worker._save(Job.read(folder), folder / "model", Weightless(), folder)  # type: ignore[arg-type]
    assert (spare_folder(folder) / "model").is_dir()
    assert not (folder / ERROR).exists()


def test_a_model_that_cannot_be_saved_leaves_the_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = OSError(errno.ENOSPC, "No space left on device"), InputError("DIR exists and is no saved model; remove it")
    monkeypatch.setattr(worker, "read_architecture", lambda *arguments: None)
    for error in errors:

        def fail(*arguments: Any, raised: Exception = error) -> None:
            raise raised

        monkeypatch.setattr(worker, "write_folder", fail)
        worker._save(Job.read(folder), folder / "model", Weightless(), folder)  # type: ignore[arg-type]
        assert (folder / ERROR).read_text() == str(error)
