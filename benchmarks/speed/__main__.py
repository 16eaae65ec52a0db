"""Measures how fast each backend trains in each variant, beside its library's own trainer and beside the least time
that this machine's arithmetic and memory allow."""

from __future__ import annotations

import argparse
import sys
import typing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cli.engine_options import add_engine_options, chosen_cluster
from benchmarks.cli.options import (
    add_allocator_option,
    add_backend_option,
    add_embedding_update_option,
    add_where_options,
    chosen_backends,
    chosen_pythons,
)
from benchmarks.cli.parser import Parser, check_writable, one_line_errors
from benchmarks.cli.values import yes_or_no
from benchmarks.speed.variants import Padding, choose_variants
from benchmarks.speed.wanted import Wanted
from benchmarks.workers.allocator import choose_allocator
from shared.errors import InputError
from shared.job import Precision
from shared.recipe import Recipe
from shared.tasks import TASK_MODULES

if TYPE_CHECKING:
    from benchmarks.cluster.engine import RayEngine

PADDINGS = typing.get_args(Padding)
PRECISIONS = typing.get_args(Precision)

KEPT = {
    "local": "rounds that are done are kept, and the same command goes on",
    "ray": "rounds that are done are kept on their node, or in --shared-dir; there the same command goes on",
}
"""Lines that are told of an interruption, by engine."""

EXAMPLES = """examples:
  python -m benchmarks.speed --task cola --model minilm --data-dir DATA
  python -m benchmarks.speed --task mrpc --model minilm --data-dir DATA --max-len 128 --padding max_length bucket
  python -m benchmarks.speed --task cola --model minilm --data-dir DATA --backend torch --padding bucket --rounds 1
  python -m benchmarks.speed --task sst2 --model minilm --data-dir DATA --backend torch --scale 1000 10000 60000
  python -m benchmarks.speed --task cola --model minilm --data-dir DATA --engine ray --address HOST:6379

Run it on a machine that does nothing else. A round is one fresh process a variant. Rounds that are done are kept, and
the same command goes on after an interruption. With --engine ray one node measures everything, and the results come
to --out at the end; rounds of an interrupted command stay on its node, or in --shared-dir. docs/performance.md
explains every column. Exit code: 0 when every variant was measured or refused by its backend, 1 when one failed, 2
for bad input."""


def main(arguments: list[str] | None = None) -> None:
    with one_line_errors("benchmarks.speed"):
        options = _parser().parse_args(arguments)
        with one_line_errors("benchmarks.speed", KEPT[options.engine]):
            sys.exit(run(options))


def run(options: argparse.Namespace) -> int:
    """Measures what is not measured yet, prints and writes. Returns the exit code. Raises InputError and
    ProcessFailed."""
    wanted = _wanted(options)
    check_writable("--out", options.out)
    if options.exclusive is False:
        raise InputError("--exclusive no: a measurement has its node to itself; leave it out")
    choose_allocator(options.allocator)
    with chosen_cluster(options) as cluster:
        if cluster is not None:
            return _measure_there(options, wanted, cluster)
    if options.scale:
        from benchmarks.speed.scaling import measure_scaling

        return measure_scaling(wanted)

    from benchmarks.speed.side_by_side import measure_side_by_side

    return measure_side_by_side(wanted)


def _measure_there(options: argparse.Namespace, wanted: Wanted, cluster: RayEngine) -> int:
    """Has one node measure everything, since rounds are interleaved. Returns the exit code. Raises InputError."""
    from benchmarks.cluster.arguments import arguments_of
    from benchmarks.cluster.commands import Command, run_commands

    arguments = arguments_of(cluster, _parser(), options, but={"out", "allocator"})  # every command gets that
    command = Command("speed", "benchmarks.speed", arguments, wanted.backends, wanted.pythons, wanted.out)
    return run_commands(cluster, [command])[0].code


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
        update = options.embedding_update[:1]
        variants = choose_variants(backends, [padding], [precision], [compile], update, with_baselines=False)
        size = replace(recipes[0], padding=padding, epochs=1, dev_rows=options.batch_size)
        recipes = [replace(size, train_rows=rows) for rows in sorted(set(options.scale))]
    else:
        variants = choose_variants(
            backends, options.padding, options.precision, options.compile, options.embedding_update, options.baselines
        )
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
        ("--padding", PADDINGS, [name for name in PADDINGS if name != "none"], "how rows are padded"),
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
    add_embedding_update_option(what, ["dense"])
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
        help="in place of variants: one epoch on so many rows each, with the last --padding and the first of the "
        "others; shows whether time a token and memory stay flat",
    )
    where = add_where_options(parser)
    add_allocator_option(where)
    where.add_argument("--out", type=Path, default=Path("runs/speed"), metavar="DIR", help="for tables and rounds")
    add_engine_options(parser)
    return parser


if __name__ == "__main__":
    main()
