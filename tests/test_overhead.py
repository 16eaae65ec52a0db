"""The comparison with bare scripts: both sides do the same steps, and the table shows what was measured."""

from __future__ import annotations

import ast
import csv
import json
import re
import shutil
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends import BACKENDS
from benchmarks.overhead import rounds
from benchmarks.overhead.__main__ import main
from benchmarks.overhead.report import QUANTITIES, summary
from benchmarks.overhead.rounds import RECIPE, Cost, Round, SameWork, measure_round, run_bare, run_ours, write_work
from benchmarks.workers import attempts
from benchmarks.workers.attempts import ATTEMPTS, DISTURBED
from benchmarks.workers.environments import CHECKOUT, find_python
from shared.batching import make_batch, training_order
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import resolve_model
from shared.checkpoint.weights import WEIGHTS
from shared.encoding import read_encoded
from shared.errors import ProcessFailed
from tests.processes import broken_python

BARE = [name for name, backend in BACKENDS.items() if "bare" not in backend.lacks]
PROJECT = {path.parent.name for path in CHECKOUT.glob("*/__init__.py")}


@pytest.fixture(scope="module")
def tiny(cache: Path) -> Path:
    return resolve_model("random:bert-tiny")


@pytest.mark.parametrize("script", sorted(CHECKOUT.glob("backends/*/bare.py")), ids=lambda path: path.parent.name)
def test_bare_scripts_import_nothing_of_this_project(script: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            imported.add(str(node.module).split(".")[0])
    assert "numpy" in imported, "the imports were looked at"
    assert {"shared", "backends", "benchmarks"} <= PROJECT
    assert not imported & PROJECT


def test_worker_and_bare_script_get_the_same_batches(tiny: Path, tmp_path: Path) -> None:
    write_work(tmp_path, read_architecture(tiny, RECIPE, num_labels=2), steps=3)
    data = read_encoded(tmp_path / "encoded")
    (order,) = training_order(RECIPE, data["train"].lengths)
    batches = [make_batch(data["train"], rows, RECIPE) for rows in order]
    with np.load(tmp_path / "batches.npz") as bare:
        assert len(batches) == len(bare["labels"]) == 3
        for name in ("input_ids", "attention_mask", "labels"):
            np.testing.assert_array_equal(np.stack([getattr(batch, name) for batch in batches]), bare[name])
            assert bare[name].dtype == getattr(batches[0], name).dtype
        assert bare["input_ids"].shape == (3, 32, 64)
        lengths = bare["attention_mask"].sum(axis=-1)
    assert not any(batch.token_type_ids.any() for batch in batches)
    assert lengths.min() < 20, "rows are padded"
    assert lengths.max() == 64
    np.testing.assert_array_equal(make_batch(data["dev"], np.arange(32), RECIPE).input_ids, batches[0].input_ids)


@pytest.fixture(scope="module")
def bare_losses(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], np.ndarray]:
    """Gives the losses of a backend's bare script over five steps on one batch. The checkpoint has a head, no dropout,
    and perturbed LayerNorms and biases."""
    folder = tmp_path_factory.mktemp("bare")
    checkpoint = Path(shutil.copytree(tiny, folder / "checkpoint"))
    random = np.random.RandomState(0)
    weights = {
        name: (4 * w if w.ndim == 2 else w) + random.normal(0, 0.1, w.shape).astype(np.float32)
        for name, w in load_file(checkpoint / WEIGHTS).items()
    }
    weights["classifier.weight"] = random.normal(0, 0.1, (2, 128)).astype(np.float32)
    weights["classifier.bias"] = random.normal(0, 0.1, 2).astype(np.float32)
    save_file(weights, checkpoint / WEIGHTS, metadata={"format": "pt"})
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (checkpoint / "config.json").write_text(json.dumps(config))
    write_work(folder, read_architecture(checkpoint, RECIPE, num_labels=2), steps=1)
    with np.load(folder / "batches.npz") as one:
        repeated = {name: np.repeat(array, 5, axis=0) for name, array in one.items()}
    np.savez(folder / "batches.npz", **repeated)  # type: ignore[arg-type]

    def losses(backend: str) -> np.ndarray:
        cost = run_bare(SameWork(backend, find_python(backend, {}), checkpoint, folder, threads=1))
        assert min(cost.step_seconds, cost.start_seconds, cost.first_step_seconds) > 0
        assert cost.peak_memory_bytes > sum(w.nbytes for w in weights.values()), "it holds the weights at least"
        return np.array(json.loads((folder / "bare.json").read_text())["losses"])

    return losses


