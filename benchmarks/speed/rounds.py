"""Rounds: in each, every variant is measured once, in a fresh process, and every framework's rates before it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from backends import BACKENDS
from backends.devices import alone
from backends.rates import Rates
from benchmarks.cells.plan import Question
from benchmarks.speed.results import Measured, Rated, Results, Took
from benchmarks.speed.sample import Sample
from benchmarks.speed.variants import Variant
from benchmarks.workers.attempts import attempts
from benchmarks.workers.environments import Environment
from benchmarks.workers.launcher import check_finished, run_script, run_worker
from benchmarks.workers.machine import with_node
from benchmarks.workers.progress import RunProgress
from shared.answer import Event, Stepped, Trained, TrainerAnswer
from shared.errors import InputError, ProcessFailed
from shared.job import Precision


@dataclass(frozen=True)
class Conditions:
    """Everything that is the same for all variants."""

    question: Question
    samples: dict[str, Sample]
    """Samples by `Variant.widths`."""
    environments: dict[str, Environment]
    """Interpreters by backend."""
    device: str
    threads: int

    @property
    def gpu_variables(self) -> dict[str, str]:
        """Show a program that takes every GPU it sees the one asked for, or none."""
        return {"CUDA_VISIBLE_DEVICES": alone(self.device)}


def measure_variants(
    conditions: Conditions,
    variants: list[Variant],
    rounds: int,
    results: Results,
    file: Path,
    progress: RunProgress,
) -> dict[str, str]:
    """Measures what the results lack. Adds each measurement to them, and writes them to the file, as it comes. Rounds
    run forwards and backwards in turn, so that no variant always follows the same other.

    A variant that fails does not keep the others from being measured: returns the reasons by its name. Raises
    ProcessFailed if a framework's rates cannot be measured."""
    failed: dict[str, str] = {}
    results.nodes = with_node(results.nodes)
    precisions = sorted({variant.precision for variant in variants})
    for number in range(1, rounds + 1):
        _measure_rates(conditions, number, precisions, results, file)
        for variant in variants if number % 2 else reversed(variants):
            if variant.name in results.refused or variant.name in failed or results.has(variant, number):
                continue
            progress.begin(f"round {number}/{rounds} {variant.name}")
            try:
                _measure(conditions, variant, number, results, progress)
            except InputError as refusal:
                results.refused[variant.name] = str(refusal)
                progress.end(f"refused: {refusal}")
            except ProcessFailed as failure:
                (results.refused if failure.refused else failed)[variant.name] = str(failure)
                progress.failed("refused" if failure.refused else "FAILED", failure)
            results.write(file)
    _measure_rates(conditions, rounds + 1, precisions, results, file)
    return failed


def _measure(conditions: Conditions, variant: Variant, round: int, results: Results, progress: RunProgress) -> None:
    """Measures a variant, again if others disturb it. Raises InputError if it is refused, and ProcessFailed."""

    def on_event(event: Event) -> None:
        if isinstance(event, Stepped):
            progress.event(event)

    made = attempts(lambda: _run(conditions, variant, on_event))
    for attempt, (answer, busy) in enumerate(made, 1):
        results.measured.append(Measured(variant, round, attempt, busy, Took.of(answer)))
        if isinstance(answer, TrainerAnswer):
            results.arguments[variant.name] = answer.arguments
    progress.end(_line(results.counted(variant)[-1], conditions.samples[variant.widths], len(made)))


def _run(conditions: Conditions, variant: Variant, on_event: Callable[[Event], None]) -> Trained | TrainerAnswer:
    """The answer of one process. Raises InputError if the variant is refused, and ProcessFailed."""
    sample = conditions.samples[variant.widths]
    module = BACKENDS[variant.backend].module("trainer") if variant.trainer else "backends.worker"
    job = replace(
        conditions.question.job(variant.backend, conditions.device, conditions.threads),
        data=str(sample.data),
        recipe=sample.recipe,
        precision=variant.precision,
        compile=variant.compile,
        embedding_update=variant.update,
    )
    python = conditions.environments[variant.backend].python
    with tempfile.TemporaryDirectory() as folder:
        job.write(Path(folder))
        kind: type[Trained] | type[TrainerAnswer] = TrainerAnswer if variant.trainer else Trained
        answer = run_worker(python, Path(folder), conditions.threads, on_event, kind, module)
    check_finished(answer)
    _check_work(answer, sample)
    return answer


def _check_work(answer: Trained | TrainerAnswer, sample: Sample) -> None:
    """Raises ProcessFailed if the process did other work than the sample's."""
    second, work = answer.epochs[-1], sample.work
    did, wanted = (second.steps, second.rows, second.padded_tokens), (work.steps, work.rows, work.padded_tokens)
    if did != wanted:
        raise ProcessFailed(f"steps, rows and tokens of a pass are {did}, and the sample has {wanted}")


def _measure_rates(
    conditions: Conditions, round: int, precisions: list[Precision], results: Results, file: Path
) -> None:
    """Measures the rates that the results lack, of every framework that has probes. Raises ProcessFailed."""
    rated = {r.backend for r in results.rates if r.round == round}
    for backend, environment in conditions.environments.items():
        if backend in rated or "probes" in BACKENDS[backend].lacks:
            continue
        question = [backend, conditions.device, conditions.threads, ",".join(precisions)]
        command = [environment.python, "-m", "backends.rates", *question]
        with tempfile.TemporaryDirectory() as scratch:
            answer = Path(scratch) / "rates.json"
            try:
                found = run_script(command, answer, conditions.threads, Rates, conditions.gpu_variables)
            except ProcessFailed as failure:
                why = f"the rates of {backend} could not be measured: {failure}"
                raise ProcessFailed(f"{why}; the same command goes on from what is done", failure.tail) from None
        results.rates.append(Rated(backend, round, found.product, found.bandwidth))
        results.write(file)


def _line(measured: Measured, sample: Sample, attempts: int) -> str:
    took = measured.took
    again = f", the quietest of {attempts} attempts" if attempts > 1 else ""
    mark = f"; DISTURBED: others kept {measured.busy_cores:.2f} cores busy{again}" if measured.disturbed else again
    return (
        f"{took.seconds / sample.work.steps:.3f} s a step, first step {took.first_step_seconds:.2f} s, "
        f"start {took.start_seconds:.1f} s, peak {took.peak_memory_bytes / 2**20:.0f} MiB{mark}"
    )
