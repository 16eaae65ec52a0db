"""The yardstick: which modes are measured, that rounds are kept, repeated and marked, and what the tables say."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backends import BACKENDS, rates
from benchmarks.cells.plan import Question, Request, plan_questions
from benchmarks.speed import rounds as speed_run
from benchmarks.speed.__main__ import main
from benchmarks.speed.modes import BASELINES, Mode, choose_modes
from benchmarks.speed.report import notes, summarize, tables
from benchmarks.speed.results import Measured, Rates, Results, Took
from benchmarks.speed.rounds import Setting, measure_modes
from benchmarks.speed.sample import Sample, make_sample
from benchmarks.workers import attempts as measure
from benchmarks.workers.attempts import ATTEMPTS, DISTURBED
from benchmarks.workers.environments import CHECKOUT, Environment, find_environment
from benchmarks.workers.launcher import Outcome
from benchmarks.workers.progress import RunProgress, terminal
from shared.checkpoint.config import read_architecture
from shared.encoding import read_encoded
from shared.errors import InputError
from shared.flops import Work, optimizer_bytes
from shared.job import Job
from shared.recipe import Recipe
from shared.tasks import get_task
from tests.test_flops import TOY

PADDED, BUCKETED = Mode("torch", "max_length"), Mode("torch", "bucket")
STOCK = Mode("torch", "max_length", stock=True)
WORK = Work(steps=4, rows=8, tokens=40, padded_tokens=64, real_flops=4_000, all_flops=8_000)
EPOCH = Work(steps=10, rows=20, tokens=100, padded_tokens=160, real_flops=10_000, all_flops=20_000)
MACHINE = {"cpu": "Toy CPU", "cores": 4, "gpus": []}
ASKED = {"model": "toy", "task": "toy task", "machine": MACHINE, "device": "cpu", "threads": 2}


def took(seconds: float, peak: int = 2**20) -> Took:
    return Took(
        seconds, first_pass_seconds=seconds + 3, first_step_seconds=2.0, start_seconds=5.0, peak_memory_bytes=peak
    )


@dataclass
class Bench:
    """A setting whose processes are made up: each notes the mode that it was started for and gives the same answer."""

    setting: Setting
    results: Results
    started: list[tuple[str, str, bool]] = field(default_factory=list)
    """Backend, padding of the mode's sample, and whether by the stock trainer."""
    busy: list[float] = field(default_factory=list)
    """Cores that others keep busy during each attempt; none once it is used up."""
    ends: dict[int, BaseException | Outcome] = field(default_factory=dict)
    """What the process of this number, from 0, ends with in place of an answer."""
    rated: list[str] = field(default_factory=list)

    def measure(self, modes: list[Mode], rounds: int) -> dict[str, str]:
        with RunProgress(terminal(), len(modes) * rounds) as progress:
            return measure_modes(self.setting, modes, rounds, self.results, progress)

    @property
    def kept(self) -> Results:
        return Results.at(self.results.file, self.results.asked)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    recipe = Recipe(max_len=8, batch_size=2)
    samples: dict[str, Sample] = {
        padding: Sample(replace(recipe, epochs=2), tmp_path / padding, WORK, EPOCH)
        for padding in ("max_length", "longest", "bucket")
    }
    question = Question(get_task("acceptability"), "toy", tmp_path, recipe, ("0", "1"), {}, tmp_path)
    environments = {backend: Environment(tmp_path, {}, {}, "3.11") for backend in BACKENDS}
    made = Bench(
        Setting(question, TOY, samples, environments, "cpu", 2), Results(tmp_path / "rounds" / "toy.json", ASKED)
    )

    def run_worker(python: Path, folder: Path, threads: int, on_event: Any, module: str) -> Outcome:
        job = Job.read(folder)
        number = len(made.started)
        made.started.append((job.backend, Path(job.data).name, module.endswith(".trainer")))
        end = made.ends.get(number)
        if isinstance(end, BaseException):
            raise end
        second = {"steps": 4, "rows": 8, "padded_tokens": 64, "seconds": float(number + 1)}
        answer = {
            "epochs": [second | {"seconds": 30.0}, second],
            "first_step_seconds": 2.0,
            "start_seconds": 5.0,
            "peak_memory_bytes": 2**20,
            "arguments": {"batch": 2},
        }
        return end or Outcome(answer)

    def run_script(command: list[Any], *_: Any) -> dict[str, Any]:
        made.rated.append(command[3])
        return {"product": {"float32": 1e3}, "bandwidth": 1e3}

    class Busy:
        def by_others(self) -> float:
            return made.busy.pop(0) if made.busy else 0.0

    monkeypatch.setattr(speed_run, "run_worker", run_worker)
    monkeypatch.setattr(speed_run, "run_script", run_script)
    monkeypatch.setattr(measure, "BusyCores", Busy)
    return made