@pytest.mark.parametrize("backend", [name for name in BARE if name != "torch"])
def test_bare_scripts_train_as_torchs_does(bare_losses: Callable[[str], np.ndarray], backend: str) -> None:
    """torch's is transformers with torch.optim.AdamW."""
    wanted, found = bare_losses("torch"), bare_losses(backend)
    assert wanted[0] - wanted[-1] > 0.01, "five steps move the loss by a thousand times the tolerance"
    # Without the exact gelu 9e-6 apart, without clipping 1e-3.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=6e-6)


def cost(step: float, start: float = 1.0, first: float = 1.0, peak: int = 2**20) -> Cost:
    return Cost(step, start, first, peak)


def test_ratios_are_taken_within_rounds() -> None:
    """Cells have median and quartiles."""
    bare, ours = [1.0, 2.0, 4.0, 8.0, 3.0], [2.0, 2.0, 2.0, 6.0, 9.0]
    rounds = [Round("torch", cost(b), cost(o, start=1.5), 0.0) for b, o in zip(bare, ours, strict=True)]
    step, start, *_ = summary(rounds).values.tolist()
    ratios = [o / b for b, o in zip(bare, ours, strict=True)]
    for cell, values in zip(step[2:5], (bare, ours, ratios), strict=True):
        low, median, high = statistics.quantiles(values, method="inclusive")
        assert cell == f"{median:.3f} ({low:.3f} – {high:.3f})"
    assert step[:2] == ["torch", "step s"]
    assert start[1:5] == ["start s", "1.00 (1.00 – 1.00)", "1.50 (1.50 – 1.50)", "1.500 (1.500 – 1.500)"]


def test_each_backend_has_lines_with_the_bounds_promised() -> None:
    rounds = [Round(backend, cost(1.0), cost(1.0), 0.0) for backend in ("keras", "gluon", "keras")]
    table = summary(rounds)
    assert list(table["backend"]) == ["keras"] * len(QUANTITIES) + ["gluon"] * len(QUANTITIES)
    assert dict(zip(table[""], table["at most"], strict=True)) == {
        "step s": "1.05",
        "start s": "1.3",
        "first step s": "",
        "peak MiB": "1.1",
    }


@dataclass
class Sides:
    """Work whose two sides only note that they ran."""

    ran: list[str] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    """Cores that other processes keep busy during each attempt."""

    def measure(self, bare_first: bool, *busy: float) -> Round:
        """Measures a round with so many cores busy during its attempts."""
        self.busy += busy
        return measure_round(SameWork("torch", Path("python"), Path("checkpoint"), Path("work"), 1), bare_first)


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> Sides:
    made = Sides()

    class Busy:
        def by_others(self) -> float:
            return made.busy.pop(0)

    def side(name: str) -> Callable[[SameWork], Cost]:
        def note(work: SameWork) -> Cost:
            made.ran.append(name)
            return cost(step=len(made.ran))

        return note

    monkeypatch.setattr(attempts, "BusyCores", Busy)
    monkeypatch.setattr(rounds, "run_bare", side("bare"))
    monkeypatch.setattr(rounds, "run_ours", side("ours"))
    return made


