"""Shows at which rung two frameworks part, by how much, and what usually causes it; or whether they score the same.

With one seed, each backend writes down what it computes over the first steps of one training: parameters, batches,
hidden states, loss, gradients, parameters after each stage. These are compared, rung by rung, with torch in float64;
dropout is off where each framework would draw other numbers.

With several seeds, each backend is fine-tuned once a seed, and every two of them are compared by their paired
differences of dev and test metrics: equivalent within a margin, different, or undecided.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.equivalence_run import compare_seeds
from benchmarks.options import (
    Parser,
    add_recipe_options,
    add_what_options,
    add_where_options,
    chosen_backends,
    chosen_pythons,
    one_line_errors,
    recipes,
)
from shared.errors import InputError

if TYPE_CHECKING:  # slow to import, and --help needs none of it
    from backends.stock import Part
    from benchmarks.environments import Environment
    from benchmarks.ladder import Trace
    from benchmarks.plan import Question
    from benchmarks.progress import RunProgress
    from shared.job import Precision
    from shared.recipe import Recipe

EXAMPLES = """examples:
  python -m benchmarks.parity --task paraphrase --model random:bert-tiny --max-len 32 --steps 10
  python -m benchmarks.parity --backend gluon --task mrpc --data-dir DATA --model minilm --precision float32 float64
  python -m benchmarks.parity --backend keras --task mrpc --data-dir DATA --model minilm --against stock
  python -m benchmarks.parity --task mrpc --data-dir DATA --model minilm --epochs 3 --seed 1 2 3 4 5 6 7 8 9 10

Exit code: 0 when every rung holds, or every comparison over the seeds is equivalent; 1 when one is not, or a run fails;
2 for bad input."""

STEPS = 20
FIXED = {"epochs": 1, "keep": "last", "eval_before": False, "test_split": "test"}
"""Fields of a recipe that the ladder has no use for."""


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    options.seed = list(dict.fromkeys(options.seed))
    if len(options.seed) > 1:
        with one_line_errors("benchmarks.parity", "what is answered is kept, and the same command goes on"):
            sys.exit(compare_seeds(options))
    with one_line_errors("benchmarks.parity"):
        command = shlex.join(["python", "-m", "benchmarks.parity", *(arguments or sys.argv[1:])])
        sys.exit(run(_for_the_ladder(options), command))


def _for_the_ladder(options: argparse.Namespace) -> argparse.Namespace:
    """With the ladder's own defaults. Raises InputError for what only several seeds have a use for."""
    if options.margin is not None:
        raise InputError("--margin needs several seeds, such as --seed 1 2 3; with one, each rung has its own bound")
    for name, value in FIXED.items():
        if getattr(options, name) != [value]:
            raise InputError(
                f"--{name.replace('_', '-')} needs several seeds, such as --seed 1 2 3; with one, parity follows the "
                "steps of one epoch and tests nothing"
            )
    options.steps = STEPS if options.steps is None else options.steps
    options.precision = options.precision or ["float32"]
    return options


def run(options: argparse.Namespace, command: str) -> int:
    """The ladder: traces, compares, prints and writes; documents show the command. Returns the exit code."""
    backends, pythons, grid = chosen_backends(options.backend), chosen_pythons(options.python), recipes(options)
    if len(options.task) * len(options.model) * len(grid) > 1:
        raise InputError("parity follows one training; pass one task, one model and one value of each recipe option")
    if options.steps < 2:
        raise InputError(f"--steps {options.steps}: pass 2 or more")
    if backends == ["torch"] and options.precision == ["float64"]:
        raise InputError("torch in float64 is the truth that others are compared with; pass another backend or float32")
    if options.against:
        _check_stock(grid[0], options.precision)
    elif options.document:
        raise InputError("--document is what --against stock writes; pass that too")

    from benchmarks.plan import Request, choose_device, choose_threads, find_environments, plan_questions

    device, threads = choose_device(options.device), choose_threads(options.threads)
    request = Request(
        backends=list(dict.fromkeys(["torch", *backends])),
        tasks=options.task,
        models=options.model,
        recipes=grid,
        device=device,
        threads=threads,
        limit=options.limit,
        data_dir=options.data_dir,
        pythons=pythons,
        steps=options.steps,
    )
    (question,) = plan_questions(request)
    if question.splits["dev"].labels is None:
        raise InputError(f"{question.task.name}'s split {question.recipe.dev_split!r} has no labels; pass --dev-split")
    environments = find_environments(request.backends, pythons)

    from benchmarks.divergences import print_divergences, write_divergences
    from benchmarks.ladder import Finding, Truth, climb
    from benchmarks.parity_report import Report, print_report, write_report
    from benchmarks.progress import RunProgress, terminal

    truth, noise = Climber("torch", "float64"), Climber("torch", "float32")
    parts = _stock_parts(backends, question) if options.against else []
    if options.against:
        asked = [Climber(b, "float32", tuple(p.name for p in parts if p.backend == b and p.usual)) for b in backends]
        alone = {part: Climber(part.backend, "float32", (part.name,)) for part in parts}
    else:
        asked = [Climber(backend, precision) for precision in options.precision for backend in backends]
        alone = {}
    climbers = [climber for climber in dict.fromkeys([*asked, *alone.values()]) if climber != truth]
    findings: dict[Climber, list[Finding]] = {}
    report = Report.of(question, options.steps, device, threads, environments)
    console = terminal()
    options.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".traces.", dir=options.out)).absolute()
    try:
        with RunProgress(console, len({truth, noise, *climbers})) as progress:
            tracer = Tracer(question, environments, device, threads, folder, progress)
            exact = tracer.trace(truth, None)
            # Every backend clips at the truth's tenth of a norm.
            traces = {truth: exact, noise: tracer.trace(noise, exact.summary["steep_clip"])}
            for climber in climbers:
                trace = traces.get(climber) or tracer.trace(climber, exact.summary["steep_clip"])
                findings[climber] = list(climb(Truth(exact, traces[noise]), trace))
                if climber in asked:
                    report.add(climber.name, trace, findings[climber])
                if climber not in traces:
                    shutil.rmtree(trace.folder)  # several times the model's size
    except TraceFailed as failure:
        print(f"benchmarks.parity: {failure}", file=sys.stderr)
        return 2 if failure.bad_input else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print_report(console, report)
    write_report(options.out, report)
    console.print(f"\n{options.out}/parity.md, parity.json and parity.png hold this", style="dim")
    if alone:
        divergences = {part: findings[climber] for part, climber in alone.items()}
        document = options.document or options.out / "divergences.md"
        print_divergences(console, divergences)
        write_divergences(document, report, divergences, command)
        console.print(f"\n{document} tells of each", style="dim")
    return 0 if report.holds else 1


