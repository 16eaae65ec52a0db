"""Rounds of benchmarks.speed, with processes that are made up: order, repetition, failures, and what is kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from backends import BACKENDS
from backends.rates import Rates
from benchmarks.cells.plan import Question
from benchmarks.speed import rounds
from benchmarks.speed.report import notes
from benchmarks.speed.results import Results
from benchmarks.speed.rounds import Conditions, measure_variants
from benchmarks.speed.variants import Variant
from benchmarks.workers import attempts
from benchmarks.workers.attempts import ATTEMPTS, DISTURBED
from benchmarks.workers.environments import Environment
from benchmarks.workers.progress import RunProgress, terminal
from shared.answer import Pass, Trained, TrainerAnswer
from shared.errors import InputError, ProcessFailed
from shared.job import Job
from shared.tasks import get_task
from tests.checkpoints import TOY
from tests.factories import answer, epoch
from tests.speed_factories import ASKED, BUCKETED, PADDED, RECIPE, TRAINER, WORK, samples


@dataclass
class Bench:
    """Conditions whose processes are made up: each notes the variant that it was started for, and answers alike."""

    conditions: Conditions
    results: Results
    file: Path
    started: list[tuple[str, str, bool]] = field(default_factory=list)
    """Backend, padding of the variant's sample, and whether the library's trainer trained."""
    busy: list[float] = field(default_factory=list)
    """Cores that others keep busy during each attempt; none once it is used up."""
    ends: dict[int, BaseException] = field(default_factory=dict)
    """Ends of processes in place of an answer, by their numbers from 0."""
    rated: list[str] = field(default_factory=list)
    """The backends whose rates were measured."""

    def measure(self, variants: list[Variant], rounds: int) -> dict[str, str]:
        """Measures, and gives the reasons of those that failed."""
        with RunProgress(terminal(), len(variants) * rounds) as progress:
            return measure_variants(self.conditions, variants, rounds, self.results, self.file, progress)

    @property
    def kept(self) -> Results:
        """The results in the file."""
        return Results.read(self.file, ASKED)

    def run_worker(
        self, python: Path, folder: Path, threads: int, on_event: Any, kind: type, module: str
    ) -> Trained | TrainerAnswer:
        """Takes the launcher's place."""
        job = Job.read(folder)
        number = len(self.started)
        self.started.append((job.backend, Path(job.data).name, module.endswith(".trainer")))
        if number in self.ends:
            raise self.ends[number]
        if kind is TrainerAnswer:
            first, second = (Pass(steps=4, rows=8, padded_tokens=64, seconds=s) for s in (30.0, number + 1.0))
            return TrainerAnswer(
                epochs=[first, second],
                first_step_seconds=2.0,
                start_seconds=5.0,
                peak_memory_bytes=2**20,
                arguments={"batch": 2},
            )
        passes = [epoch(seconds, steps=4, rows=8, padded_tokens=64) for seconds in (30.0, number + 1.0)]
        return answer(passes)

    def run_script(self, command: list[Any], *_: Any) -> Rates:
        """Takes the launcher's place."""
        self.rated.append(command[3])
        return Rates({"float32": 1e3}, 1e3)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    question = Question(get_task("acceptability"), "toy", tmp_path, RECIPE, ("0", "1"), {}, tmp_path)
    environments = {backend: Environment(tmp_path, {}, {}, "3.11") for backend in BACKENDS}
    conditions = Conditions(question, samples(tmp_path), environments, "cpu", 2)
    made = Bench(conditions, Results(ASKED), tmp_path / "rounds" / "toy.json")

    class Busy:
        def by_others(self) -> float:
            return made.busy.pop(0) if made.busy else 0.0

    monkeypatch.setattr(rounds, "run_worker", made.run_worker)
    monkeypatch.setattr(rounds, "run_script", made.run_script)
    monkeypatch.setattr(attempts, "BusyCores", Busy)
    return made


# --- order


def test_every_other_round_runs_backwards(bench: Bench) -> None:
    bench.measure([PADDED, BUCKETED, TRAINER], rounds=2)
    forwards = [("torch", "max_length", False), ("torch", "bucket", False), ("torch", "max_length", True)]
    assert bench.started == [*forwards, *reversed(forwards)]
    assert bench.kept.arguments == {TRAINER.name: {"batch": 2}}


def test_rates_are_taken_before_each_round_and_after_the_last(bench: Bench) -> None:
    bench.measure([PADDED], rounds=2)
    assert bench.rated == [*BACKENDS] * 3
    assert [(r.backend, r.round) for r in bench.kept.rates] == [(b, n) for n in (1, 2, 3) for b in BACKENDS]


# --- going on


def test_an_interrupted_command_goes_on_from_its_file(bench: Bench) -> None:
    """The interrupted measurement alone is started again, and no rates are taken twice."""
    bench.ends[3] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        bench.measure([PADDED, BUCKETED], rounds=2)
    assert [(m.variant, m.round) for m in bench.kept.measured] == [(PADDED, 1), (BUCKETED, 1), (BUCKETED, 2)]
    bench.results = bench.kept
    bench.measure([PADDED, BUCKETED], rounds=2)
    assert len(bench.started) == 5
    assert [m.took.seconds for m in bench.kept.measured] == [1, 2, 3, 5]
    assert bench.rated == [*BACKENDS] * 3