def test_an_undisturbed_round_is_measured_once(sides: Sides) -> None:
    assert sides.measure(True, DISTURBED) == Round("torch", cost(1), cost(2), DISTURBED)
    assert sides.ran == ["bare", "ours"]


def test_either_side_can_go_first(sides: Sides) -> None:
    assert sides.measure(False, 0.0) == Round("torch", bare=cost(2), ours=cost(1), busy_cores=0.0)
    assert sides.ran == ["ours", "bare"]


def test_a_disturbed_round_is_repeated_until_it_is_quiet(sides: Sides) -> None:
    assert sides.measure(True, 1.0, 0.0) == Round("torch", cost(3), cost(4), 0.0)
    assert len(sides.ran) == 4


def test_the_least_disturbed_attempt_counts(sides: Sides) -> None:
    assert sides.measure(True, 1.0, 0.5, *[2.0] * (ATTEMPTS - 2)) == Round("torch", cost(3), cost(4), 0.5)
    assert len(sides.ran) == 2 * ATTEMPTS


def test_one_command_measures_both_sides_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attempts, "ATTEMPTS", 1)
    asked = ["--backend", "torch", "--model", "random:bert-tiny", "--steps", "2", "--rounds", "1", "--threads", "1"]
    main([*asked, "--out", str(tmp_path)])
    with (tmp_path / "overhead.csv").open(newline="") as file:
        rounds = list(csv.DictReader(file))
    assert [r["backend"] for r in rounds] == ["torch"]
    for part in ("step_seconds", "start_seconds", "first_step_seconds"):
        assert float(rounds[0][f"bare_{part}"]) > 0
        assert float(rounds[0][f"ours_{part}"]) > 0
    ratio = float(rounds[0]["ours_peak_memory_bytes"]) / float(rounds[0]["bare_peak_memory_bytes"])
    assert 0.5 < ratio < 2, "both hold the same framework, network and batch"
    table = (tmp_path / "overhead.md").read_text()
    printed = capsys.readouterr().out
    for quantity in QUANTITIES:
        assert re.search(rf"^\| torch +\| {quantity.name} +\| ", table, re.MULTILINE)
        assert quantity.name in printed
    assert "random:bert-tiny, batch 32 x 64" in table


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--steps", "1"], "--steps 1: pass 2 or more"),
        (["--rounds", "0"], "--rounds 0: pass 1 or more"),
        (["--backend", "jax"], "invalid choice: 'jax'"),
        (["--backend", "torch", "--model", "random:distilbert"], "the bare scripts cannot build"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert complaint in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_room_without_bare_script_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(BACKENDS, "gluon", replace(BACKENDS["gluon"], lacks={"bare": "it would be the adapter again"}))
    with pytest.raises(SystemExit) as end:
        main(["--model", "random:bert-tiny"])
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        "benchmarks.overhead: error: gluon has no bare: it would be the adapter again; leave gluon out\n"
    )


def test_a_bare_script_that_fails_is_told_in_one_line(tmp_path: Path) -> None:
    python = broken_python(tmp_path / "python", "gluon", "bare.py", "no memory left")
    with pytest.raises(ProcessFailed) as failed:
        run_bare(SameWork("gluon", python, tmp_path, tmp_path, threads=1))
    assert str(failed.value) == "gluon: bare.py ended with exit code 3"
    assert failed.value.tail == ("no memory left",)
    assert failed.value.code == 1


def test_a_worker_that_fails_is_told_in_one_line(tiny: Path, tmp_path: Path) -> None:
    write_work(tmp_path, read_architecture(tiny, RECIPE, num_labels=2), steps=2)
    python = broken_python(tmp_path / "python", "torch", "backends.worker", "no memory left")
    with pytest.raises(ProcessFailed) as failed:
        run_ours(SameWork("torch", python, tiny, tmp_path, threads=1))
    assert str(failed.value) == "torch: the worker ended with exit code 3"
    assert failed.value.tail == ("no memory left",)
