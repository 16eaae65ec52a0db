"""Fine-tunes the same model on the backends asked for, cell by cell, and prints how they compare."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from benchmarks.plan import Cell
    from benchmarks.progress import RunProgress

EXAMPLES = """examples:
  python -m benchmarks.run --backend all --task acceptability --model minilm --max-len 32 --epochs 1
  python -m benchmarks.run --backend gluon --task mrpc --data-dir DATA --model minilm
  python -m benchmarks.run --backend torch keras --task cola --data-dir DATA --model minilm \\
      --max-len 64 128 --batch-size 16 32 --seed 1 2 3

The same command again skips the cells that are answered. Exit code: 0 when every cell is answered, 1 when one failed,
2 for bad input."""


def main(arguments: list[str] | None = None) -> None:
    with one_line_errors("benchmarks.run", "what is answered is kept, and the same command goes on"):
        sys.exit(run(_parser().parse_args(arguments)))


def run(options: argparse.Namespace) -> int:
    """Plans, runs what is not answered yet, writes records and tables, prints. Returns the exit code."""
    backends = chosen_backends(options.backend)
    pythons = chosen_pythons(options.python)
    grid = recipes(options)
    for option, folder in (("--out", options.out), ("--save", options.save)):
        _check_writable(option, folder)

    from benchmarks.plan import Request, plan_cells

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
        )
    )

    # pandas, which makes the tables, takes longer to import than planning does to refuse.
    from benchmarks.progress import RunProgress, terminal
    from benchmarks.tables import print_tables, write_tables
    from shared.records import read_records, record_path

    console = terminal()
    records = {r["id"]: r for r in read_records(options.out)}
    todo = [c for c in cells if options.rerun or c.id not in records or _unsaved(c, options.save)]
    answered = len(cells) - len(todo)
    console.print(
        f"{len(cells)} cells: {answered} answered already (--rerun asks anew), {len(todo)} to run", highlight=False
    )
    codes = [0]
    try:
        with RunProgress(console, len(todo)) as progress:
            codes += [_run_cell(cell, options.out, options.save, progress) for cell in todo]
    finally:
        if any(record_path(options.out, cell.id).is_file() for cell in cells):
            write_tables(options.out, read_records(options.out))
    asked = {cell.id for cell in cells}
    answers = [r for r in read_records(options.out) if r["id"] in asked]
    if answers:
        print_tables(console, answers)
        console.print(f"\n{options.out}/table.md and table.csv hold every record of {options.out}/records", style="dim")
    failed = sum(code != 0 for code in codes)
    if failed:
        print(f"benchmarks.run: {failed} of {len(todo)} cells failed", file=sys.stderr)
    return 1 if 1 in codes else max(codes)


def _run_cell(cell: Cell, out: Path, save: Path | None, progress: RunProgress) -> int:
    """Runs one cell in a fresh process and writes its record. Returns 0, 1 where it failed, 2 where it was refused."""
    import numpy as np

    from benchmarks.launcher import LOG, run_worker
    from benchmarks.machine import BusyCores, describe_machine, matrix_product_rate
    from shared.job import ARRAYS
    from shared.metrics import majority_score
    from shared.records import FORMAT, write_record

    progress.begin(cell.title)
    folder = (out / "jobs" / cell.id).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cell.job((save / cell.id).absolute() if save else None).write(folder)
    circumstances: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "interpreter": cell.environment.shown,
        "python": cell.environment.python_version,
        "packages": cell.environment.packages,
        "machine": describe_machine(),
        "matrix_product_flops_before": matrix_product_rate(cell.threads),
    }
    busy, start = BusyCores(), time.perf_counter()
    outcome = run_worker(cell.environment.python, folder, cell.threads, progress.event)
    circumstances["worker_seconds"] = time.perf_counter() - start
    circumstances["cores_busy_with_others"] = busy.by_others()
    circumstances["matrix_product_flops_after"] = matrix_product_rate(cell.threads)
    if outcome.answer is None:
        progress.end(f"FAILED {cell.backend}: {outcome.error}")
        for line in outcome.tail:
            progress.line(f"      | {line}")
        if outcome.bad_input:
            shutil.rmtree(folder)
            return 2
        progress.line(f"      its whole output: {out / 'jobs' / cell.id / LOG}")
        return 1
    record = {
        "format": FORMAT,
        "id": cell.id,
        "asked": cell.asked,
        "model": cell.model,
        "recipe": cell.recipe.to_json(),
        "rows": {name: len(rows) for name, rows in cell.splits.items()},
        "majority": {
            name: majority_score(np.array(rows.labels)) for name, rows in cell.splits.items() if rows.labels is not None
        },
        "answer": outcome.answer,
        "circumstances": circumstances,
    }
    with np.load(folder / ARRAYS) as arrays:
        write_record(out, record, dict(arrays))
    shutil.rmtree(folder)
    progress.end(_summary(outcome.answer, circumstances["worker_seconds"]))
    return 0


def _summary(answer: dict[str, Any], seconds: float) -> str:
    if answer["test"] is None:
        scores = "test not scored"
    else:
        scores = "test " + ", ".join(f"{name} {value:.3f}" for name, value in answer["test"].items())
    return f"{scores}; {seconds:.0f} s in all"


def _unsaved(cell: Cell, save: Path | None) -> bool:
    return save is not None and not (save / cell.id).is_dir()


def _check_writable(option: str, folder: Path | None) -> None:
    """Raises InputError where the folder neither can be written to nor can be made."""
    if folder is None:
        return
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"{option} {folder}: {there} is no folder that can be written to; pass another")


def _parser() -> Parser:
    parser = Parser(
        prog="benchmarks.run",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = add_what_options(parser)
    what.add_argument("--limit", type=int, metavar="N", help="the first N rows of each split only")
    where = add_where_options(parser)
    where.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="records and tables (runs)")
    where.add_argument("--save", type=Path, metavar="DIR", help="keep each fine-tuned model as DIR/CELL")
    where.add_argument("--rerun", action="store_true", help="run cells that are answered already, too")
    add_recipe_options(parser)
    return parser


if __name__ == "__main__":
    main()
