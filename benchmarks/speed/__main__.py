"""Measures how fast each backend trains in each variant, beside its library's own trainer and beside the least time
that this machine's arithmetic and memory allow."""

from __future__ import annotations

import argparse
import sys
import typing
from dataclasses import replace
from pathlib import Path

from benchmarks.cli.options import add_backend_option, add_where_options, chosen_backends, chosen_pythons
from benchmarks.cli.parser import Parser, check_writable, one_line_errors
from benchmarks.cli.values import yes_or_no
from benchmarks.speed.variants import Padding, Variant, choose_variants
from benchmarks.speed.wanted import Wanted
from shared.errors import InputError
from shared.job import Precision
from shared.recipe import Recipe
from shared.tasks import TASK_MODULES

PADDINGS = typing.get_args(Padding)
PRECISIONS = typing.get_args(Precision)

EXAMPLES = """examples:
  python -m benchmarks.speed --task cola --model minilm --data-dir DATA
  python -m benchmarks.speed --task mrpc --model minilm --data-dir DATA --max-len 128 --padding max_length bucket
  python -m benchmarks.speed --task cola --model minilm --data-dir DATA --backend torch --padding bucket --rounds 1
  python -m benchmarks.speed --task sst2 --model minilm --data-dir DATA --backend torch --scale 1000 10000 60000

Run it on a machine that does nothing else. A round is one fresh process a variant. Rounds that are done are kept, and
the same command goes on after an interruption. docs/performance.md explains every column. Exit code: 0 when every
variant was measured or refused by its backend, 1 when one failed, 2 for bad input."""


def main(arguments: list[str] | None = None) -> None:
    with one_line_errors("benchmarks.speed", "rounds that are done are kept, and the same command goes on"):
        sys.exit(run(_parser().parse_args(arguments)))


def run(options: argparse.Namespace) -> int:
    """Measures what is not measured yet, prints and writes. Returns the exit code. Raises InputError and
    ProcessFailed."""
    wanted = _wanted(options)
    check_writable("--out", options.out)
    if options.scale:
        from benchmarks.speed.scaling import measure_scaling

        return measure_scaling(wanted)

    from benchmarks.speed.side_by_side import measure_side_by_side

    return measure_side_by_side(wanted)


def _wanted(options: argparse.Namespace) -> Wanted:
    """The options, checked. Raises InputError."""
    backends = chosen_backends(options.backend)
    pythons = chosen_pythons(options.python)
    if options.steps < 2:
        raise InputError(f"--steps {options.steps}: pass 2 or more, as the epoch's costliest is always one of them")
    if options.rounds < 1:
        raise InputError(f"--rounds {options.rounds}: pass 1 or more")
    recipes = [Recipe(max_len=options.max_len, batch_size=options.batch_size, seed=options.seed)]
    if options.scale:
        padding, precision, compile = options.padding[-1], options.precision[0], options.compile[0]
        variants = [Variant(backend, padding, precision, compile) for backend in backends]
        size = replace(recipes[0], padding=padding, epochs=1, dev_rows=options.batch_size)
        recipes = [replace(size, train_rows=rows) for rows in sorted(set(options.scale))]
    else:
        variants = choose_variants(backends, options.padding, options.precision, options.compile, options.baselines)
    return Wanted(
        backends=backends,
        task=options.task,
        model=options.model,
        recipes=recipes,
        variants=variants,
        steps=options.steps,
        rounds=options.rounds,
        device=options.device,
        threads=options.threads,
        data_dir=options.data_dir,
        pythons=pythons,
        out=options.out,
        rerun=options.rerun,
    )


def _parser() -> Parser:
    parser = Parser(prog="benchmarks.speed", description=__doc__, epilog=EXAMPLES)
    what = parser.add_argument_group("what to measure; several values make a variant each")
    add_backend_option(what, "all")
    what.add_argument("--task", required=True, metavar="NAME", help=", ".join(TASK_MODULES))
    what.add_argument("--model", default="minilm", metavar="NAME", help="as benchmarks.run takes it")
    for name, choices, default, about in (
        ("--padding", PADDINGS, [*PADDINGS], "how rows are padded"),
        (
            "--precision",
            PRECISIONS,
            ["float32", "bfloat16"],
            "of the arithmetic; weights and loss are at least float32",
        ),
    ):
        what.add_argument(name, nargs="+", choices=choices, default=default, metavar="|".join(choices), help=about)
    what.add_argument(
        "--compile",
        nargs="+",
        type=yes_or_no,
        default=[False],
        metavar="yes|no",
        help="compile as the framework does: each shape may cost tens of seconds",
    )
    what.add_argument(
        "--baselines", type=yes_or_no, default=True, metavar="yes|no", help="measure the libraries' own trainers too"
    )
    what.add_argument("--max-len", type=int, default=64, metavar="N", help="tokens of a row")
    what.add_argument("--batch-size", type=int, default=32, metavar="N", help="rows of a batch")
    what.add_argument("--seed", type=int, default=1, metavar="N", help="of the order, which decides the batches")
    how = parser.add_argument_group("how")
    how.add_argument("--steps", type=int, default=12, metavar="N", help="of an epoch, spread over its lengths")
    how.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each variant is measured")
    how.add_argument("--rerun", action="store_true", help="measure again what is measured")
    how.add_argument(
        "--scale",
        nargs="+",
        type=int,
        metavar="ROWS",
        help="in place of variants: one epoch on so many rows each, with the last --padding and the first --precision "
        "and --compile; shows whether time a token and memory stay flat",
    )
    where = add_where_options(parser)
    where.add_argument("--out", type=Path, default=Path("runs/speed"), metavar="DIR", help="for tables and rounds")
    return parser


if __name__ == "__main__":
    main()
