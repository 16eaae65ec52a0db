"""The yardstick: which variants are measured, that every trainer does its sample's work, and one whole command."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import to_builtins

from backends import BACKENDS, rates
from benchmarks.cells.plan import Question, Request, plan_questions
from benchmarks.speed import rounds
from benchmarks.speed.__main__ import _parser, _wanted, main
from benchmarks.speed.prepare import prepare
from benchmarks.speed.results import Results
from benchmarks.speed.rounds import Conditions, measure_variants
from benchmarks.speed.sample import Sample
from benchmarks.speed.side_by_side import make_samples
from benchmarks.speed.variants import Variant, baselines, choose_variants
from benchmarks.workers import attempts
from benchmarks.workers.environments import find_environment
from benchmarks.workers.progress import RunProgress, terminal
from shared.architecture import Architecture
from shared.checkpoint.config import read_architecture
from shared.recipe import Recipe
from tests.processes import broken_python
from tests.speed_factories import ASKED

# --- variants


def test_variants_are_every_combination_and_the_baselines() -> None:
    """A backend's baselines come after its combinations, whatever those are."""
    variants = choose_variants(
        ["gluon", "torch"], ["bucket", "longest"], ["float32", "bfloat16"], [False, True], ["dense"], True
    )
    assert len(variants) == len(set(variants)) == 2 * 2 * 2 * 2 + 5
    assert [v.name for v in variants[:3]] == [
        "gluon bucket float32",
        "gluon longest float32",
        "gluon bucket float32 compiled",
    ]
    assert [v for v in variants if v.trainer] == [*baselines("gluon"), *baselines("torch")]
    assert not any(v.trainer for v in choose_variants(["torch"], ["bucket"], ["float32"], [False], ["dense"], False))


def test_updates_by_rows_are_variants_beside_the_dense_ones() -> None:
    """The library's own trainer has none."""
    variants = choose_variants(["torch"], ["bucket", "longest"], ["float32"], [False], ["dense", "rows"], True)
    assert [v.name for v in variants[:4]] == [
        "torch bucket float32",
        "torch bucket float32 rows",
        "torch longest float32",
        "torch longest float32 rows",
    ]
    assert [v.update for v in variants[:4]] == ["dense", "rows"] * 2
    assert {v.update for v in variants if v.trainer} == {"dense"}
    assert "embedding_update" not in to_builtins(variants[0]), "files of before have no such field"


def test_every_backend_has_a_baseline_padded_to_max_len() -> None:
    for backend in BACKENDS:
        assert baselines(backend)[0] == Variant(backend, "max_length", trainer=True)
    assert [v.name for v in baselines("torch")] == [
        "torch stock max_length float32",
        "torch stock longest float32",
        "torch stock longest bfloat16",
        "torch stock bucket bfloat16 compiled",
    ]


def test_variants_with_equal_widths_share_a_sample() -> None:
    """Rounded widths have a sample of their own."""
    assert Variant("keras", "bucket", "bfloat16").widths == Variant("torch", "bucket", compile=True).widths == "bucket"
    assert Variant("keras", "bucket", compile=True).widths == "bucket, to multiples of 8"
    assert Variant("gluon", "max_length", compile=True).widths == "max_length"


# --- rates


def test_the_fastest_repetition_counts_and_not_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    lasts = iter([5.0, 0.3, 0.1, 0.2])
    monkeypatch.setattr(rates.time, "perf_counter", lambda: now[0])

    def once() -> None:
        now[0] += next(lasts)

    assert rates.best_seconds(once) == pytest.approx(0.1)


# --- real processes


Ask = Callable[[str], tuple[Question, Architecture]]
Measure = Callable[[list[Variant], Question, dict[str, Sample]], Results]


