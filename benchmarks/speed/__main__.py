"""Measures how fast each backend trains in each mode, against its library's stock trainer and against the least time
that this machine's arithmetic and memory allow."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.cli.options import add_backend_option, add_where_options, chosen_backends, chosen_pythons
from benchmarks.cli.parser import Parser, check_writable, one_line_errors
from benchmarks.speed.modes import Mode, choose_modes
from shared.errors import InputError
from shared.job import PRECISIONS
from shared.recipe import CHOICES, Recipe
from shared.tasks import TASK_MODULES

EXAMPLES = """examples:
  python -m benchmarks.speed --task cola --model minilm --data-dir DATA
  python -m benchmarks.speed --task mrpc --model minilm --data-dir DATA --max-len 128 --padding max_length bucket
  python -m benchmarks.speed --task cola --model minilm --data-dir DATA --backend torch --padding bucket --rounds 1
  python -m benchmarks.speed --task sst2 --model minilm --data-dir DATA --backend torch --scale 1000 10000 60000

Run it on a machine that does nothing else. A round is one fresh process a mode; rounds that are done are kept, and the
same command goes on after an interruption. docs/performance.md explains every column. Exit code: 0 when every mode was
measured or refused by its backend, 1 when one failed, 2 for bad input."""


def main(arguments: list[str] | None = None) -> None:
    with one_line_errors("benchmarks.speed", "rounds that are done are kept, and the same command goes on"):
        sys.exit(run(_parser().parse_args(arguments)))


def run(options: argparse.Namespace) -> int:
    """Measures what is not measured yet, prints and writes. Returns the exit code. Raises InputError."""
    backends, pythons = chosen_backends(options.backend), chosen_pythons(options.python)
    if options.steps < 2:
        raise InputError(f"--steps {options.steps}: pass 2 or more, as the epoch's costliest is always one of them")
    if options.rounds < 1:
        raise InputError(f"--rounds {options.rounds}: pass 1 or more")
    recipe = Recipe(max_len=options.max_len, batch_size=options.batch_size, seed=options.seed)
    check_writable("--out", options.out)
    recipes = [recipe]
    if options.scale:
        # `bucket` is what training at scale would use, and the last of the default.
        size = replace(recipe, padding=options.padding[-1], epochs=1, dev_rows=recipe.batch_size)
        recipes = [replace(size, train_rows=rows) for rows in sorted(set(options.scale))]

    from benchmarks.cells.plan import Request, plan_questions
    from benchmarks.speed.report import notes, print_report, summarize, write_report
    from benchmarks.speed.results import Results
    from benchmarks.speed.rounds import Setting, measure_modes
    from benchmarks.speed.sample import make_sample
    from benchmarks.speed.scaling import measure_scaling
    from benchmarks.workers.attempts import code_hash
    from benchmarks.workers.environments import find_environments
    from benchmarks.workers.machine import choose_device, choose_threads, describe_machine
    from benchmarks.workers.progress import RunProgress, terminal
    from shared.checkpoint.config import read_architecture
    from shared.checkpoint.sources import shown_model
    from shared.checkpoint.weights import checkpoint_hash
    from shared.encoding import read_encoded
    from shared.records import cell_id
    from shared.splits import splits_hash

    device, threads = choose_device(options.device), choose_threads(options.threads)
    questions = plan_questions(
        Request(
            backends=backends,
            tasks=[options.task],
            models=[options.model],
            recipes=recipes,
            device=options.device,
            threads=options.threads,
            limit=None,
            data_dir=options.data_dir,
            pythons=pythons,
        )
    )
    environments = find_environments(backends, pythons)
    machine = describe_machine()
    common: dict[str, Any] = {
        "task": options.task,
        "model": shown_model(options.model),
        "data": [splits_hash(question.splits) for question in questions],
        "checkpoint": checkpoint_hash(questions[0].checkpoint),
        "recipes": [question.recipe.asked() for question in questions],
        "versions": {backend: environments[backend].versions for backend in backends},
        "code": code_hash(),
        "device": device,
        "threads": threads,
        "machine": {name: machine[name] for name in ("cpu", "cores", "gpus")},
    }
    if options.scale:
        mode = Mode(backends[0], options.padding[-1], options.precision[0], options.compile[0])
        return measure_scaling(questions, mode, environments, common, options.out, options.rerun)

    modes = choose_modes(backends, options.padding, options.precision, options.compile, options.baselines)
    (question,) = questions
    architecture = read_architecture(question.checkpoint, recipe, len(question.labels))
    asked = {"kind": "speed", "steps": options.steps, "modes": [mode.to_json() for mode in modes]} | common
    file = options.out / "rounds" / f"{cell_id(asked)}.json"
    if options.rerun:
        file.unlink(missing_ok=True)
    results = Results.at(file, asked)
    console = terminal()
    left = sum(not results.has(mode, n) for mode in modes for n in range(1, options.rounds + 1))
    console.print(
        f"{len(modes)} modes x {options.rounds} rounds: {left} measurements to make; {file} holds the others (--rerun "
        "makes them anew)",
        highlight=False,
        soft_wrap=True,
    )
    with tempfile.TemporaryDirectory() as scratch:
        train = read_encoded(question.data)["train"]
        samples = {
            mode.widths: make_sample(
                train,
                architecture,
                replace(recipe, padding=mode.padding),
                options.steps,
                Path(scratch) / f"{mode.padding}-{mode.width_multiple}",
                mode.width_multiple,
            )
            for mode in {mode.widths: mode for mode in modes}.values()
        }
        setting = Setting(question, architecture, samples, environments, device, threads)
        with RunProgress(console, left) as progress:
            failed = measure_modes(setting, modes, options.rounds, results, progress)
    table = summarize(results, modes, samples, architecture)
    if len(table):
        lines = notes(results, samples, recipe, architecture)
        names = write_report(options.out, results, table, samples, lines)
        print_report(console, results, table, samples, lines)
        console.print(f"\n{options.out}: {', '.join(names)}", style="dim")
    for name, reason in failed.items():
        print(f"benchmarks.speed: {name} failed: {reason}", file=sys.stderr)
    if not len(table) and not failed:
        raise InputError("every mode was refused: " + "; ".join(f"{n}: {r}" for n, r in results.refused.items()))
    return 1 if failed else 0


def _parser() -> Parser:
    parser = Parser(prog="benchmarks.speed", description=__doc__, epilog=EXAMPLES)
    what = parser.add_argument_group("what to measure; several values make a mode each")
    add_backend_option(what, "all")
    what.add_argument("--task", required=True, metavar="NAME", help=", ".join(TASK_MODULES))
    what.add_argument("--model", default="minilm", metavar="NAME", help="as benchmarks.run takes it (minilm)")
    for name, choices, default, about in (
        ("padding", CHOICES["padding"], CHOICES["padding"], "how rows are padded"),
        ("precision", PRECISIONS, ("float32", "bfloat16"), "of the arithmetic; weights and loss stay float32 or above"),
    ):
        what.add_argument(
            f"--{name}",
            nargs="+",
            choices=choices,
            default=list(default),
            metavar="|".join(choices),
            help=f"{about} ({' '.join(default)})",
        )
    for name, default_values, about in (
        ("compile", [False], "compile as the framework does (no): each shape may cost tens of seconds"),
        ("baselines", True, "measure the libraries' stock trainers too (yes)"),
    ):
        what.add_argument(
            f"--{name}",
            nargs="+" if isinstance(default_values, list) else None,
            type=_yes_or_no,
            default=default_values,
            metavar="yes|no",
            help=about,
        )
    what.add_argument("--max-len", type=int, default=64, metavar="N", help="tokens of a row (64)")
    what.add_argument("--batch-size", type=int, default=32, metavar="N", help="rows of a batch (32)")
    what.add_argument("--seed", type=int, default=1, metavar="N", help="of the order, hence of the batches (1)")
    how = parser.add_argument_group("how")
    how.add_argument("--steps", type=int, default=12, metavar="N", help="of an epoch, spread over its lengths (12)")
    how.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each mode is measured (3)")
    how.add_argument("--rerun", action="store_true", help="measure again what is measured")
    how.add_argument(
        "--scale",
        nargs="+",
        type=int,
        metavar="ROWS",
        help="in place of modes: one epoch on so many rows each, with the last --padding and the first --precision and "
        "--compile; shows whether time a token and memory stay flat",
    )
    where = add_where_options(parser)
    where.add_argument("--out", type=Path, default=Path("runs/speed"), metavar="DIR", help="(runs/speed)")
    return parser


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text == "yes"


if __name__ == "__main__":
    main()