def test_more_rounds_go_on_from_those_that_are_done(bench: Bench) -> None:
    bench.measure([PADDED], rounds=1)
    bench.measure([PADDED], rounds=3)
    assert [m.round for m in bench.kept.measured] == [1, 2, 3]


@pytest.mark.parametrize("content", ['{"measured": 1}', "[]", "{", "\udcff", '{"asked": {}, "measured": []}'])
def test_a_file_of_other_content_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "rounds.json"
    file.write_text(content, errors="surrogateescape")
    with pytest.raises(InputError, match=r"rounds\.json holds no rounds of benchmarks\.speed; delete it and measure"):
        Results.read(file, ASKED)


# --- disturbance


def test_the_quietest_of_disturbed_attempts_counts(bench: Bench) -> None:
    bench.busy += [1.0, 0.5, *[0.8] * (ATTEMPTS - 2)]
    bench.measure([PADDED], rounds=1)
    assert [(m.attempt, m.busy_cores) for m in bench.kept.measured] == [(1, 1.0), (2, 0.5), (3, 0.8)]
    (counted,) = bench.results.counted(PADDED)
    assert counted.attempt == 2
    assert counted.disturbed


def test_an_attempt_that_gets_quiet_is_the_last(bench: Bench) -> None:
    bench.busy += [1.0, DISTURBED]
    bench.measure([PADDED], rounds=1)
    (counted,) = bench.results.counted(PADDED)
    assert (counted.attempt, counted.disturbed) == (2, False)


# --- refusal and failure


def test_a_refused_variant_is_noted_and_not_asked_again(bench: Bench) -> None:
    bench.ends[0] = ProcessFailed("torch cannot pad", refused=True)
    assert bench.measure([PADDED, BUCKETED], rounds=2) == {}
    assert bench.started == [("torch", "max_length", False), ("torch", "bucket", False), ("torch", "bucket", False)]
    assert bench.kept.refused == {PADDED.name: "torch cannot pad"}
    noted = notes(bench.results, bench.conditions.samples, RECIPE, TOY)
    assert f"{PADDED.name}: refused: torch cannot pad" in noted


def test_a_failed_variant_is_skipped_and_tried_again(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.ends[0] = ProcessFailed("the worker was killed", tail=("no memory left",))
    assert bench.measure([PADDED, BUCKETED], rounds=1) == {PADDED.name: "the worker was killed"}
    assert "    FAILED: the worker was killed\n      | no memory left\n" in capsys.readouterr().out
    assert [m.variant for m in bench.kept.measured] == [BUCKETED]
    assert bench.measure([PADDED, BUCKETED], rounds=1) == {}
    assert [m.variant for m in bench.kept.measured] == [BUCKETED, PADDED]


def test_a_process_that_did_other_work_has_failed(bench: Bench) -> None:
    sample = bench.conditions.samples["bucket"]
    bench.conditions.samples["bucket"] = replace(sample, work=replace(WORK, padded_tokens=65))
    failed = bench.measure([BUCKETED], rounds=1)
    assert "a pass are (4, 8, 64), and the sample has (4, 8, 65)" in failed[BUCKETED.name]
    assert not bench.kept.measured


def test_a_training_that_diverged_has_failed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "run_worker", lambda *_: answer(diverged=3, test=None))
    failed = bench.measure([BUCKETED], rounds=1)
    assert failed[BUCKETED.name].startswith("the training diverged at step 3: pass a smaller --learning-rate")
    assert not bench.kept.measured


def test_a_room_without_trainer_has_its_variant_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend's other variants are measured."""
    lacking = replace(BACKENDS["torch"], lacks={"trainer": "it has no loop of its own"})
    monkeypatch.setitem(BACKENDS, "torch", lacking)
    assert bench.measure([PADDED, TRAINER], rounds=1) == {}
    assert [m.variant for m in bench.kept.measured] == [PADDED]
    reason = "torch has no trainer: it has no loop of its own; leave torch out"
    assert bench.kept.refused == {TRAINER.name: reason}
    assert f"{TRAINER.name}: refused: {reason}" in notes(bench.results, bench.conditions.samples, RECIPE, TOY)


def test_a_room_without_probes_has_no_rates(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The floor follows from the others' rates, and the notes give the reason."""
    monkeypatch.setitem(BACKENDS, "torch", replace(BACKENDS["torch"], lacks={"probes": "nobody wrote them"}))
    bench.measure([PADDED], rounds=1)
    others = [backend for backend in BACKENDS if backend != "torch"]
    assert bench.rated == others * 2
    assert [m.variant for m in bench.kept.measured] == [PADDED]
    noted = notes(bench.results, bench.conditions.samples, RECIPE, TOY)
    assert "torch: its rates were not measured: nobody wrote them" in noted
