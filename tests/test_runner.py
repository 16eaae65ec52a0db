"""benchmarks.run from end to end: the real command line, real workers in the backends' own environments, a built-in
task and a tiny model with random weights."""

from __future__ import annotations

import io
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import psutil
import pytest
from huggingface_hub import ModelCard
from rich.console import Console
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score, log_loss, matthews_corrcoef

from backends import BACKENDS
from benchmarks.cells.model_card import CARD
from benchmarks.cells.plan import Request, plan_questions
from benchmarks.parity.rungs import STEEP_STEPS
from benchmarks.port.pack import make_pack
from benchmarks.port.reference import Reference
from benchmarks.port.task_rows import of_task
from benchmarks.port.values import Values
from benchmarks.workers.environments import CHECKOUT, find_environment, find_python, worker_settings
from benchmarks.workers.launcher import run_worker
from benchmarks.workers.progress import RunProgress
from shared.answer import Loaded, Predicted, Recorded, Stepped
from shared.batching import total_steps
from shared.checkpoint.config import read_architecture
from shared.checkpoint.saved import is_saved
from shared.checkpoint.sources import resolve_model
from shared.checkpoint.weights import checkpoint_hash, first_weights
from shared.encoding import encode, read_encoded
from shared.flops import optimizer_bytes, training_flops
from shared.job import ARRAYS, ERROR, EVENTS, RECORDING, Job
from shared.recipe import Recipe
from shared.records import Circumstances, Record, cell_id, read_records, record_path
from shared.tasks import Rows, get_task
from tests.opened import Opened, opened
from tests.processes import ended, wait_until, workers_of

T = TypeVar("T")

ROWS = 30
RECIPE = Recipe(max_len=16, batch_size=4, epochs=6, learning_rate=3e-3, dropout=0.0)
"""At this rate so small a model learns its few rows by heart, and what it predicts of others varies."""

TOY = ("--task", "acceptability", "--model", "random:bert-tiny", "--max-len", "16", "--threads", "1", "--device", "cpu")
MAIN = (
    *(*TOY, "--batch-size", "4", "--epochs", "6", "--learning-rate", "3e-3", "--dropout", "0"),
    *("--limit", str(ROWS)),
)

LOSS_BOUND = 2e-5
"""The most that losses of any two backends differ over all 48 steps. Float32 rounding grows to 3e-6 at so steep a rate.
The least of mistakes, GELU's tanh approximation, moves a loss by 2e-4, and another seed by 0.5."""


def command(*arguments: str | Path, module: str = "benchmarks.run") -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]


def run(*arguments: str | Path, module: str = "benchmarks.run") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, module=module), capture_output=True, text=True, env=variables(), cwd=CHECKOUT
    )


def variables() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(CHECKOUT)}


def records_of(out: Path) -> dict[str, Record]:
    """Records by backend."""
    return {record.asked.backend: record for record in read_records(out)}


def arrays_of(out: Path, record: Record) -> dict[str, np.ndarray]:
    with np.load(out / "records" / f"{record.id}.npz") as arrays:
        return dict(arrays)


def rows_of(split: str) -> Rows:
    return get_task("acceptability").load(None)[split].head(ROWS)


def labels_of(split: str) -> np.ndarray:
    return np.array(rows_of(split).labels)


@dataclass
class Done:
    """The main run, on all backends."""

    out: Path
    saved: Path
    stdout: str

    @property
    def records(self) -> dict[str, Record]:
        return records_of(self.out)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    out, saved = tmp_path_factory.mktemp("run") / "out", tmp_path_factory.mktemp("saved")
    finished = run("--backend", "all", *MAIN, "--out", out, "--save", saved)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stderr == ""
    return Done(out, saved, finished.stdout)


@pytest.fixture
def copy(done: Done, tmp_path: Path) -> Path:
    """The main run's output, to add to or to spoil."""
    return Path(shutil.copytree(done.out, tmp_path / "out"))


# --- the main run