# --- modes


def test_modes_are_every_combination_and_each_backends_baselines() -> None:
    modes = choose_modes(["gluon", "torch"], ["bucket", "longest"], ["float32", "bfloat16"], [False, True], True)
    assert len(modes) == len(set(modes)) == 2 * 2 * 2 * 2 + 4
    assert [m.name for m in modes[:3]] == [
        "gluon bucket float32",
        "gluon longest float32",
        "gluon bucket float32 compiled",
    ]
    assert [m for m in modes if m.stock] == [m for b in ("gluon", "torch") for m in BASELINES if m.backend == b]
    assert not any(m.stock for m in choose_modes(["torch"], ["bucket"], ["float32"], [False], False))


def test_every_backend_has_a_baseline_padded_to_max_len_and_a_program_for_it() -> None:
    for backend in BACKENDS:
        assert Mode(backend, "max_length", stock=True) in BASELINES
        assert (CHECKOUT / "backends" / backend / "trainer.py").is_file()


def test_modes_whose_batches_are_alike_share_a_sample_and_rounded_widths_have_their_own() -> None:
    assert Mode("keras", "bucket", "bfloat16").widths == Mode("torch", "bucket", compile=True).widths == "bucket"
    assert Mode("keras", "bucket", compile=True).widths == "bucket, to multiples of 8"
    assert Mode("gluon", "max_length", compile=True).widths == "max_length"


def test_a_precision_that_no_job_can_ask_for_is_refused() -> None:
    with pytest.raises(InputError, match=r"^precision float8 is none of float32, "):
        Mode("torch", "bucket", "float8").of_job()
    assert Mode("torch", "bucket").of_job() == {"precision": "float32"}


def test_a_mode_that_a_backend_refuses_is_noted_with_the_reason_and_not_asked_again(bench: Bench) -> None:
    bench.ends[0] = Outcome(None, "torch cannot pad", bad_input=True)
    assert bench.measure([PADDED, BUCKETED], rounds=2) == {}
    assert bench.started == [("torch", "max_length", False), ("torch", "bucket", False), ("torch", "bucket", False)]
    assert bench.kept.refused == {"torch max_length float32": "torch cannot pad"}
    assert "torch max_length float32: refused: torch cannot pad" in notes(
        bench.results, bench.setting.samples, bench.setting.question.recipe, TOY
    )


def test_a_mode_that_fails_keeps_no_other_from_being_measured_and_is_tried_again(bench: Bench) -> None:
    bench.ends[0] = Outcome(None, "the worker was killed", tail=("no memory left",))
    assert bench.measure([PADDED, BUCKETED], rounds=1) == {"torch max_length float32": "the worker was killed"}
    assert [m.mode for m in bench.kept.measured] == [BUCKETED]
    assert bench.measure([PADDED, BUCKETED], rounds=1) == {}
    assert [m.mode for m in bench.kept.measured] == [BUCKETED, PADDED]


def test_a_process_that_did_other_work_than_the_sample_has_failed(bench: Bench) -> None:
    bench.setting.samples["bucket"] = replace(bench.setting.samples["bucket"], work=replace(WORK, padded_tokens=65))
    failed = bench.measure([BUCKETED], rounds=1)
    assert "a pass are (4, 8, 64), and the sample has (4, 8, 65)" in failed["torch bucket float32"]
    assert not bench.kept.measured


# --- rounds


