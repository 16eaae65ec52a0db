"""Fine-tunes the same model on the backends asked for, cell by cell, and prints how they compare."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.cli.engine_options import add_engine_options, chosen_engine
from benchmarks.cli.options import (
    add_allocator_option,
    add_checkpoint_option,
    add_computing_options,
    add_limit_options,
    add_preset_option,
    add_what_options,
    add_where_options,
    chosen_backends,
    chosen_pythons,
    parse_with_preset,
)
from benchmarks.cli.own_options import add_own_options, chosen_reading
from benchmarks.cli.parser import Parser, check_writable, one_line_errors
from benchmarks.cli.recipe_options import add_recipe_options, recipes
from benchmarks.workers.allocator import choose_allocator
from shared.errors import InputError
from shared.presets import Preset

EXAMPLES = """examples:
  python -m benchmarks.run --backend all --task acceptability --model minilm --max-len 32 --epochs 1
  python -m benchmarks.run --backend gluon --task mrpc --data-dir DATA --model minilm
  python -m benchmarks.run --backend all --recipe mccormick-cola --data-dir DATA --model minilm --epochs 1
  python -m benchmarks.run --backend torch keras --task cola --data-dir DATA --model minilm \\
      --max-len 64 128 --batch-size 16 32 --seed 1 2 3
  python -m benchmarks.run --backend torch keras --task cola --data-dir DATA --model minilm \\
      --padding bucket --precision float32 bfloat16
  python -m benchmarks.run --recipe mccormick-cola --backend all --seed 1 2 3 4 5 6 7 8 --engine ray --address auto
  python -m benchmarks.run --task reviews.csv --dev-share 0.1 --model minilm --save SAVED

The same command again skips the cells that are answered, and goes on with the others; several may run on one --out
at a time. A cell that failed by itself (exit code, crash, a limit, a broken answer) is kept in OUT/failed and runs
again with --retry alone; one whose worker was killed from outside is tried again. Exit code: 0 if every cell
is answered, 1 if one failed or diverged, 2 for bad input."""


def main(arguments: list[str] | None = None) -> None:
    with one_line_errors("benchmarks.run", "what is answered is kept, and the same command goes on"):
        sys.exit(run(*parse_with_preset(_parser(), arguments)))


def run(options: argparse.Namespace, preset: Preset | None) -> int:
    """Runs what the options ask for. Returns the exit code. Raises InputError."""
    backends, pythons = chosen_backends(options.backend), chosen_pythons(options.python)
    if options.list:
        from benchmarks.reporting.listing import print_listing

        print_listing(options.data_dir, pythons)
        return 0
    _check_counts(options)
    grid = recipes(options)
    for option, folder in (("--out", options.out), ("--save", options.save)):
        check_writable(option, folder)
    choose_allocator(options.allocator)

    from benchmarks.cells.comparison import How, Request, compare
    from benchmarks.workers.launcher import Limits

    request = Request(
        backends=backends,
        tasks=list(dict.fromkeys(options.task)),
        models=list(dict.fromkeys(options.model)),
        recipes=grid,
        device=options.device,
        threads=options.threads,
        limit=options.limit,
        data_dir=options.data_dir,
        pythons=pythons,
        preset=preset,
        precisions=tuple(options.precision),
        compile=tuple(options.compile),
        embedding_updates=tuple(options.embedding_update or ()),
        head=options.head,
        reading=chosen_reading(options, options.task),
        checkpoint_every=options.checkpoint_every,
    )
    how = How(
        save=options.save,
        rerun=options.rerun,
        failed="only" if options.retry else "too" if options.rerun else "not",
        limits=Limits(options.timeout, options.patience, options.memory),
        alike=options.max_failures,
    )
    with chosen_engine(options) as engine:
        if options.dry_run is not None:
            from benchmarks.cells.dry_run import show_plan

            return show_plan(request, options.out, how, engine, options.dry_run or None)
        return compare(request, options.out, how, engine)


def _check_counts(options: argparse.Namespace) -> None:
    if options.dry_run is not None and options.dry_run < 0:
        raise InputError(f"--dry-run {options.dry_run}: pass 1 node or more")
    if options.max_failures < 0:
        raise InputError(f"--max-failures {options.max_failures}: pass 0 or more")


def _parser() -> Parser:
    parser = Parser(prog="benchmarks.run", description=__doc__, epilog=EXAMPLES)
    what = add_what_options(parser, task_required=False)
    add_preset_option(what)
    what.add_argument(
        "--list",
        action="store_true",
        help="show tasks, recipes, models and backends, and what each lacks here",
    )
    what.add_argument("--limit", type=int, metavar="N", help="the first N rows of each split only")
    what.add_argument(
        "--head",
        choices=["auto", "keep", "new"],
        default="auto",
        help="the checkpoint's own head: keep it if its labels are the task's by name, or else by number; keep it or "
        "refuse; or draw a new one",
    )
    where = add_where_options(parser)
    add_allocator_option(where)
    where.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="records and tables")
    where.add_argument("--save", type=Path, metavar="DIR", help="keep each fine-tuned model as DIR/CELL")
    add_checkpoint_option(where)
    where.add_argument(
        "--dry-run",
        type=int,
        nargs="?",
        const=0,
        metavar="NODES",
        help="print the plan, with the hours that it takes on so many nodes by records of like cells, and run nothing",
    )
    again = where.add_mutually_exclusive_group()
    again.add_argument("--rerun", action="store_true", help="run cells that are answered already, too")
    again.add_argument("--retry", action="store_true", help="run the cells that failed before, and no others")
    add_engine_options(parser)
    add_limit_options(parser)
    add_own_options(parser)
    add_computing_options(parser)
    add_recipe_options(parser)
    return parser


if __name__ == "__main__":
    main()
