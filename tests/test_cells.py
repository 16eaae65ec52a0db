"""Cells through the real command line in this process, each worker imitated: what is answered, kept, noted and said."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace

import benchmarks.cells.answer as answering
from benchmarks import run as command
from benchmarks.cells import plan
from benchmarks.workers.environments import find_environments
from shared.answer import Trained
from shared.files import to_json
from shared.job import ANSWER, ARRAYS, ERROR, Job, spare_folder
from shared.records import read_records
from tests.data import write
from tests.factories import answer, epoch

TOY = ("--backend", "gluon", "--model", "random:bert-tiny", "--max-len", "16", "--threads", "1", "--device", "cpu")
BUILT_IN = (*TOY, "--task", "acceptability", "--limit", "20")

Worker = Callable[[Job, Path], Trained]

environments = cache(lambda: find_environments(["gluon"], {}))


class Shown(NamedTuple):
    """A finished command."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Shown]:
    """Runs benchmarks.run with this worker, which leaves its answer in the job's folder or the spare one."""

    def run(worker: Worker, *arguments: str | Path) -> Shown:
        def run_worker(python: Path, folder: Path, threads: int, on_event: Any, kind: Any) -> Trained:
            found = worker(Job.read(folder), folder)
            if not (spare_folder(folder) / ANSWER).is_file():
                (folder / ANSWER).write_text(to_json(found))
            return found

        monkeypatch.setattr(answering, "run_worker", run_worker)
        monkeypatch.setattr(plan, "find_environments", lambda *asked: environments())  # asking takes a second
        monkeypatch.setattr(answering, "matrix_product_rate", lambda threads: 1e9)
        monkeypatch.setattr(answering, "memory_bandwidth", lambda threads: 1e9)
        with pytest.raises(SystemExit) as end:
            command.main([*map(str, arguments), "--out", str(tmp_path / "out")])
        code = end.value.code
        assert isinstance(code, int)
        return Shown(code, *capsys.readouterr())

    return run


def trained(job: Job, folder: Path, accuracy: float = 0.9, test: float | None = 0.9) -> Trained:
    """A worker that learned well."""
    np.savez(folder / ARRAYS, dev=np.zeros((20, 2), np.float32))
    if job.save:
        (Path(job.save)).mkdir(parents=True)
    return answer([epoch(10.0, accuracy)], test=test)


def diverging(job: Job, folder: Path) -> Trained:
    """A worker whose training diverged."""
    np.savez(folder / ARRAYS)
    losses = {"step_loss": [0.7, 0.6], "step_accuracy": [0.5, 0.5]}
    return replace(answer(), epochs=[], kept_epoch=0, test=None, diverged=3, **losses)


def unreachable(job: Job, folder: Path) -> Trained:
    raise AssertionError("a cell was run")


# --- trainings that diverge


def test_a_cell_that_diverged_is_told_and_not_run_again(run: Callable[..., Shown], tmp_path: Path) -> None:
    saving = (*BUILT_IN, "--save", tmp_path / "saved")
    first = run(diverging, *saving)
    again = run(unreachable, *saving)
    title = "acceptability gluon len 16 batch 32 seed 1"
    said = "benchmarks.run: 1 cells diverged and have no score; pass another --learning-rate: "
    assert (first.code, first.err) == (again.code, again.err) == (1, f"{said}{title} diverged at step 3\n")
    assert "    diverged at step 3: a loss, a logit or a weight is NaN or infinite, and nothing is scor" in first.out
    assert "1 cells: 1 answered already" in again.out
    for shown in (first.out, again.out, (tmp_path / "out" / "table.md").read_text()):
        assert "diverged at step 3" in shown
    assert not (tmp_path / "saved").exists()
    (record,) = read_records(tmp_path / "out")
    assert (record.answer.diverged, record.scores("dev"), record.work) == (3, None, None)


def test_beside_a_cell_that_diverged_others_are_scored(run: Callable[..., Shown], tmp_path: Path) -> None:
    def worker(job: Job, folder: Path) -> Trained:
        return diverging(job, folder) if job.recipe.seed == 2 else trained(job, folder)

    shown = run(worker, *BUILT_IN, "--seed", "1", "2", "3")
    assert shown.code == 1
    assert "seed 2 diverged at step 3" in shown.out
    assert len(read_records(tmp_path / "out")) == 3
    sound = run(unreachable, *BUILT_IN, "--seed", "1", "3")
    assert (sound.code, sound.err) == (0, "")


# --- notes


def cola(folder: Path, train: list[int], dev: list[int], words: int = 3) -> Path:
    """CoLA's files with these labels."""

    def lines(labels: list[int]) -> str:
        return "".join(f"x{n}\t{label}\t\t{'word ' * words}{n}.\n" for n, label in enumerate(labels))

    made = {"in_domain_train": lines(train), "in_domain_dev": lines(dev), "out_of_domain_dev": lines([0, 1] * 9)}
    write(folder / "CoLA" / "raw", {f"{name}.tsv": text for name, text in made.items()})
    return folder


def notes_of(run: Callable[..., Shown], tmp_path: Path, worker: Worker, *arguments: str | Path) -> list[str]:
    """The notes in the output, which are those of the record."""
    shown = run(worker, *TOY, "--task", "cola", "--data-dir", tmp_path, *arguments)
    assert shown.code == 0, shown
    lines = [line.removeprefix("    note: ") for line in shown.out.splitlines() if line.startswith("    note: ")]
    (record,) = read_records(tmp_path / "out")
    assert [note.line for note in record.notes] == lines
    kept = json.loads(next((tmp_path / "out" / "records").glob("*.json")).read_text())["notes"]
    assert [note["kind"] for note in kept] == [note.kind for note in record.notes]
    return lines