def test_rounds_are_interleaved_and_every_other_runs_backwards(bench: Bench) -> None:
    bench.measure([PADDED, BUCKETED, STOCK], rounds=2)
    forwards = [("torch", "max_length", False), ("torch", "bucket", False), ("torch", "max_length", True)]
    assert bench.started == [*forwards, *reversed(forwards)]
    assert bench.kept.arguments == {STOCK.name: {"batch": 2}}


def test_each_frameworks_rates_are_taken_before_every_round_and_after_the_last(bench: Bench) -> None:
    bench.measure([PADDED], rounds=2)
    assert bench.rated == [*BACKENDS] * 3
    assert [(r.backend, r.round) for r in bench.kept.rates] == [(b, n) for n in (1, 2, 3) for b in BACKENDS]


def test_what_was_measured_is_kept_when_interrupted_and_the_same_goes_on(bench: Bench) -> None:
    bench.ends[3] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        bench.measure([PADDED, BUCKETED], rounds=2)
    assert [(m.mode, m.round) for m in bench.kept.measured] == [(PADDED, 1), (BUCKETED, 1), (BUCKETED, 2)]
    bench.results = bench.kept
    bench.measure([PADDED, BUCKETED], rounds=2)
    assert len(bench.started) == 5, "the interrupted one alone was started again"
    assert [m.took.seconds for m in bench.kept.measured] == [1, 2, 3, 5]
    assert bench.rated == [*BACKENDS] * 3


def test_more_rounds_go_on_from_those_that_are_done(bench: Bench) -> None:
    bench.measure([PADDED], rounds=1)
    bench.measure([PADDED], rounds=3)
    assert [m.round for m in bench.kept.measured] == [1, 2, 3]


def test_a_disturbed_measurement_is_repeated_and_the_quietest_attempt_counts(bench: Bench) -> None:
    bench.busy += [1.0, 0.5, *[0.8] * (ATTEMPTS - 2)]
    bench.measure([PADDED], rounds=1)
    assert [(m.attempt, m.busy_cores) for m in bench.kept.measured] == [(1, 1.0), (2, 0.5), (3, 0.8)]
    (counted,) = bench.results.counted(PADDED)
    assert counted.attempt == 2
    assert counted.disturbed


def test_a_measurement_that_gets_quiet_is_not_marked(bench: Bench) -> None:
    bench.busy += [1.0, DISTURBED]
    bench.measure([PADDED], rounds=1)
    (counted,) = bench.results.counted(PADDED)
    assert (counted.attempt, counted.disturbed) == (2, False)


def test_a_file_that_holds_no_rounds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rounds.json").write_text('{"measured": 1}')
    with pytest.raises(InputError, match=r"rounds\.json holds no rounds of benchmarks\.speed"):
        Results.at(tmp_path / "rounds.json", {})


# --- tables


def made_up(bench: Bench) -> Results:
    results = bench.results
    for n, (padded, bucketed, stock) in enumerate([(4.0, 1.0, 5.0), (8.0, 1.5, 8.0), (6.0, 1.2, 5.0)], 1):
        for mode, seconds, peak in ((PADDED, padded, 300), (BUCKETED, bucketed, 100), (STOCK, stock, 200)):
            busy = 0.3 if (mode, n) == (STOCK, 2) else 0.0
            results.measured.append(Measured(mode, n, 1, busy, took(seconds, peak * 2**20)))
    results.rates += [
        Rates("torch", 1, {"float32": 1e4, "bfloat16": 2e4}, 500.0),
        Rates("keras", 1, {"float32": 2e4}, 800.0),
        Rates("torch", 2, {"float32": 1.5e4}, 600.0),
    ]
    return results


def by_mode(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["mode"]: row for row in json.loads(table.to_json(orient="records", double_precision=15))}


