"""Parity with one seed: every backend traces the same first steps, and the traces climb the ladder."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.options import chosen_backends, chosen_pythons
from benchmarks.cli.recipe_options import recipes
from shared.errors import InputError

if TYPE_CHECKING:  # slow to import, and --help needs none of it
    from backends.parts import Part
    from benchmarks.cells.plan import Question
    from benchmarks.parity.ladder import Finding, Trace
    from benchmarks.workers.environments import Environment
    from benchmarks.workers.progress import RunProgress
    from shared.job import Precision
    from shared.recipe import Recipe

STEPS = 20
FIXED = {"epochs": 1, "keep": "last", "eval_before": False, "test_split": "test"}
"""Fields of a recipe that the ladder has no use for."""


def climb_ladder(options: argparse.Namespace, command: str) -> int:
    """Traces, compares, prints and writes; documents show the command. Returns the exit code. Raises InputError."""
    backends, pythons = chosen_backends(options.backend), chosen_pythons(options.python)
    recipe, *others = recipes(options)
    steps = STEPS if options.steps is None else options.steps
    precisions: list[Precision] = options.precision or ["float32"]
    _refuse_what_needs_seeds(options)
    if others or len(options.task) * len(options.model) > 1:
        raise InputError("parity follows one training; pass one task, one model and one value of each recipe option")
    if steps < 2:
        raise InputError(f"--steps {steps}: pass 2 or more")
    if backends == ["torch"] and precisions == ["float64"]:
        raise InputError("torch in float64 is the truth that others are compared with; pass another backend or float32")
    if options.against:
        _refuse_what_stock_parts_lack(recipe, precisions)
    elif options.document:
        raise InputError("--document is what --against stock writes; pass that too")

    from benchmarks.cells.plan import Request, plan_questions
    from benchmarks.workers.environments import find_environments
    from benchmarks.workers.machine import choose_device, choose_threads

    device, threads = choose_device(options.device), choose_threads(options.threads)
    request = Request(
        backends=list(dict.fromkeys(["torch", *backends])),
        tasks=options.task,
        models=options.model,
        recipes=[recipe],
        device=device,
        threads=threads,
        limit=options.limit,
        data_dir=options.data_dir,
        pythons=pythons,
        steps=steps,
    )
    (question,) = plan_questions(request)
    if question.splits["dev"].labels is None:
        raise InputError(f"{question.task.name}'s split {recipe.dev_split!r} has no labels; pass --dev-split")
    environments = find_environments(request.backends, pythons)

    from benchmarks.parity.divergences import print_divergences, write_divergences
    from benchmarks.parity.ladder_report import Report, print_report, write_report
    from benchmarks.workers.launcher import WorkerFailed
    from benchmarks.workers.progress import RunProgress, terminal

    alone: dict[Part, Climber] = {}
    if options.against:
        parts = _stock_parts(backends, question)
        together = [Climber(b, stock=tuple(p.name for p in parts if p.backend == b and p.usual)) for b in backends]
        alone = {part: Climber(part.backend, stock=(part.name,)) for part in parts}
    else:
        together = [Climber(backend, precision) for precision in precisions for backend in backends]
    climbers = [climber for climber in dict.fromkeys([*together, *alone.values()]) if climber != TRUTH]
    console = terminal()
    options.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".traces.", dir=options.out)).absolute()
    try:
        with RunProgress(console, len({TRUTH, NOISE, *climbers})) as progress:
            climbs = _climb(climbers, Tracer(question, environments, device, threads, folder, progress))
    except WorkerFailed as failure:
        print(f"benchmarks.parity: {failure}", file=sys.stderr)
        return failure.code
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = Report.of(question, steps, device, threads, environments)
    for climber in together:
        if climber in climbs:
            report.add(climber.name, *climbs[climber])
    print_report(console, report)
    write_report(options.out, report)
    console.print(f"\n{options.out}/parity.md, parity.json and parity.png hold this", style="dim")
    if alone:
        document = options.document or options.out / "divergences.md"
        divergences = {part: climbs[climber][1] for part, climber in alone.items()}
        print_divergences(console, divergences)
        write_divergences(document, report, divergences, command)
        console.print(f"\n{document} tells of each", style="dim")
    return 0 if report.holds else 1


@dataclass(frozen=True)
class Climber:
    """A backend in a precision, with some of its framework's own parts."""

    backend: str
    precision: Precision = "float32"
    stock: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        if len(self.stock) == 1:
            return f"{self.backend} stock {self.stock[0]}"
        if self.stock:
            return f"{self.backend} stock"
        return self.backend if self.precision == "float32" else f"{self.backend} {self.precision}"