@pytest.fixture(scope="module")
def ask(cache: Path) -> Ask:
    def question(backend: str) -> tuple[Question, Architecture]:
        request = Request(
            backends=[backend],
            tasks=["acceptability"],
            models=["random:bert-tiny"],
            recipes=[Recipe(max_len=16, batch_size=4, train_rows=40, dev_rows=4)],
            device="cpu",
            threads=1,
            limit=None,
            data_dir=None,
            pythons={},
        )
        (asked,) = plan_questions(request)
        return asked, read_architecture(asked.checkpoint, asked.recipe, 2)

    return question


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Measures variants of one backend once, without rates. None may fail, so that steps, rows and tokens of each are
    its sample's."""
    monkeypatch.setattr(attempts, "ATTEMPTS", 1)
    monkeypatch.setattr(rounds, "_measure_rates", lambda *_: None)

    def once(variants: list[Variant], asked: Question, samples: dict[str, Sample]) -> Results:
        backend = variants[0].backend
        conditions = Conditions(asked, samples, {backend: find_environment(backend, {})}, "cpu", 1)
        results = Results(ASKED)
        with RunProgress(terminal(), len(variants)) as progress:
            assert measure_variants(conditions, variants, 1, results, tmp_path / "rounds.json", progress) == {}
        return results

    return once