def test_every_backend_answers(done: Done) -> None:
    assert done.records.keys() == BACKENDS.keys()
    cells = len(BACKENDS)
    assert f"{cells} cells: 0 answered already (--rerun runs them again), {cells} to run" in done.stdout
    for number, backend in enumerate(BACKENDS, 1):
        assert f"[{number}/{cells}] acceptability {backend} len 16 batch 4 seed 1" in done.stdout


def test_nothing_is_left_but_records_arrays_and_tables(done: Done) -> None:
    files = sorted(str(path.relative_to(done.out)) for path in done.out.rglob("*") if path.is_file())
    records = [f"records/{record.id}.{ending}" for record in done.records.values() for ending in ("json", "npz")]
    assert files == sorted([*records, "report.html", "table.csv", "table.md"])


def test_without_a_terminal_progress_is_plain_lines(done: Done) -> None:
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    epochs = re.findall(r"^ +epoch \d/6: \d+\.\d s, training loss \d\.\d{3}, dev loss ", done.stdout, re.M)
    assert len(epochs) == 6 * len(BACKENDS)


def test_a_record_holds_the_whole_question(done: Done) -> None:
    for backend, record in done.records.items():
        asked = record.asked
        assert (asked.kind, asked.task, asked.device, asked.threads) == ("train", "acceptability", "cpu", 1)
        assert (asked.precision, asked.compile) == ("float32", False)
        assert asked.recipe == {
            "max_len": 16,
            "batch_size": 4,
            "epochs": 6,
            "learning_rate": 3e-3,
            "dropout": 0.0,
        }
        assert asked.versions == find_environment(backend, {}).versions
        assert len(asked.data) == len(asked.checkpoint) == 64
        assert record.id == cell_id(asked)
        assert record.recipe == RECIPE
        assert record.model == "random:bert-tiny"
        assert record.rows == {"train": ROWS, "dev": ROWS, "test": ROWS}
        assert record.majority == {
            split: np.bincount(labels_of(split)).max() / ROWS for split in ("train", "dev", "test")
        }
    assert len({record.asked.data for record in done.records.values()}) == 1
    assert len({record.asked.checkpoint for record in done.records.values()}) == 1


def test_a_record_holds_times_tokens_and_memory(done: Done) -> None:
    task = get_task("acceptability").load(None)["train"].head(ROWS)
    lengths = read_encoded(encode({"train": task}, resolve_model("random:bert-tiny"), 16, 0))["train"].lengths
    for record in done.records.values():
        answer = record.answer
        assert answer.total_steps == len(answer.step_loss) == len(answer.step_accuracy) == 48
        assert len(answer.epochs) == 6
        for epoch in answer.epochs:
            assert (epoch.steps, epoch.rows) == (8, ROWS)
            assert (epoch.tokens, epoch.padded_tokens) == (lengths.sum(), 16 * ROWS)
            assert epoch.seconds > 0
            assert epoch.dev_seconds > 0
        spent = answer.import_seconds, answer.load_seconds, answer.first_step_seconds, answer.test_seconds
        assert min(spent) > 0
        assert answer.start_seconds > answer.import_seconds + answer.load_seconds
        assert answer.peak_memory_bytes > 2**26


def test_a_record_holds_the_circumstances(done: Done) -> None:
    for backend, record in done.records.items():
        found, circumstances = find_environment(backend, {}), record.circumstances
        assert circumstances.interpreter == found.shown
        assert circumstances.packages == found.packages
        assert circumstances.settings == worker_settings(threads=1)
        assert circumstances.machine.cores == os.cpu_count()
        assert circumstances.machine.memory_bytes == psutil.virtual_memory().total
        assert min(rates_of(circumstances)) > 1e6
        assert min(bandwidths_of(circumstances)) > 1e6
        assert circumstances.cores_busy_with_others is not None
        assert circumstances.cores_busy_with_others >= 0
        assert circumstances.worker_seconds is not None
        assert circumstances.worker_seconds > record.answer.start_seconds