@dataclass(frozen=True)
class Climber:
    """A backend in a precision, with some of its framework's own parts."""

    backend: str
    precision: Precision
    stock: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        if len(self.stock) == 1:
            return f"{self.backend} stock {self.stock[0]}"
        if self.stock:
            return f"{self.backend} stock"
        return self.backend if self.precision == "float32" else f"{self.backend} {self.precision}"


class TraceFailed(Exception):
    """A worker ended without a trace."""

    def __init__(self, message: str, bad_input: bool) -> None:
        super().__init__(message)
        self.bad_input = bad_input


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
        TraceFailed."""
        from benchmarks.ladder import Trace
        from benchmarks.launcher import run_worker
        from shared.job import TRACE, Job

        self.progress.begin(climber.name)
        task, folder = self.question.task, self.folder / climber.name.replace(" ", "-")
        folder.mkdir()
        Job(
            kind="trace",
            backend=climber.backend,
            task=task.name,
            labels=task.labels,
            metrics=task.metrics,
            data=str(self.question.data),
            checkpoint=str(self.question.checkpoint),
            recipe=self.question.recipe,
            device="cpu" if climber.precision == "float64" else self.device,
            threads=self.threads,
            precision=climber.precision,
            steep_clip=steep_clip,
            stock=climber.stock,
        ).write(folder)
        python = self.environments[climber.backend].python
        outcome = run_worker(python, folder, self.threads, self.progress.event)
        if outcome.answer is None:
            for line in outcome.tail:
                self.progress.line(f"      | {line}")
            raise TraceFailed(f"{climber.name}: {outcome.error}", outcome.bad_input)
        self.progress.end("traced")
        return Trace(folder / TRACE, outcome.answer["trace"])


def _check_stock(recipe: Recipe, precisions: list[str]) -> None:
    if precisions != ["float32"]:
        raise InputError("--against stock compares in float32; leave --precision out")
    for name, value in (("optimizer", "adamw"), ("eps_place", "after"), ("bias_correction", True)):
        if getattr(recipe, name) != value:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"--against stock takes each framework's own optimizer; leave {option} out")


def _stock_parts(backends: list[str], question: Question) -> list[Part]:
    from backends.stock import parts_of
    from shared.checkpoint import read_architecture

    kind = read_architecture(question.checkpoint, question.recipe, len(question.task.labels)).model_type
    return [part for backend in backends for part in parts_of(backend, kind)]


def _parser() -> Parser:
    parser = Parser(
        prog="benchmarks.parity",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = add_what_options(parser)
    what.add_argument(
        "--limit", type=int, metavar="N", help="the first N rows only: of dev, or with several seeds of every split"
    )
    what.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help=f"training steps of the one epoch that is followed, warm-up and decay of the rate in it ({STEPS}); for "
        "one seed only",
    )
    what.add_argument(
        "--precision",
        nargs="+",
        choices=["float32", "float64"],
        help="float64 shows what rounding hides (float32); for one seed only",
    )
    what.add_argument(
        "--margin",
        type=float,
        metavar="X",
        help="the difference of a score from which on backends are not equivalent (torch's own deviation over the "
        "seeds, of each split and metric); for several seeds only",
    )
    what.add_argument(
        "--against",
        choices=["stock"],
        help="let each framework's own standard parts climb in place of this project's, all and one by one; for one "
        "seed only",
    )
    where = add_where_options(parser)
    where.add_argument("--document", type=Path, metavar="FILE", help="what --against stock found (OUT/divergences.md)")
    where.add_argument("--out", type=Path, default=Path("runs/parity"), metavar="DIR", help="(runs/parity)")
    add_recipe_options(parser, **FIXED)
    return parser


if __name__ == "__main__":
    main()