@pytest.mark.parametrize("backend", [name for name, one in BACKENDS.items() if "trainer" not in one.lacks])
def test_a_trainer_trains_on_its_samples_batches(
    backend: str, ask: Ask, measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")  # compiles for a minute otherwise
    variants = [variant for variant in baselines(backend) if variant.precision == "float32" or variant.compile]
    asked, architecture = ask(backend)
    results = measure(variants, asked, make_samples(asked, architecture, variants, 2, tmp_path, "cpu"))
    assert not results.refused
    assert [m.variant for m in results.measured] == variants
    for found in results.measured:
        assert min(found.took.seconds, found.took.first_step_seconds, found.took.start_seconds) > 0
        assert found.took.first_pass_seconds >= found.took.first_step_seconds
        assert found.took.peak_memory_bytes > 4 * sum(int(np.prod(s)) for s in architecture.shapes().values())
    for arguments in results.arguments.values():
        assert asked.recipe.batch_size in arguments.values()


def test_a_trainer_refuses_a_network_it_cannot_build(ask: Ask, measure: Measure, tmp_path: Path) -> None:
    """GluonNLP's network is the bare script's, which knows gelu alone."""
    variant = Variant("gluon", "max_length", trainer=True)
    asked, architecture = ask("gluon")
    checkpoint = Path(shutil.copytree(asked.checkpoint, tmp_path / "checkpoint"))
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    samples = make_samples(asked, architecture, [variant], 2, tmp_path, "cpu")
    results = measure([variant], replace(asked, checkpoint=checkpoint), samples)
    assert "the bare scripts cannot build" in results.refused[variant.name]


def test_a_compiled_worker_rounds_the_widths_of_its_batches(ask: Ask, measure: Measure, tmp_path: Path) -> None:
    """It does the work of its own sample, which has more tokens than the one without rounding."""
    asked, architecture = ask("gluon")
    plain, compiled = (Variant("gluon", "bucket", compile=compile) for compile in (False, True))
    samples = make_samples(asked, architecture, [plain, compiled], 2, tmp_path, "cpu")
    assert samples[compiled.widths].work.padded_tokens > samples[plain.widths].work.padded_tokens
    results = measure([compiled], asked, samples)
    assert [m.variant for m in results.measured] == [compiled]


# --- the command


TINY = (
    *("--task", "acceptability", "--model", "random:bert-tiny", "--backend", "torch", "--padding", "bucket"),
    *("--precision", "float32", "--max-len", "16", "--batch-size", "4", "--steps", "2", "--rounds", "1"),
    *("--threads", "1", "--baselines", "no", "--device", "cpu"),
)


def speed(*arguments: str) -> int | str | None:
    """The exit code of a command on a tiny question."""
    with pytest.raises(SystemExit) as ended:
        main([*TINY, *arguments])
    return ended.value.code


def test_a_sample_without_padding_is_trained_on_as_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "ATTEMPTS", 1)
    assert speed("--padding", "none", "--out", str(tmp_path)) == 0
    with (tmp_path / "speed.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["mode"], float(row["padding_share"])) == ("torch none float32", 0)
    assert float(row["step_real_flops"]) <= float(row["step_all_flops"])
    (sample,) = json.loads((tmp_path / "speed.json").read_text())["samples"].values()
    assert sample["pass"]["padded_tokens"] == sample["pass"]["tokens"]


def test_own_data_is_the_same_question_wherever_it_lies(tmp_path: Path) -> None:
    asked = []
    for place in ("here", "there"):
        folder = tmp_path / place / "reviews"
        folder.mkdir(parents=True)
        for split in ("train", "dev"):
            (folder / f"{split}.csv").write_text("text,label\n" + "A goose slept.,good\nIt rained.,bad\n" * 8)
        asked.append(prepare(_wanted(_parser().parse_args([*TINY, "--task", str(folder)]))).asked)
    assert asked[0] == asked[1]
    assert asked[0].task == "reviews"


def test_one_command_measures_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attempts, "ATTEMPTS", 1)
    assert speed("--out", str(tmp_path)) == 0
    with (tmp_path / "speed.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["mode"] == "torch bucket float32"
    assert float(row["times_floor"]) > 1, "nothing is faster than the floor"
    assert 0 <= float(row["padding_share"]) < 0.5
    whole = json.loads((tmp_path / "speed.json").read_text())
    assert [mode["mode"] for mode in whole["modes"]] == ["torch bucket float32"]
    assert {entry["backend"] for entry in whole["rates"]} == {"torch"}
    assert whole["samples"]["bucket"]["pass"]["steps"] == 2
    with (tmp_path / "rounds.csv").open(newline="") as file:
        assert [line["counted"] for line in csv.DictReader(file)] == ["True"]
    for kind in ("png", "svg"):
        assert (tmp_path / "pictures" / f"speed.{kind}").stat().st_size > 1000
    assert "| torch bucket float32" in (tmp_path / "speed.md").read_text()
    first = capsys.readouterr().out
    assert "torch bucket float32" in first
    assert "1 measurements to make" in first
    assert speed("--out", str(tmp_path)) == 0
    assert "0 measurements to make" in capsys.readouterr().out


def test_a_probe_of_rates_that_fails_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its interpreter trains, but fails once it is asked for rates a second time: exit code 1, no traceback, the
    probe's last lines, and the round that was done is kept."""
    monkeypatch.setattr(attempts, "ATTEMPTS", 1)
    python = broken_python(tmp_path / "python", "torch", "backends.rates", "no memory left", runs=1)
    assert speed("--out", str(tmp_path / "out"), "--python", f"torch={python}") == 1
    assert capsys.readouterr().err == (
        "benchmarks.speed: the rates of torch could not be measured: backends.rates ended with exit code 3; the same "
        "command goes on from what is done\n"
        "  | no memory left\n"
    )
    (file,) = (tmp_path / "out" / "rounds").glob("*.json")
    assert [entry["round"] for entry in json.loads(file.read_text())["measured"]] == [1]


def test_without_any_probes_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(BACKENDS, "torch", replace(BACKENDS["torch"], lacks={"probes": "nobody wrote them"}))
    assert speed("--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert error == "benchmarks.speed: error: torch has no probes: nobody wrote them; leave torch out\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--steps", "1"], "--steps 1: pass 2 or more"),
        (["--rounds", "0"], "--rounds 0: pass 1 or more"),
        (["--backend", "jax"], "unknown backend 'jax'"),
        (["--padding", "left"], "invalid choice: 'left'"),
        (["--precision", "int8"], "invalid choice: 'int8'"),
        (["--compile", "maybe"], "'maybe' is neither yes nor no"),
        (["--max-len", "2"], "max_len is 2; pass 4 to 1,048,576"),
        (["--task", "chess"], "chess"),
        (["--scale", "0"], "train_rows is 0; pass 1 to 1,000,000,000, or none"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert speed(*arguments, "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
