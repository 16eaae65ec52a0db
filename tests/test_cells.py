"""Cells through the real command line in this process, each worker imitated: what is answered, kept, noted and said."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace

import benchmarks.cells.running as running
import benchmarks.workers.measured as measured
from benchmarks import run as command
from benchmarks.cells import comparison, engine
from benchmarks.reporting import record_tables
from benchmarks.workers.environments import find_environments
from benchmarks.workers.launcher import Killed
from shared.answer import Trained
from shared.checkpoint.weights import WEIGHTS
from shared.encoding import read_encoded
from shared.errors import ProcessFailed
from shared.files import to_json
from shared.job import ANSWER, ARRAYS, CHECKPOINT, ERROR, EVENTS, Job, spare_folder
from shared.records import read_records
from tests.checkpoints import write_classifier
from tests.data import write
from tests.factories import answer, epoch

TOY = ("--backend", "gluon", "--model", "random:bert-tiny", "--max-len", "16", "--threads", "1", "--device", "cpu")
BUILT_IN = (*TOY, "--task", "acceptability", "--limit", "20")

Worker = Callable[[Job, Path], Trained]

environments = cache(lambda: find_environments(["gluon", "torch"], {}))


class Shown(NamedTuple):
    """A finished command."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Shown]:
    """Runs benchmarks.run with this worker, which leaves its answer in the job's folder or the spare one."""

    def run(worker: Worker, *arguments: str | Path) -> Shown:
        def run_worker(python: Path, folder: Path, threads: int, on_event: Any, kind: Any, **others: Any) -> Trained:
            found = worker(Job.read(folder), folder)
            if not (spare_folder(folder) / ANSWER).is_file():
                (folder / ANSWER).write_text(to_json(found))
            return found

        monkeypatch.setattr(measured, "run_worker", run_worker)
        monkeypatch.setattr(engine, "find_environments", lambda *asked: environments())  # asking takes a second
        monkeypatch.setattr(measured, "matrix_product_rate", lambda threads: 1e9)
        monkeypatch.setattr(measured, "memory_bandwidth", lambda threads: 1e9)
        with pytest.raises(SystemExit) as end:
            command.main([*map(str, arguments), "--out", str(tmp_path / "out")])
        code = end.value.code
        assert isinstance(code, int)
        return Shown(code, *capsys.readouterr())

    return run


def trained(job: Job, folder: Path, accuracy: float = 0.9, test: float | None = 0.9) -> Trained:
    """A worker that learned well."""
    np.savez(folder / ARRAYS, dev=np.zeros((len(read_encoded(Path(job.data))["dev"]), 2), np.float32))
    if job.save:
        write_classifier(Path(job.save))
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


# --- tables


def test_tables_of_the_same_records_are_not_written_again(run: Callable[..., Shown], tmp_path: Path) -> None:
    """They are if anything about them or the records is other."""
    out = tmp_path / "out"
    seeds = ("--seed", "1", "2")
    run(trained, *BUILT_IN, *seeds)
    table, kept = out / "table.md", sorted((out / "records").glob("*.json"))
    text = table.read_text()

    def written_again() -> bool:
        before = table.stat().st_ino if table.exists() else None
        shown = run(unreachable, *BUILT_IN, "--seed", "2")
        assert "Quality" in shown.out
        return table.stat().st_ino != before

    assert [written_again(), written_again()] == [False, False]
    table.write_text("edited")
    assert written_again()
    assert table.read_text() == text
    (out / "table.csv").unlink()
    assert written_again()
    date = kept[0].stat().st_mtime_ns
    kept[0].write_bytes(kept[0].read_bytes())
    os.utime(kept[0], ns=(date, date))
    assert written_again()
    (out / "pictures").mkdir()
    (out / "pictures" / "a.png").touch()
    assert written_again()
    assert not written_again()
    other = next(path for path in kept if '"seed":2' not in path.read_text())
    other.unlink()
    assert written_again()
    assert table.read_text() != text
    (out / "records" / "bad.json").write_text("{}")
    assert [written_again(), written_again()] == [True, True]  # so that it is named each time