def test_data_that_says_little_is_noted(run: Callable[..., Shown], tmp_path: Path) -> None:
    cola(tmp_path, train=[1] * 20, dev=[1] * 24 + [0])
    assert notes_of(run, tmp_path, trained) == [
        "train: every row has the label 'acceptable', so there is nothing to tell apart",
        "dev: 96.0 % of the rows have the label 'acceptable', so accuracy says little",
        "dev: accuracy 0.900 is not above that of always answering 'acceptable'",
    ]


def test_rows_that_are_cut_are_noted(run: Callable[..., Shown], tmp_path: Path) -> None:
    cola(tmp_path, train=[0, 1] * 10, dev=[0, 1] * 10, words=14)  # two special tokens, a number and a full stop
    cut = "100.0 % of the rows are longer than max_len and are cut"
    assert notes_of(run, tmp_path, trained) == [f"train: {cut}", f"dev: {cut}", f"test: {cut}"]


def test_a_majority_result_is_noted(run: Callable[..., Shown], tmp_path: Path) -> None:
    cola(tmp_path, train=[0, 1] * 10, dev=[0, 1] * 10)

    def worker(job: Job, folder: Path) -> Trained:
        return trained(job, folder, accuracy=0.9, test=0.5)

    (note,) = notes_of(run, tmp_path, worker)
    assert note == "test: accuracy 0.500 is not above that of always answering 'unacceptable'"


def test_usual_data_has_no_notes(run: Callable[..., Shown], tmp_path: Path) -> None:
    cola(tmp_path, train=[0, 1] * 10, dev=[0, 1] * 10)
    assert notes_of(run, tmp_path, trained) == []


def test_a_note_of_the_data_is_printed_once(run: Callable[..., Shown], tmp_path: Path) -> None:
    cola(tmp_path, train=[1] * 20, dev=[0, 1] * 10)
    shown = run(trained, *TOY, "--task", "cola", "--data-dir", tmp_path, "--seed", "1", "2", "3")
    assert shown.out.count("note: train: every row has the label 'acceptable'") == 1
    assert [len(record.notes) for record in read_records(tmp_path / "out")] == [1, 1, 1]


# --- disks


def full(*arguments: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def spares(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_a_record_that_finds_no_room_is_kept_elsewhere(
    run: Callable[..., Shown], tmp_path: Path, spares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record, out = answering.write_record, tmp_path / "out"

    def onto_a_full_disk(place: Path, *others: Any) -> None:
        full() if place == out else write_record(place, *others)

    monkeypatch.setattr(answering, "write_record", onto_a_full_disk)
    shown = run(trained, *BUILT_IN)
    assert shown.code == 1
    assert "    test loss 0.500, accuracy 0.900, mcc 0.800, f1 1.000; " in shown.out
    (kept,) = spares.iterdir()
    assert (
        f"      {out} cannot take the record (No space left on device): it is kept in {kept}/records; make room, and "
        f"copy that folder's files into {out}/records\n"
    ) in shown.out
    assert shown.err == "benchmarks.run: 1 of 1 cells failed\n"
    monkeypatch.undo()
    shutil.copytree(kept / "records", out / "records", dirs_exist_ok=True)
    assert len(read_records(out)) == 1


def test_an_answer_left_elsewhere_is_taken(run: Callable[..., Shown], tmp_path: Path, spares: Path) -> None:
    def worker(job: Job, folder: Path) -> Trained:
        spare = spare_folder(folder)
        spare.mkdir()
        found = trained(job, spare)
        (spare / ANSWER).write_text(to_json(found))
        return found

    shown = run(worker, *BUILT_IN)
    assert (shown.code, shown.err) == (0, "")
    assert len(read_records(tmp_path / "out")) == 1
    assert list(spares.iterdir()) == []


def test_scores_outlive_a_model_that_finds_no_room(run: Callable[..., Shown], tmp_path: Path) -> None:
    def worker(job: Job, folder: Path) -> Trained:
        (folder / ERROR).write_text("[Errno 28] No space left on device")
        return trained(dataclasses.replace(job, save=None), folder)

    shown = run(worker, *BUILT_IN, "--save", tmp_path / "saved")
    assert shown.code == 1
    assert f"the model could not be saved in {tmp_path / 'saved'}: [Errno 28] No space left on device\n" in shown.out
    assert "test loss 0.500" in shown.out
    assert len(read_records(tmp_path / "out")) == 1
    again = run(trained, *BUILT_IN, "--save", tmp_path / "saved")  # trains again, to save it
    assert "1 cells: 0 answered already" in again.out
    assert again.code == 0


@pytest.mark.parametrize(("option", "free"), [("--out", 100_000), ("--save", 5_000_000)])
def test_a_disk_without_room_is_refused_before_training(
    run: Callable[..., Shown], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, free: int
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=free))
    shown = run(unreachable, *BUILT_IN, "--save", tmp_path / "saved", "--seed", "1", "2")
    folder = tmp_path / option.removeprefix("--").replace("save", "saved")
    assert shown.code == 2
    assert shown.err.startswith(f"benchmarks.run: error: {option} {folder}: 2 cells need ")
    assert shown.err.endswith(
        f" MiB, and the disk has {free / 2**20:,.0f} MiB left; make room, or pass another folder\n"
    )