def test_steps_and_epochs_are_medians_and_quartiles_scaled_to_the_epoch(bench: Bench) -> None:
    padded = by_mode(summarize(made_up(bench), [PADDED, BUCKETED, STOCK], bench.setting.samples, TOY))[PADDED.name]
    # The sample has 8,000 of the epoch's 20,000 operations, and the epoch 10 steps, 20 rows, 100 tokens of 160.
    epochs = 2.5 * np.array([4.0, 8.0, 6.0])
    for name, part in (("epoch_seconds", 1), ("step_seconds", 10)):
        low, median, high = np.percentile(epochs / part, (25, 50, 75))
        assert [padded[f"{name}_q1"], padded[name], padded[f"{name}_q3"]] == pytest.approx([low, median, high])
    assert padded["examples_per_second"] == pytest.approx(20 / 15)
    assert padded["tokens_per_second"] == pytest.approx(100 / 15)
    assert padded["padding_share"] == pytest.approx(0.375)
    assert (padded["step_real_flops"], padded["step_all_flops"]) == (1_000, 2_000)
    assert padded["trace_seconds"] == 3.0
    assert padded["peak_memory_bytes"] == 300 * 2**20


def test_the_floor_takes_the_highest_rate_and_bandwidth_of_the_run(bench: Bench) -> None:
    table = summarize(made_up(bench), [PADDED, BUCKETED], bench.setting.samples, TOY)
    least = 1_000 / 2e4 + optimizer_bytes(TOY, Recipe()) / 800.0
    assert list(table["floor_step_seconds"]) == pytest.approx([least, least]), "padding changes no floor"
    assert by_mode(table)[BUCKETED.name]["times_floor"] == pytest.approx(2.5 * 1.2 / 10 / least)


def test_a_precision_in_which_nothing_multiplies_has_no_floor(bench: Bench) -> None:
    results = made_up(bench)
    half = Mode("torch", "bucket", "float16")
    results.measured.append(Measured(half, 1, 1, 0.0, took(1.0)))
    table = summarize(results, [BUCKETED, half], bench.setting.samples, TOY)
    assert by_mode(table)[half.name]["times_floor"] is None
    shown = by_mode(dict(tables(results, table, bench.setting.samples))["Time a step"])[half.name]
    assert (shown["floor s"], shown["× floor"]) == ("–", "–")


def test_ratios_to_the_stock_trainer_are_taken_within_rounds(bench: Bench) -> None:
    table = summarize(made_up(bench), [PADDED, BUCKETED, STOCK], bench.setting.samples, TOY)
    # The medians of 0.8, 1 and 1.2, and of 0.2, 0.1875 and 0.24.
    assert list(table["step_by_stock"]) == pytest.approx([1.0, 0.2, 1.0])
    assert list(table["peak_by_stock"]) == pytest.approx([1.5, 0.5, 1.0])


def test_the_fastest_stock_mode_is_the_one_with_the_least_median(bench: Bench) -> None:
    results, best = made_up(bench), Mode("torch", "longest", "bfloat16", stock=True)
    for n, seconds in enumerate((1.0, 30.0, 0.5), 1):
        results.measured.append(Measured(best, n, 1, 0.0, took(seconds)))
    table = summarize(results, [BUCKETED, STOCK, best], bench.setting.samples, TOY)
    # The medians of 1, 0.05 and 2.4, and of 5, 0.27 and 10.
    assert list(table["step_by_best_stock"]) == pytest.approx([1.0, 5.0, 1.0])


def test_without_the_stock_trainer_there_are_no_ratios_to_it(bench: Bench) -> None:
    results = made_up(bench)
    results.measured = [m for m in results.measured if not m.mode.stock]
    assert summarize(results, [PADDED], bench.setting.samples, TOY)["step_by_stock"].isna().all()


def test_a_row_with_a_round_that_stayed_disturbed_is_marked(bench: Bench) -> None:
    results = made_up(bench)
    table = summarize(results, [PADDED, BUCKETED, STOCK], bench.setting.samples, TOY)
    for _, shown in tables(results, table, bench.setting.samples):
        assert list(shown["mode"]) == [PADDED.name, BUCKETED.name, f"{STOCK.name} !"]
    time = dict(tables(results, table, bench.setting.samples))["Time a step"]
    assert time["step s"][0] == "1.500 (1.250 – 1.750)"


# --- rates


def test_the_best_of_the_repetitions_counts_and_the_first_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    lasts = iter([5.0, 0.3, 0.1, 0.2])
    monkeypatch.setattr(rates.time, "perf_counter", lambda: now[0])

    def once() -> None:
        now[0] += next(lasts)

    assert rates.best_seconds(once) == pytest.approx(0.1)


