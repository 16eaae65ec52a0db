"""Fine-tunes the same model on the backends asked for, cell by cell, and prints how they compare."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.cli.options import (
    add_mode_options,
    add_preset_option,
    add_what_options,
    add_where_options,
    chosen_backends,
    chosen_pythons,
    parse_with_preset,
)
from benchmarks.cli.parser import Parser, check_writable, one_line_errors
from benchmarks.cli.recipe_options import add_recipe_options, recipes
from shared.presets import Preset

EXAMPLES = """examples:
  python -m benchmarks.run --backend all --task acceptability --model minilm --max-len 32 --epochs 1
  python -m benchmarks.run --backend gluon --task mrpc --data-dir DATA --model minilm
  python -m benchmarks.run --backend all --recipe mccormick-cola --data-dir DATA --model minilm --epochs 1
  python -m benchmarks.run --backend torch keras --task cola --data-dir DATA --model minilm \\
      --max-len 64 128 --batch-size 16 32 --seed 1 2 3
  python -m benchmarks.run --backend torch keras --task cola --data-dir DATA --model minilm \
      --padding bucket --precision float32 bfloat16

The same command again skips the cells that are answered. Exit code: 0 when every cell is answered, 1 when one failed,
2 for bad input."""


def main(arguments: list[str] | None = None) -> None:
    with one_line_errors("benchmarks.run", "what is answered is kept, and the same command goes on"):
        sys.exit(run(*parse_with_preset(_parser(), arguments)))


def run(options: argparse.Namespace, preset: Preset | None) -> int:
    """Plans, runs what is not answered yet, writes records and tables, prints. Returns the exit code."""
    backends = chosen_backends(options.backend)
    pythons = chosen_pythons(options.python)
    if options.list:
        from benchmarks.reporting.listing import print_listing
        from benchmarks.workers.progress import terminal

        print_listing(terminal(), options.data_dir, pythons)
        return 0
    grid = recipes(options)
    for option, folder in (("--out", options.out), ("--save", options.save)):
        check_writable(option, folder)

    from benchmarks.cells.plan import Request, plan_cells

    cells = plan_cells(
        Request(
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
        )
    )

    # pandas, which makes the tables, takes longer to import than planning does to refuse.
    from benchmarks.cells.answer import answer_cells
    from benchmarks.reporting.published import write_published
    from benchmarks.reporting.record_tables import print_tables, write_tables
    from benchmarks.workers.progress import terminal
    from shared.records import read_records, record_path

    console = terminal()
    if preset:
        overridden = dict.fromkeys(name for cell in cells if cell.preset for name in cell.preset["overridden"])
        line = f"recipe {preset.name}: {preset.title}" + (
            f"; overridden: {', '.join(overridden)}" if overridden else ""
        )
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    try:
        answers = answer_cells(console, cells, options.out, "--rerun asks anew", options.save, options.rerun)
    finally:
        if any(record_path(options.out, cell.id).is_file() for cell in cells):
            records = read_records(options.out)
            write_tables(options.out, records)
            write_published(options.out, records)
    if answers.records:
        print_tables(console, answers.records)
        console.print(f"\n{options.out}/table.md and table.csv hold every record of {options.out}/records", style="dim")
        if preset:
            console.print(f"{options.out}/published.md sets them beside what was reported", style="dim")
    if answers.failed:
        print(f"benchmarks.run: {len(answers.failed)} of {answers.ran} cells failed", file=sys.stderr)
    return answers.code


def _parser() -> Parser:
    parser = Parser(prog="benchmarks.run", description=__doc__, epilog=EXAMPLES)
    what = add_what_options(parser, task_required=False)
    add_preset_option(what)
    what.add_argument(
        "--list",
        action="store_true",
        help="show tasks, recipes, models and backends, and what they lack here",
    )
    what.add_argument("--limit", type=int, metavar="N", help="the first N rows of each split only")
    where = add_where_options(parser)
    where.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="records and tables (runs)")
    where.add_argument("--save", type=Path, metavar="DIR", help="keep each fine-tuned model as DIR/CELL")
    where.add_argument("--rerun", action="store_true", help="run cells that are answered already, too")
    add_mode_options(parser)
    add_recipe_options(parser)
    return parser


if __name__ == "__main__":
    main()