TRUTH, NOISE = Climber("torch", "float64"), Climber("torch")


@dataclass(frozen=True)
class Tracer:
    """Runs trace jobs, each in a fresh process."""

    question: Question
    environments: dict[str, Environment]
    device: str
    threads: int
    folder: Path
    progress: RunProgress

    def trace(self, climber: Climber, steep_clip: float | None) -> Trace:
        """The climber's trace. The truth, torch in float64, runs on the CPU, whatever the device. Raises
        WorkerFailed."""
        from benchmarks.parity.ladder import Trace
        from benchmarks.workers.launcher import ask
        from shared.job import TRACE, Job

        task, folder = self.question.task, self.folder / climber.name.replace(" ", "-")
        job = Job(
            kind="trace",
            backend=climber.backend,
            task=task.name,
            labels=self.question.labels,
            metrics=task.metrics,
            data=str(self.question.data),
            checkpoint=str(self.question.checkpoint),
            recipe=self.question.recipe,
            device="cpu" if climber.precision == "float64" else self.device,
            threads=self.threads,
            precision=climber.precision,
            steep_clip=steep_clip,
            stock=climber.stock,
        )
        answer = ask(climber.name, job, self.environments[climber.backend].python, folder, self.progress)
        self.progress.end("traced")
        return Trace(folder / TRACE, answer["trace"])


def _climb(climbers: list[Climber], tracer: Tracer) -> dict[Climber, tuple[Trace, list[Finding]]]:
    """Each climber's trace, of which the summary is kept, and what the ladder finds of it. Raises WorkerFailed."""
    from benchmarks.parity.ladder import Truth, climb

    exact = tracer.trace(TRUTH, None)
    clip = exact.summary["steep_clip"]  # every backend clips at the truth's tenth of a norm
    noise = tracer.trace(NOISE, clip)
    climbs = {}
    for climber in climbers:
        trace = noise if climber == NOISE else tracer.trace(climber, clip)
        climbs[climber] = trace, list(climb(Truth(exact, noise), trace))
        if trace is not noise:
            shutil.rmtree(trace.folder)  # several times the model's size
    return climbs


def _refuse_what_needs_seeds(options: argparse.Namespace) -> None:
    if options.margin is not None:
        raise InputError("--margin needs several seeds, such as --seed 1 2 3; with one, each rung has its own bound")
    for name, value in FIXED.items():
        if getattr(options, name) != [value]:
            raise InputError(
                f"--{name.replace('_', '-')} needs several seeds, such as --seed 1 2 3; with one, parity follows the "
                "steps of one epoch and tests nothing"
            )


def _refuse_what_stock_parts_lack(recipe: Recipe, precisions: list[Precision]) -> None:
    if precisions != ["float32"]:
        raise InputError("--against stock compares in float32; leave --precision out")
    for name, value in (("optimizer", "adamw"), ("eps_place", "after"), ("bias_correction", True)):
        if getattr(recipe, name) != value:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"--against stock takes each framework's own optimizer; leave {option} out")


def _stock_parts(backends: list[str], question: Question) -> list[Part]:
    from backends.parts import parts_of
    from shared.checkpoint.config import read_architecture

    kind = read_architecture(question.checkpoint, question.recipe, len(question.labels)).model_type
    return [part for backend in backends for part in parts_of(backend, kind)]