# --- the command


@pytest.fixture(scope="module")
def question(cache: Path) -> Callable[[str], Question]:
    def ask(backend: str) -> Question:
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
        return plan_questions(request)[0]

    return ask


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stock_trainer_trains_on_the_batches_of_its_sample(
    backend: str, question: Callable[[str], Question], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "ATTEMPTS", 1)
    monkeypatch.setattr(speed_run, "_measure_rates", lambda *_: None)
    asked = question(backend)
    architecture = read_architecture(asked.checkpoint, asked.recipe, 2)
    modes = [mode for mode in BASELINES if mode.backend == backend and mode.precision == "float32"]
    samples: dict[str, Sample] = {
        mode.padding: make_sample(
            read_encoded(asked.data)["train"],
            architecture,
            replace(asked.recipe, padding=mode.padding),
            2,
            tmp_path / mode.padding,
        )
        for mode in modes
    }
    setting = Setting(asked, architecture, samples, {backend: find_environment(backend, {})}, "cpu", 1)
    results = Results(tmp_path / "rounds.json", ASKED)
    with RunProgress(terminal(), len(modes)) as progress:
        assert measure_modes(setting, modes, 1, results, progress) == {}, "steps, rows and tokens are the sample's"
    assert not results.refused
    for found in results.measured:
        assert min(found.took.seconds, found.took.first_step_seconds, found.took.start_seconds) > 0
        assert found.took.first_pass_seconds >= found.took.first_step_seconds
        assert found.took.peak_memory_bytes > 4 * sum(int(np.prod(s)) for s in architecture.shapes().values())
    for arguments in results.arguments.values():
        assert asked.recipe.batch_size in arguments.values()


def test_a_compiled_worker_trains_on_the_batches_of_its_sample_too(
    question: Callable[[str], Question], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "ATTEMPTS", 1)
    monkeypatch.setattr(speed_run, "_measure_rates", lambda *_: None)
    asked, mode = question("gluon"), Mode("gluon", "bucket", compile=True)
    architecture = read_architecture(asked.checkpoint, asked.recipe, 2)
    train, recipe = read_encoded(asked.data)["train"], replace(asked.recipe, padding="bucket")
    plain, rounded = (make_sample(train, architecture, recipe, 2, tmp_path / str(m), m) for m in (1, 8))
    assert rounded.work.padded_tokens > plain.work.padded_tokens, "else this would show nothing"
    setting = Setting(asked, architecture, {mode.widths: rounded}, {"gluon": find_environment("gluon", {})}, "cpu", 1)
    results = Results(tmp_path / "rounds.json", ASKED)
    with RunProgress(terminal(), 1) as progress:
        assert measure_modes(setting, [mode], 1, results, progress) == {}
    assert len(results.measured) == 1


def test_one_command_measures_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure, "ATTEMPTS", 1)
    asked = ["--task", "acceptability", "--model", "random:bert-tiny", "--backend", "torch", "--padding", "bucket"]
    asked += ["--precision", "float32", "--max-len", "16", "--batch-size", "4", "--steps", "2", "--rounds", "1"]
    asked += ["--threads", "1", "--baselines", "no", "--device", "cpu", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as end:
        main(asked)
    assert end.value.code == 0
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
    with pytest.raises(SystemExit) as end:
        main(asked)
    assert end.value.code == 0
    assert "0 measurements to make" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--steps", "1"], "--steps 1: pass 2 or more"),
        (["--rounds", "0"], "--rounds 0: pass 1 or more"),
        (["--backend", "jax"], "unknown backend 'jax'"),
        (["--padding", "none"], "invalid choice: 'none'"),
        (["--precision", "int8"], "invalid choice: 'int8'"),
        (["--compile", "maybe"], "'maybe' is neither yes nor no"),
        (["--max-len", "2"], "max_len is 2; pass 4 or more"),
        (["--task", "chess"], "chess"),
        (["--scale", "0"], "train_rows is 0; pass 1 or more"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--task", "acceptability", "--model", "random:bert-tiny", *arguments, "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert complaint in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
