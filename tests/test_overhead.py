"""The comparison with bare scripts: that both sides do the same steps, and that the table says what was measured."""

from __future__ import annotations

import ast
import csv
import json
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends import BACKENDS
from benchmarks.overhead import rounds
from benchmarks.overhead.__main__ import main
from benchmarks.overhead.report import QUANTITIES, summary
from benchmarks.overhead.rounds import RECIPE, Cost, Round, Setting, measure_round, run_bare, write_work
from benchmarks.workers import attempts as measure
from benchmarks.workers.attempts import ATTEMPTS, DISTURBED
from benchmarks.workers.environments import CHECKOUT, find_python
from shared.batching import make_batch, training_order
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import resolve_model
from shared.checkpoint.weights import WEIGHTS
from shared.encoding import read_encoded

ROOMS = CHECKOUT / "backends"
PROJECT = {path.parent.name for path in CHECKOUT.glob("*/__init__.py")}


@pytest.fixture(scope="module")
def tiny(cache: Path) -> Path:
    return resolve_model("random:bert-tiny")


@pytest.mark.parametrize("script", sorted(ROOMS.glob("*/bare.py")), ids=lambda path: path.parent.name)
def test_a_bare_script_imports_nothing_of_this_project(script: Path) -> None:
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


def test_every_backend_has_a_bare_script() -> None:
    assert {path.parent.name for path in ROOMS.glob("*/bare.py")} == set(BACKENDS)


def test_the_worker_and_the_bare_script_are_given_the_same_batches(tiny: Path, tmp_path: Path) -> None:
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
    """Of a backend's bare script, the losses of five steps on one batch, from a checkpoint with a head and without
    dropout, whose LayerNorms and biases are perturbed."""
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
        cost = run_bare(Setting(backend, find_python(backend, {}), checkpoint, folder, threads=1))
        assert min(cost.step_seconds, cost.start_seconds, cost.first_step_seconds) > 0
        assert cost.peak_memory_bytes > sum(w.nbytes for w in weights.values()), "it holds the weights at least"
        return np.array(json.loads((folder / "bare.json").read_text())["losses"])

    return losses


@pytest.mark.parametrize("backend", [backend for backend in BACKENDS if backend != "torch"])
def test_a_bare_script_trains_as_transformers_and_torch_adamw_do(
    bare_losses: Callable[[str], np.ndarray], backend: str
) -> None:
    wanted, found = bare_losses("torch"), bare_losses(backend)
    assert wanted[0] - wanted[-1] > 0.01, "five steps move the loss by a thousand times the tolerance"
    # Without the exact gelu 9e-6 apart, without clipping 1e-3.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=6e-6)


def cost(step: float, start: float = 1.0, first: float = 1.0, peak: int = 2**20) -> Cost:
    return Cost(step, start, first, peak)


def test_the_table_has_medians_and_quartiles_and_takes_ratios_within_rounds() -> None:
    bare, ours = [1.0, 2.0, 4.0, 8.0, 3.0], [2.0, 2.0, 2.0, 6.0, 9.0]
    rounds = [Round("torch", cost(b), cost(o, start=1.5), 0.0) for b, o in zip(bare, ours, strict=True)]
    step, start, *_ = summary(rounds)
    ratios = [o / b for b, o in zip(bare, ours, strict=True)]
    for cell, values in zip(step[2:5], (bare, ours, ratios), strict=True):
        low, median, high = statistics.quantiles(values, method="inclusive")
        assert cell == f"{median:.3f} ({low:.3f} – {high:.3f})"
    assert step[:2] == ("torch", "step s")
    assert start[1:5] == ("start s", "1.00 (1.00 – 1.00)", "1.50 (1.50 – 1.50)", "1.500 (1.500 – 1.500)")


def test_each_backend_has_its_own_lines_with_the_bounds_promised() -> None:
    rounds = [Round(backend, cost(1.0), cost(1.0), 0.0) for backend in ("keras", "gluon", "keras")]
    lines = summary(rounds)
    assert [line[0] for line in lines] == ["keras"] * len(QUANTITIES) + ["gluon"] * len(QUANTITIES)
    assert {line[1]: line[5] for line in lines} == {
        "step s": "1.05",
        "start s": "1.3",
        "first step s": "",
        "peak MiB": "1.1",
    }


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> tuple[Setting, list[str], list[float]]:
    """A setting whose two sides only note that they ran, in the list; and the cores that other processes keep busy
    during each attempt, to be filled in."""
    ran: list[str] = []
    busy: list[float] = []

    class Busy:
        def by_others(self) -> float:
            return busy[len(ran) // 2 - 1]

    def side(name: str) -> Callable[[Setting], Cost]:
        def note(setting: Setting) -> Cost:
            ran.append(name)
            return cost(step=len(ran))

        return note

    monkeypatch.setattr(measure, "BusyCores", Busy)
    monkeypatch.setattr(rounds, "run_bare", side("bare"))
    monkeypatch.setattr(rounds, "run_ours", side("ours"))
    return Setting("torch", Path("python"), Path("checkpoint"), Path("work"), threads=1), ran, busy


def test_an_undisturbed_round_is_measured_once(sides: tuple[Setting, list[str], list[float]]) -> None:
    setting, ran, busy = sides
    busy += [DISTURBED]
    assert measure_round(setting, bare_first=True) == Round("torch", cost(1), cost(2), DISTURBED)
    assert ran == ["bare", "ours"]


def test_either_side_can_go_first(sides: tuple[Setting, list[str], list[float]]) -> None:
    setting, ran, busy = sides
    busy += [0.0]
    assert measure_round(setting, bare_first=False) == Round("torch", bare=cost(2), ours=cost(1), busy_cores=0.0)
    assert ran == ["ours", "bare"]


def test_a_disturbed_round_is_measured_again_until_it_is_quiet(sides: tuple[Setting, list[str], list[float]]) -> None:
    setting, ran, busy = sides
    busy += [1.0, 0.0]
    assert measure_round(setting, bare_first=True) == Round("torch", cost(3), cost(4), 0.0)
    assert len(ran) == 4


def test_of_disturbed_attempts_the_least_disturbed_counts(sides: tuple[Setting, list[str], list[float]]) -> None:
    setting, ran, busy = sides
    busy += [1.0, 0.5, *[2.0] * (ATTEMPTS - 2)]
    assert measure_round(setting, bare_first=True) == Round("torch", cost(3), cost(4), 0.5)
    assert len(ran) == 2 * ATTEMPTS


def test_one_command_measures_both_sides_and_writes_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure, "ATTEMPTS", 1)
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
        assert f"| torch | {quantity.name} | " in table
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
def test_what_cannot_be_measured_is_refused_in_one_line(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert complaint in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_bare_script_that_fails_is_named_with_its_last_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nprint('no memory left')\nraise SystemExit(3)\n")
    python.chmod(0o755)
    with pytest.raises(SystemExit, match=r"bare\.py ended with exit code 3"):
        run_bare(Setting("gluon", python, tmp_path, tmp_path, threads=1))
    assert "no memory left" in capsys.readouterr().err
