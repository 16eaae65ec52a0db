"""Measures modes side by side: round by round every mode once, each in a fresh process, and each framework's rates
around each round."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends import BACKENDS
from benchmarks.cells.plan import Question
from benchmarks.speed.modes import Mode
from benchmarks.speed.results import Measured, Rates, Results, Took
from benchmarks.speed.sample import Sample
from benchmarks.workers.attempts import attempts
from benchmarks.workers.bare import check_bare
from benchmarks.workers.environments import Environment
from benchmarks.workers.launcher import ModeFailed, run_script, run_worker
from benchmarks.workers.progress import RunProgress
from shared.architecture import Architecture
from shared.errors import InputError


@dataclass(frozen=True)
class Setting:
    """What every mode is given."""

    question: Question
    architecture: Architecture
    samples: dict[str, Sample]
    """By `Mode.widths`."""
    environments: dict[str, Environment]
    device: str
    threads: int

    @property
    def gpu_variables(self) -> dict[str, str]:
        """For a program that takes the GPU that it sees: the one asked for, or none."""
        return {"CUDA_VISIBLE_DEVICES": self.device.removeprefix("cuda:").removeprefix("cpu")}


def measure_modes(
    setting: Setting, modes: list[Mode], rounds: int, results: Results, progress: RunProgress
) -> dict[str, str]:
    """Measures what the results lack, and adds it there as it comes. Gives by the mode's name why it failed, where one
    did; a failed mode keeps no other from being measured. Rounds run forwards and backwards in turn, so that no mode
    always follows the same other."""
    failed: dict[str, str] = {}
    precisions = sorted({mode.precision for mode in modes})
    for number in range(1, rounds + 1):
        _measure_rates(setting, number, precisions, results)
        for mode in modes if number % 2 else reversed(modes):
            if mode.name in results.refused or mode.name in failed or results.has(mode, number):
                continue
            progress.begin(f"round {number}/{rounds} {mode.name}")
            try:
                made = attempts(lambda mode=mode: _run_mode(setting, mode, progress.event))  # type: ignore[misc]
            except InputError as refusal:
                results.refused[mode.name] = str(refusal)
                progress.end(f"refused: {refusal}")
            except ModeFailed as failure:
                failed[mode.name] = str(failure)
                progress.end(f"FAILED: {failure}")
                for line in failure.tail:
                    progress.line(f"      | {line}")
            else:
                for attempt, (answer, busy) in enumerate(made, 1):
                    results.measured.append(Measured(mode, number, attempt, busy, Took.of(answer)))
                if mode.stock:
                    results.arguments[mode.name] = made[-1][0]["arguments"]
                progress.end(_line(results.counted(mode)[-1], setting.samples[mode.widths], len(made)))
            results.write()
    _measure_rates(setting, rounds + 1, precisions, results)
    return failed


def _measure_rates(setting: Setting, round: int, precisions: list[str], results: Results) -> None:
    for backend, environment in setting.environments.items():
        if any(r.backend == backend and r.round == round for r in results.rates):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            found = run_script(
                [environment.python, "-m", "backends.rates", backend, setting.threads, ",".join(precisions)],
                Path(scratch) / "rates.json",
                setting.threads,
                setting.gpu_variables,
            )
        results.rates.append(Rates(backend, round, found["product"], found["bandwidth"]))
        results.write()


def _run_mode(setting: Setting, mode: Mode, on_event: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The answer of one process. Raises InputError where the backend refuses the mode, and ModeFailed."""
    sample, question = setting.samples[mode.widths], setting.question
    if mode.stock and mode.backend == "gluon":
        check_bare(question.checkpoint, setting.architecture)  # its network is the bare script's
    job = question.job(
        mode.backend, setting.device, setting.threads, data=str(sample.data), recipe=sample.recipe, **mode.of_job()
    )
    python = setting.environments[mode.backend].python
    module = BACKENDS[mode.backend].module("trainer") if mode.stock else "backends.worker"
    with tempfile.TemporaryDirectory() as folder:
        job.write(Path(folder))
        outcome = run_worker(
            python, Path(folder), setting.threads, lambda e: on_event(e) if e["event"] == "step" else None, module
        )
    if outcome.bad_input:
        raise InputError(outcome.error)
    if outcome.answer is None:
        raise ModeFailed(outcome.error, outcome.tail)
    second = outcome.answer["epochs"][-1]
    did = second["steps"], second["rows"], second["padded_tokens"]
    if did != (sample.work.steps, sample.work.rows, sample.work.padded_tokens):
        raise ModeFailed(
            f"steps, rows and tokens of a pass are {did}, and the sample has "
            f"{(sample.work.steps, sample.work.rows, sample.work.padded_tokens)}",
            (),
        )
    return outcome.answer


def _line(measured: Measured, sample: Sample, attempts: int) -> str:
    took = measured.took
    again = f", the quietest of {attempts} attempts" if attempts > 1 else ""
    mark = f"; DISTURBED: others kept {measured.busy_cores:.2f} cores busy{again}" if measured.disturbed else again
    return (
        f"{took.seconds / sample.work.steps:.3f} s a step, first step {took.first_step_seconds:.2f} s, "
        f"start {took.start_seconds:.1f} s, peak {took.peak_memory_bytes / 2**20:.0f} MiB{mark}"
    )