def test_a_long_table_is_not_printed_again(run: Callable[..., Shown], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file has it. What ran is shown, as many rows as can be read."""
    monkeypatch.setattr(comparison, "PRINTED_ROWS", 2)
    monkeypatch.setattr(record_tables, "PRINTED_ROWS", 2)
    rates = ("--learning-rate", "1e-5", "2e-5", "3e-5")
    first = run(trained, *BUILT_IN, *rates)
    assert first.out.count("the first 2 of 3 rows; the file has all\n") == 2
    again = run(unreachable, *BUILT_IN, *rates)
    assert "Quality" not in again.out
    assert "table.md and table.csv hold every record of" in again.out
    assert "Quality" in run(unreachable, *BUILT_IN, *rates[:3]).out


# --- disks


def full(*arguments: Any, **others: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def spares(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_an_answer_whose_record_finds_no_room_is_taken_up(
    run: Callable[..., Shown], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "write_record", full)
    shown = run(trained, *BUILT_IN)
    assert shown.code == 1
    assert "    test loss 0.500, accuracy 0.900, mcc 0.800, f1 1.000; " in shown.out
    out = tmp_path / "out"
    (folder,) = (out / "jobs").iterdir()
    assert (
        f"      {out} cannot take the record (No space left on device): make room, and the same command takes it from "
        f"{folder}\n"
    ) in shown.out
    assert shown.err == "benchmarks.run: 1 of 1 cells failed\n"
    monkeypatch.undo()
    again = run(unreachable, *BUILT_IN)
    assert (again.code, again.err) == (0, "")
    assert len(read_records(out)) == 1
    assert list((out / "jobs").iterdir()) == []


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


@pytest.mark.parametrize(
    ("option", "free", "also"),
    [("--out", 100_000, ()), ("--save", 25_000_000, ()), ("--out", 50_000_000, ("--checkpoint-every", "epoch"))],
)
def test_a_disk_without_room_is_refused_before_training(
    run: Callable[..., Shown],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    free: int,
    also: tuple[str, ...],
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=free))
    shown = run(unreachable, *BUILT_IN, *also, "--save", tmp_path / "saved", "--seed", "1", "2")
    folder = tmp_path / option.removeprefix("--").replace("save", "saved")
    assert shown.code == 2
    assert shown.err.startswith(f"benchmarks.run: error: {option} {folder}: 2 cells need ")
    assert shown.err.endswith(
        f" MiB, and the disk has {free / 2**20:,.0f} MiB left; make room, or pass another folder\n"
    )


# --- answers that were left by a run that ended


def left_behind(run: Callable[..., Shown], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    """A run that is interrupted in the moment between answer and record."""

    def interrupt(*others: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(running, "read_trained", interrupt)
        assert run(trained, *arguments).code == 130


def test_an_answer_that_an_interruption_left_is_taken_up(
    run: Callable[..., Shown], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "saved"
    left_behind(run, monkeypatch, *BUILT_IN, "--save", saved)
    again = run(unreachable, *BUILT_IN, "--save", saved)
    assert (again.code, again.err) == (0, "")
    assert "    answered by a run that was interrupted\n    test loss 0.500, " in again.out
    (record,) = read_records(tmp_path / "out")
    assert record.circumstances.worker_seconds is not None
    assert record.circumstances.matrix_product_flops_after is None
    names = sorted(path.name for path in (saved / record.id).iterdir())
    assert names == ["README.md", "config.json", WEIGHTS, "vocab.txt"]
    assert list((tmp_path / "out" / "jobs").iterdir()) == []
    assert (tmp_path / "out" / "table.md").is_file()


def test_an_answer_whose_runner_saw_no_end_is_taken_up(
    run: Callable[..., Shown], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures that were not measured are left open."""

    def killed(job: Job, folder: Path) -> Trained:
        (folder / ANSWER).write_text(to_json(trained(job, folder)))
        raise KeyboardInterrupt

    assert run(killed, *BUILT_IN).code == 130
    assert run(unreachable, *BUILT_IN).code == 0
    (record,) = read_records(tmp_path / "out")
    circumstances = record.circumstances
    assert circumstances.matrix_product_flops_before == 1e9
    assert circumstances.worker_seconds is None
    assert circumstances.cores_busy_with_others is None
    assert record.work is not None


@pytest.mark.parametrize("file", ["job.json", ANSWER, ARRAYS, "circumstances.json"])
@pytest.mark.parametrize("content", [None, "", "{}", "[1"])
def test_what_is_left_of_an_answer_is_not_taken_up(
    run: Callable[..., Shown], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str | None
) -> None:
    left_behind(run, monkeypatch, *BUILT_IN)
    (folder,) = (tmp_path / "out" / "jobs").iterdir()
    (folder / file).unlink() if content is None else (folder / file).write_text(content)
    ran = run(trained, *BUILT_IN)
    assert ran.code == 0
    assert "interrupted" not in ran.out
    assert len(read_records(tmp_path / "out")) == 1


def test_the_answer_to_another_job_is_not_taken_up(
    run: Callable[..., Shown], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(run, monkeypatch, *BUILT_IN)
    (folder,) = (tmp_path / "out" / "jobs").iterdir()
    job = Job.read(folder)
    dataclasses.replace(job, recipe=dataclasses.replace(job.recipe, seed=7)).write(folder)
    assert "interrupted" not in run(trained, *BUILT_IN).out


def test_a_rerun_takes_nothing_up(run: Callable[..., Shown], monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind(run, monkeypatch, *BUILT_IN)
    assert "interrupted" not in run(trained, *BUILT_IN, "--rerun").out


def test_a_checkpoint_stays_for_the_worker(run: Callable[..., Shown], tmp_path: Path) -> None:
    """Nothing else of the former worker does, and no checkpoint of a job that is to keep none."""
    found: list[list[str]] = []

    def killed(job: Job, folder: Path) -> Trained:
        found.append(sorted(path.name for path in folder.iterdir()))
        write(folder / CHECKPOINT, {"step": ""})
        write(folder, {EVENTS: "old", ERROR: "old", "worker.log": "old"})
        raise KeyboardInterrupt

    keeping = ("--checkpoint-every", "epoch")
    for arguments in (keeping, (*keeping, "--save", tmp_path / "saved"), ()):
        assert run(killed, *BUILT_IN, "--backend", "torch", *arguments).code == 130
    known = ["circumstances.json", "job.json"]
    assert found == [known, [CHECKPOINT, *known], known]


# --- models


def test_a_model_that_finds_no_room_is_given_its_place_later(
    run: Callable[..., Shown], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving = (*BUILT_IN, "--save", tmp_path / "saved")
    with monkeypatch.context() as patch:
        patch.setattr(running, "whole_folder", full)
        first = run(trained, *saving)
    (folder,) = (tmp_path / "out" / "jobs").iterdir()
    assert first.code == 1
    assert (
        f"      the model could not be saved in {tmp_path / 'saved'}: No space left on device; make room, and the same "
        f"command takes it from {folder}\n"
    ) in first.out
    (record,) = read_records(tmp_path / "out")
    again = run(unreachable, *saving)
    assert again.code == 0
    assert (tmp_path / "saved" / record.id / WEIGHTS).is_file()
    assert read_records(tmp_path / "out") == [record]
    assert list((tmp_path / "out" / "jobs").iterdir()) == []


def test_a_model_left_elsewhere_is_given_its_place(run: Callable[..., Shown], tmp_path: Path, spares: Path) -> None:
    def worker(job: Job, folder: Path) -> Trained:
        write(spare_folder(folder) / "model", {"config.json": "{}", WEIGHTS: ""})
        return trained(dataclasses.replace(job, save=None), folder)

    assert run(worker, *BUILT_IN, "--save", tmp_path / "saved").code == 0
    (place,) = (tmp_path / "saved").iterdir()
    assert (place / WEIGHTS).is_file()
    assert list(spares.iterdir()) == []


def test_a_place_that_something_else_has_is_refused_before_training(run: Callable[..., Shown], tmp_path: Path) -> None:
    saving = (*BUILT_IN, "--save", tmp_path / "saved")
    assert run(trained, *saving).code == 0
    (place,) = (tmp_path / "saved").iterdir()
    for something in ("file", "folder", "half a model", "dangling link"):
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        if something == "file":
            place.write_text("")
        elif something == "dangling link":
            place.symlink_to("nowhere")
        else:
            write(place, {"config.json" if something == "half a model" else "notes.txt": "{}"})
        shown = run(unreachable, *saving)
        assert shown.code == 2, something
        assert shown.err == (
            f"benchmarks.run: error: --save {tmp_path / 'saved'}: {place} exists and is no saved model; remove it, or "
            "pass another folder\n"
        )
    place.unlink()
    place.mkdir()  # an empty folder is no model, and in nobody's way
    assert run(trained, *saving).code == 0
    assert (place / WEIGHTS).is_file()


# --- failures


def failing(reason: str, *tail: str, kind: type[ProcessFailed] = ProcessFailed, refused: bool = False) -> Worker:
    """A worker that fails."""

    def worker(job: Job, folder: Path) -> Trained:
        raise kind(reason, tail, refused)

    return worker


def test_a_cell_that_failed_runs_again_with_retry_alone(run: Callable[..., Shown], tmp_path: Path) -> None:
    title = "acceptability gluon len 16 batch 32 seed 1"
    assert run(failing("it crashed", "first", "last"), *BUILT_IN).code == 1
    (file,) = (tmp_path / "out" / "failed").iterdir()
    kept = json.loads(file.read_text())
    assert (kept["title"], kept["reason"], kept["tail"]) == (title, "it crashed", ["first", "last"])
    again = run(unreachable, *BUILT_IN)
    assert again.code == 1
    assert (
        "1 cells: 0 answered already (--rerun runs them again), 1 failed before (--retry runs them again), 0 to ru"
        in (again.out)
    )
    assert again.err == f"benchmarks.run: 1 cells failed before; pass --retry to run them again: {title}: it crashed\n"
    retried = run(trained, *BUILT_IN, "--seed", "1", "2", "--retry")
    assert (retried.code, retried.err) == (0, "")
    assert [record.recipe.seed for record in read_records(tmp_path / "out")] == [1]
    assert not file.exists()


@pytest.mark.parametrize("content", ["", "{}", "[" * 10**5, "x" * 2**21])
def test_a_failure_that_is_broken_says_nothing(run: Callable[..., Shown], tmp_path: Path, content: str) -> None:
    assert run(failing("it crashed"), *BUILT_IN).code == 1
    (file,) = (tmp_path / "out" / "failed").iterdir()
    file.write_text(content)
    assert run(trained, *BUILT_IN).code == 0


@pytest.mark.parametrize("worker", [failing("killed", kind=Killed), failing("thing; remedy", refused=True)])
def test_a_cell_that_was_killed_or_refused_is_tried_again(run: Callable[..., Shown], worker: Worker) -> None:
    assert run(worker, *BUILT_IN).code in (1, 2)
    assert run(trained, *BUILT_IN).code == 0


def test_after_failures_that_are_alike_the_others_are_left_out(run: Callable[..., Shown]) -> None:
    seeds = ("--seed", *map(str, range(1, 8)))
    shown = run(failing("no room"), *BUILT_IN, *seeds)
    assert shown.code == 1
    assert shown.out.count("FAILED gluon: no room") == 3
    assert (
        "      3 cells of gluon failed alike, one after another: its others are left out; mend the cause, or pass "
        "--max-failures\n"
    ) in shown.out
    assert shown.err == "benchmarks.run: 3 of 3 cells failed, and 4 were left out\n"


def test_failures_that_differ_do_not_stop_a_sweep(run: Callable[..., Shown]) -> None:
    def worker(job: Job, folder: Path) -> Trained:
        if job.recipe.seed % 3 == 0:
            return trained(job, folder)
        raise ProcessFailed("odd" if job.recipe.seed > 6 and job.recipe.seed % 2 else "same")

    seeds = ("--seed", *map(str, range(1, 10)))
    assert run(worker, *BUILT_IN, *seeds).err == "benchmarks.run: 6 of 9 cells failed\n"
    shown = run(failing("same"), *BUILT_IN, *seeds, "--retry", "--max-failures", "0")
    assert "benchmarks.run: 6 of 6 cells failed\n" in shown.err


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"dev": np.zeros((20, 3), np.float32)}, "'dev' is float32 [20, 3]"),
        ({"dev": np.zeros((20, 2), np.int64)}, "'dev' is int64 [20, 2]"),
        ({"dev": np.zeros((20, 2), object)}, "'dev' is object [20, 2]"),
        ({"other": np.zeros((20, 2), np.float32)}, "'other' is float32 [20, 2]"),
        (b"", "File is not a zip file"),
        (b"PK", "File is not a zip file"),
    ],
)
def test_arrays_that_do_not_fit_fail_their_cell_alone(
    run: Callable[..., Shown], tmp_path: Path, arrays: dict[str, np.ndarray] | bytes, said: str
) -> None:
    def worker(job: Job, folder: Path) -> Trained:
        found = trained(job, folder)
        if job.recipe.seed == 1:
            (folder / ARRAYS).write_bytes(arrays) if isinstance(arrays, bytes) else np.savez(
                folder / ARRAYS,
                **arrays,  # type: ignore[arg-type]
            )
        return found

    shown = run(worker, *BUILT_IN, "--seed", "1", "2")
    assert shown.code == 1
    assert f"    FAILED gluon: the answer's arrays.npz is broken ({said})\n" in shown.out
    assert [record.recipe.seed for record in read_records(tmp_path / "out")] == [2]


@pytest.mark.parametrize("changed", [{"predictions": {"dev": [0] * 19}}, {"predictions": {"dev": [2] * 20}}])
def test_an_answer_that_does_not_fit_fails_its_cell(run: Callable[..., Shown], changed: dict[str, Any]) -> None:
    shown = run(lambda job, folder: replace(trained(job, folder), **changed), *BUILT_IN)
    assert (shown.code, shown.err) == (1, "benchmarks.run: 1 of 1 cells failed\n")