def rates_of(circumstances: Circumstances) -> tuple[float, float]:
    assert circumstances.matrix_product_flops_after is not None
    return circumstances.matrix_product_flops_before, circumstances.matrix_product_flops_after


def bandwidths_of(circumstances: Circumstances) -> tuple[float, float]:
    before, after = circumstances.memory_bandwidth_before, circumstances.memory_bandwidth_after
    assert before is not None
    assert after is not None
    return before, after


def test_a_record_holds_an_epochs_operations_and_its_floor(done: Done) -> None:
    folder = resolve_model("random:bert-tiny")
    architecture = read_architecture(folder, RECIPE, 2)
    lengths = read_encoded(encode({"train": rows_of("train")}, folder, RECIPE.max_len, 0))["train"].lengths
    steps = -(-ROWS // RECIPE.batch_size)
    for record in done.records.values():
        work = record.work
        assert work is not None
        assert work.real_flops == training_flops(architecture, lengths)
        assert work.all_flops == training_flops(architecture, np.full(ROWS, RECIPE.max_len))
        rate, bandwidth = max(rates_of(record.circumstances)), max(bandwidths_of(record.circumstances))
        floor = work.real_flops / rate + steps * optimizer_bytes(architecture, RECIPE) / bandwidth
        assert work.floor_seconds == pytest.approx(floor)
        assert work.times_floor == pytest.approx(np.median(record.answer.steady_epoch_seconds()) / floor)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("split", ["dev", "test"])
def test_logits_predictions_and_scores_belong_together(done: Done, backend: str, split: str) -> None:
    record = done.records[backend]
    logits, labels = arrays_of(done.out, record)[split], labels_of(split)
    assert logits.shape == (ROWS, 2)
    assert logits.dtype == np.float32
    predictions = logits.argmax(axis=1)
    assert 0 < predictions.sum() < ROWS
    assert record.answer.predictions[split] == predictions.tolist()
    scores = record.answer.test if split == "test" else record.answer.epochs[-1].dev
    assert scores == {
        "loss": pytest.approx(log_loss(labels, softmax(logits.astype(np.float64), axis=1))),
        "accuracy": pytest.approx(accuracy_score(labels, predictions)),
        "mcc": pytest.approx(matthews_corrcoef(labels, predictions)),
        "f1": pytest.approx(f1_score(labels, predictions)),
    }


def test_every_backend_received_the_same(done: Done) -> None:
    assert len({record.answer.received for record in done.records.values()}) == 1


def test_without_dropout_every_backend_has_the_same_losses(done: Done) -> None:
    for one, other in itertools.combinations(done.records.values(), 2):
        apart = np.abs(np.subtract(one.answer.step_loss, other.answer.step_loss))
        assert apart.max() < LOSS_BOUND
        assert one.answer.step_accuracy == other.answer.step_accuracy


def test_the_model_learns_its_rows(done: Done) -> None:
    for record in done.records.values():
        epochs = record.answer.epochs
        assert epochs[-1].train_loss < epochs[0].train_loss - 0.05


def test_tables_and_terminal_show_every_backends_scores(done: Done) -> None:
    table = pd.read_csv(done.out / "table.csv").set_index("backend")
    for backend, record in done.records.items():
        scores = record.answer.test
        assert scores is not None
        assert table.loc[backend, "test_mcc"] == pytest.approx(scores["mcc"], abs=1e-5)
        assert table.loc[backend, "seeds"] == 1
        shown = f"{scores['mcc']:.3f}"
        for text in (done.stdout, (done.out / "table.md").read_text(encoding="utf-8")):
            assert any(backend in line and shown in line for line in text.splitlines())


# --- the same command again, and more of it


def test_the_same_command_again_runs_nothing_and_says_so(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    again = run("--backend", "all", *MAIN, "--out", copy)
    assert again.returncode == 0
    cells = len(BACKENDS)
    assert f"{cells} cells: {cells} answered already (--rerun runs them again), 0 to run" in again.stdout
    assert "[1/" not in again.stdout
    assert "Quality" in again.stdout
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_a_report_rebuilds_the_same_tables_from_records(done: Done, copy: Path) -> None:
    for path in (*copy.glob("table.*"), *copy.glob("records/*.npz")):
        path.unlink()
    finished = run(copy, module="benchmarks.report")
    assert finished.returncode == 0
    assert (copy / "table.csv").read_bytes() == (done.out / "table.csv").read_bytes()
    page, pictures = (copy / "table.md").read_text(), sorted((copy / "pictures").glob("*.png"))
    shown = "".join(f"\n![{picture.stem}](pictures/{picture.name})\n" for picture in pictures)
    assert page == (done.out / "table.md").read_text() + shown
    assert {picture.stem.partition("-")[0] for picture in pictures} == {"acceptability"}


def test_another_seed_is_averaged_with_the_first(done: Done, copy: Path) -> None:
    more = run("--backend", "gluon", *MAIN, "--seed", "1", "2", "--out", copy)
    assert more.returncode == 0, more.stdout + more.stderr
    assert "2 cells: 1 answered already (--rerun runs them again), 1 to run" in more.stdout
    records = [record for record in read_records(copy) if record.asked.backend == "gluon"]
    one, other = (record.answer.step_loss for record in records)
    assert np.abs(np.subtract(one, other)).max() > 0.01
    row = pd.read_csv(copy / "table.csv").set_index("backend").loc["gluon"]
    scores = [record.answer.test["accuracy"] for record in records if record.answer.test]
    assert row["seeds"] == 2
    assert row["test_accuracy"] == pytest.approx(np.mean(scores), abs=1e-5)
    assert row["test_accuracy_sd"] == pytest.approx(np.std(scores, ddof=1), abs=1e-5)


def test_rerun_gets_the_same_answer(done: Done, copy: Path) -> None:
    again = run("--backend", "gluon", *MAIN, "--rerun", "--out", copy)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "1 cells: 0 answered already (--rerun runs them again), 1 to run" in again.stdout
    before, after = done.records["gluon"], records_of(copy)["gluon"]
    assert after.circumstances != before.circumstances
    assert_same_answer(done.out, before, copy, after)


def test_a_bad_record_is_kept_and_its_cell_runs_again(done: Done, copy: Path) -> None:
    before = done.records["gluon"]
    bad = record_path(copy, before.id)
    half = bad.read_bytes()[:500]
    bad.write_bytes(half)
    again = run("--backend", "gluon", "torch", *MAIN, "--out", copy)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stderr == f"{bad} is not a record of this project and is left aside; run its cell again\n"
    assert "2 cells: 1 answered already (--rerun runs them again), 1 to run" in again.stdout
    assert bad.with_name(f"{bad.name}.bad").read_bytes() == half
    assert_same_answer(done.out, before, copy, records_of(copy)["gluon"])
    assert len(pd.read_csv(copy / "table.csv")) == len(BACKENDS)


def assert_same_answer(one_out: Path, one: Record, other_out: Path, other: Record) -> None:
    assert one.id == other.id
    assert one.answer.step_loss == other.answer.step_loss
    for name, logits in arrays_of(one_out, one).items():
        np.testing.assert_array_equal(arrays_of(other_out, other)[name], logits)


# --- saved models


@pytest.fixture(scope="module")
def reopened(done: Done) -> dict[str, Opened]:
    """The logits and settings that transformers gets from each saved folder and the test rows, by the backend that
    trained the model."""
    folders = [done.saved / record.id for record in done.records.values()]
    return dict(zip(done.records, opened(folders, list(rows_of("test").first)), strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_transformers_opens_what_any_backend_saved(done: Done, reopened: dict[str, Opened], backend: str) -> None:
    """It computes the same logits."""
    logits, names, shape = reopened[backend]
    np.testing.assert_allclose(logits, arrays_of(done.out, done.records[backend])["test"], rtol=0, atol=1e-5)
    assert names == list(get_task("acceptability").labels)
    assert shape == [ROWS, 16]  # the tokenizer knows the length that was trained with


def test_a_saved_model_has_a_card_of_its_record(done: Done) -> None:
    """The hub's library reads its scores. The folder is the same checkpoint without it, as those of before were."""
    for record in done.records.values():
        folder = done.saved / record.id
        card = ModelCard.load(folder / CARD)
        (accuracy,) = (
            one.metric_value
            for one in card.data.eval_results
            if (one.dataset_split, one.metric_type) == ("test", "accuracy")
        )
        assert accuracy == (record.scores("test") or {})["accuracy"]
        assert record.id in card.text
        assert is_saved(folder)
        known = checkpoint_hash(folder)
        text = (folder / CARD).read_text(encoding="utf-8")
        (folder / CARD).unlink()
        assert (is_saved(folder), checkpoint_hash(folder)) == (True, known)
        (folder / CARD).write_text(text, encoding="utf-8")


def worker(backend: str, folder: Path, answer: type[T], **job: Any) -> T:
    """Runs a job in the backend's own environment and gives its answer."""
    settled: dict[str, Any] = {
        "task": "acceptability",
        "labels": get_task("acceptability").labels,
        "metrics": ("accuracy",),
        "recipe": RECIPE,
        "device": "cpu",
        "threads": 1,
    }
    folder.mkdir()
    Job(backend=backend, **(settled | job)).write(folder)
    return run_worker(find_python(backend, {}), folder, 1, lambda event: None, answer)


def encoded(checkpoint: Path, *splits: str) -> str:
    return str(encode({split: rows_of(split) for split in splits}, checkpoint, 16, 0))


NEXT = dict(zip(BACKENDS, [*list(BACKENDS)[1:], next(iter(BACKENDS))], strict=True))


@pytest.mark.parametrize(("trained", "other"), NEXT.items())
def test_another_backend_predicts_the_same(done: Done, tmp_path: Path, trained: str, other: str) -> None:
    """From the model that one saved, the next computes the same logits."""
    record = done.records[trained]
    saved = done.saved / record.id
    worker(
        other, tmp_path / "job", Predicted, kind="predict", checkpoint=str(saved), data=encoded(saved, "dev", "test")
    )
    expected = arrays_of(done.out, record)
    with np.load(tmp_path / "job" / ARRAYS) as found:
        assert found.keys() == expected.keys()
        for split, logits in expected.items():
            np.testing.assert_allclose(found[split], logits, rtol=0, atol=1e-5)


# --- recordings


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Values]:
    """Each backend's recording of one pack, which follows the main run's training."""
    request = Request(
        backends=["torch"],
        tasks=["acceptability"],
        models=["random:bert-tiny"],
        recipes=[RECIPE],
        device="cpu",
        threads=1,
        limit=ROWS,
        data_dir=None,
        pythons={},
    )
    (question,) = plan_questions(request)
    with of_task(question, total_steps(RECIPE, ROWS), dev_batches=None) as source:
        source = replace(source, steep_steps=STEEP_STEPS, compared_alone=True)
        pack = make_pack(source, tmp_path_factory.mktemp("packed") / "pack", Reference.find({}, 1))
    given: dict[str, Any] = {"checkpoint": str(question.checkpoint), "data": str(question.data)}
    found = {}
    for backend in BACKENDS:
        folder = tmp_path_factory.mktemp("recorded") / backend
        worker(backend, folder, Recorded, kind="record", pack=str(pack.folder), **given)
        found[backend] = Values(folder / RECORDING, pack)
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_recording_holds_what_the_pack_wants(recordings: dict[str, Values], backend: str) -> None:
    values = recordings[backend]
    wanted = {
        (run, step, part): values.pack.wanted.shapes(run, step, part)
        for run, steps in values.pack.wanted.runs.items()
        for step, parts in steps.items()
        for part in parts
    }
    files = [file.relative_to(values.folder) for file in values.folder.glob("*/*/*")]
    assert {(*file.parent.parts, file.stem) for file in files} == wanted.keys()
    for (run, step, part), shapes in wanted.items():
        arrays = values.part(run, step, part) or {}
        found = {name: list(array.shape) for name, array in arrays.items() if name != "learning_rate"}
        assert found == shapes, f"{run}/{step}/{part}"
    checkpoint = resolve_model("random:bert-tiny")
    architecture = read_architecture(checkpoint, RECIPE, 2)
    assert wanted["train", "1", "gradients"] == {name: list(shape) for name, shape in architecture.shapes().items()}
    loaded = values.part("eval", "0", "parameters") or {}
    for name, value in first_weights(checkpoint, architecture, RECIPE).items():
        np.testing.assert_array_equal(loaded[name], value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_recording_follows_the_run_that_train_makes(recordings: dict[str, Values], done: Done, backend: str) -> None:
    trained = done.records[backend].answer
    losses = list((recordings[backend].each("train", "loss") or {}).values())
    assert len(losses) == trained.total_steps
    np.testing.assert_allclose(losses, trained.step_loss, rtol=0, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_clipped_at_the_steep_settings(recordings: dict[str, Values], backend: str) -> None:
    values = recordings[backend]
    clipped = (values.part("steep", "1", "clipped") or {}).values()
    clip = values.pack.run("steep").settings.clip
    assert np.sqrt(sum(np.square(g).sum() for g in clipped)) == pytest.approx(clip, rel=1e-4)


def test_every_recording_received_the_same(recordings: dict[str, Values]) -> None:
    ids = set()
    for backend, values in recordings.items():
        for step in values.pack.run("train").steps:
            received = values.part("train", step.name, "received") or {}
            wanted = values.pack.batch(step) | {"learning_rate": np.array(step.learning_rate)}
            assert received.keys() == wanted.keys()
            for name, array in wanted.items():
                np.testing.assert_array_equal(received[name], array, f"{backend}, step {step.name}: {name}")
            ids.add(received["input_ids"].tobytes())
    assert len(ids) == len(next(iter(recordings.values())).pack.run("train").steps)


# --- workers that fail


def impostor(tmp_path: Path, backend: str, body: str) -> Path:
    """An interpreter that answers as the backend's own, but runs these lines as its worker."""
    real = find_python(backend, {})
    script = tmp_path / f"{backend}-impostor"
    script.write_text(
        f"#!{sys.executable}\nimport json, os, sys\nfrom pathlib import Path\n"
        f"if sys.argv[2] == 'backends':\n    os.execv({str(real)!r}, [{str(real)!r}, *sys.argv[1:]])\n"
        f"{body}"
    )
    script.chmod(0o755)
    return script


def test_a_failing_cell_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    body = "print('allocating', flush=True)\nraise MemoryError('no room for the weights')\n"
    python = impostor(tmp_path, "keras", body)
    out = tmp_path / "out"
    finished = run(
        *("--backend", "keras", "torch", *TOY, "--limit", "8", "--batch-size", "8", "--epochs", "1"),
        *("--python", f"keras={python}", "--out", out),
    )
    assert finished.returncode == 1
    _, told = finished.stdout.split("[1/2] acceptability keras len 16 batch 8 seed 1\n")
    remedy = "free some, or pass a smaller --batch-size or --max-len"
    assert f"    FAILED keras: the worker ran out of memory; {remedy}\n" in told.partition("[2/2]")[0]
    assert "      | MemoryError: no room for the weights\n" in finished.stdout
    assert finished.stderr == "benchmarks.run: 1 of 2 cells failed\n"
    assert records_of(out).keys() == {"torch"}
    assert list(pd.read_csv(out / "table.csv")["backend"]) == ["torch"]
    (log,) = (out / "jobs").glob("*/worker.log")
    assert f"its output: {log}" in finished.stdout
    assert log.read_text().startswith("allocating\nTraceback")


def test_a_refused_cell_is_bad_input_and_leaves_nothing(tmp_path: Path) -> None:
    body = f"(Path(sys.argv[3]) / {ERROR!r}).write_text('thing; remedy')\nsys.exit(2)\n"
    python = impostor(tmp_path, "gluon", body)
    out = tmp_path / "out"
    finished = run("--backend", "gluon", *TOY, "--limit", "8", "--python", f"gluon={python}", "--out", out)
    assert finished.returncode == 2
    assert "    FAILED gluon: thing; remedy\n" in finished.stdout
    assert [path for path in out.rglob("*") if path.is_file()] == []


# --- precision and compilation

SHORT = (*TOY, "--limit", str(ROWS), "--batch-size", "8", "--epochs", "1", "--dropout", "0", "--learning-rate", "3e-3")


def test_precisions_are_cells_of_their_own_with_a_column(tmp_path: Path) -> None:
    finished = run("--backend", "torch", *SHORT, "--precision", "float32", "bfloat16", "--out", tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "[1/2] acceptability torch len 16 batch 8 seed 1\n" in finished.stdout
    assert "[2/2] acceptability torch len 16 batch 8 seed 1 bfloat16\n" in finished.stdout
    by_precision: dict[str, Record] = {record.asked.precision: record for record in read_records(tmp_path)}
    assert by_precision.keys() == {"float32", "bfloat16"}
    plain, half = (by_precision[name].answer.step_loss for name in ("float32", "bfloat16"))
    assert plain != half
    assert np.abs(np.subtract(plain, half)).max() < 0.02
    assert arrays_of(tmp_path, by_precision["bfloat16"])["dev"].dtype == np.float32
    assert set(pd.read_csv(tmp_path / "table.csv")["precision"]) == {"float32", "bfloat16"}


def test_a_cell_without_padding_has_the_losses_of_one_with(tmp_path: Path) -> None:
    """Its batches are the same, and only its attention computes on more than real tokens."""
    still = ("--max-len", "32", "--dropout", "0", "--padding", "longest", "none")
    finished = run("--backend", "torch", *SHORT, *still, "--out", tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    records = {record.recipe.padding: record for record in read_records(tmp_path)}
    longest, none = (records[name].answer for name in ("longest", "none"))
    assert none.received == longest.received
    assert np.abs(np.subtract(none.step_loss, longest.step_loss)).max() < LOSS_BOUND
    assert none.epochs[0].padded_tokens == none.epochs[0].tokens == longest.epochs[0].tokens
    padded, packed = (records[name].work for name in ("longest", "none"))
    assert padded is not None
    assert packed is not None
    assert packed.real_flops == padded.real_flops <= packed.all_flops < padded.all_flops
    shown = pd.read_csv(tmp_path / "table.csv").set_index("padding")["padding_share"]
    assert shown["none"] == 0 < shown["longest"]


def test_a_compiled_cell_has_the_same_losses(tmp_path: Path) -> None:
    padded = ("--max-len", "32", "--padding", "longest")
    finished = run("--backend", "gluon", *SHORT, *padded, "--compile", "no", "yes", "--out", tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "[2/2] acceptability gluon len 32 batch 8 seed 1 compiled\n" in finished.stdout
    answers = {record.asked.compile: record.answer for record in read_records(tmp_path)}
    assert np.abs(np.subtract(answers[True].step_loss, answers[False].step_loss)).max() < LOSS_BOUND
    tight, wide = (answers[compiled].epochs[0].padded_tokens for compiled in (False, True))
    assert tight < wide
    assert wide % 8 == 0


# --- interruptions

SHORT_AND_LONG = ("--backend", "gluon", *TOY, "--limit", "8", "--batch-size", "8", "--epochs")


@contextmanager
def started(out: Path, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A run in a session of its own, so that it can be interrupted as a terminal does: all processes at once."""
    with subprocess.Popen(
        command(*arguments, "--out", out),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=variables(),
        cwd=CHECKOUT,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def suspended_worker(out: Path, answered: int) -> psutil.Process:
    """The worker of the cell after those answered, stopped in its training. It cannot finish before the test has acted
    on it."""

    def training() -> list[psutil.Process]:
        if len(list(out.glob("records/*.json"))) != answered:
            return []
        return [worker for worker in workers_of(out) if '"epoch"' in events_of(worker)]

    wait_until(training, "a worker trains")
    (found,) = training()
    found.suspend()
    return found


def events_of(worker: psutil.Process) -> str:
    events = Path(worker.cmdline()[-1]) / EVENTS
    return events.read_text() if events.is_file() else ""


def test_after_a_killed_worker_the_next_cell_goes_on(tmp_path: Path) -> None:
    with started(tmp_path, *SHORT_AND_LONG, "60", "1") as process:
        suspended_worker(tmp_path, answered=0).kill()
        stdout, stderr = process.communicate()
    assert process.returncode == 1
    assert "FAILED gluon: the worker was killed by SIGKILL; the kernel does this when memory runs out\n" in stdout
    assert stderr == "benchmarks.run: 1 of 2 cells failed\n"
    (record,) = read_records(tmp_path)
    assert record.recipe.epochs == 1


def test_an_interrupted_run_keeps_its_answers_and_goes_on(tmp_path: Path) -> None:
    """Its worker ends with it."""
    arguments = (*SHORT_AND_LONG, "1", "60")

    # Killed without grace: no tables, but the first cell's record stays, and the worker notices.
    with started(tmp_path, *arguments) as process:
        orphan = suspended_worker(tmp_path, answered=1)
        process.kill()
        process.wait()
        wait_until(lambda: ended(orphan), "the worker has ended")
    (first,) = read_records(tmp_path)
    before = (tmp_path / "records" / f"{first.id}.json").read_bytes()

    # Ctrl-C, or a machine that shuts down: the same, with tables, one line and its own exit code.
    for sent in (signal.SIGINT, signal.SIGTERM):
        (tmp_path / "table.csv").unlink(missing_ok=True)
        with started(tmp_path, *arguments) as process:
            victim = suspended_worker(tmp_path, answered=1)
            os.killpg(process.pid, sent)
            stdout, stderr = process.communicate()
        assert process.returncode == 130
        assert "2 cells: 1 answered already (--rerun runs them again), 1 to run" in stdout
        assert stderr == "benchmarks.run: interrupted; what is answered is kept, and the same command goes on\n"
        assert ended(victim)
        assert workers_of(tmp_path) == []
        assert len(read_records(tmp_path)) == 1
        assert len(pd.read_csv(tmp_path / "table.csv")) == 1

    # The same command goes on.
    finished = run(*arguments, "--out", tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "2 cells: 1 answered already (--rerun runs them again), 1 to run" in finished.stdout
    assert sorted(len(record.answer.epochs) for record in read_records(tmp_path)) == [1, 60]
    assert (tmp_path / "records" / f"{first.id}.json").read_bytes() == before
    assert list((tmp_path / "jobs").iterdir()) == []
    assert len(pd.read_csv(tmp_path / "table.csv")) == 2


# --- progress


def test_on_a_terminal_the_current_cell_is_shown_live() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    with RunProgress(terminal, cells=2) as progress:
        progress.begin("toy cell")
        progress.event(Loaded(import_seconds=1.0, load_seconds=1.0))
        progress.event(Stepped(epoch=1, step=3, of=10, loss=0.1234))
        progress.bars.refresh()
        progress.end("done")
    assert isinstance(terminal.file, io.StringIO)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.file.getvalue())
    for text in ("[1/2] toy cell", "epoch 1", "3/10", "loss 0.123", "cells", "0/2", "done"):
        assert text in shown
