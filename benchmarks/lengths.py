"""Shows how many tokens a task's rows have, and what each max_len would cut: a table and a histogram."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.cli.parser import Parser, check_writable, one_line_errors
from shared.errors import InputError
from shared.tasks import TASK_MODULES, get_task

EXAMPLES = """example:
  python -m benchmarks.lengths --task cola mrpc --data-dir DATA --model minilm --max-len 64 128"""


def show_lengths(options: argparse.Namespace) -> None:
    """Prints the table and draws a picture a task. Raises InputError."""
    for max_len in options.max_len:
        if max_len < 4:
            raise InputError(f"--max-len {max_len}: pass 4 or more")
    check_writable("--out", options.out)
    tasks = [get_task(name) for name in dict.fromkeys(options.task)]

    import numpy as np
    import pandas as pd

    from benchmarks.reporting.pictures import draw_lengths
    from benchmarks.reporting.tables import print_table
    from benchmarks.workers.progress import terminal
    from shared.checkpoint.sources import resolve_model, shown_model
    from shared.encoding import token_lengths

    folder = resolve_model(options.model)
    rows, pictures = [], []
    for task in tasks:
        lengths = token_lengths(task.load(options.data_dir)["train"], folder)
        row = {"task": task.name, "rows": f"{len(lengths):,}", "mean": f"{lengths.mean():.1f}"}
        row |= {f"{share} %": f"{np.percentile(lengths, share):.0f}" for share in (50, 95, 99)}
        row |= {"longest": str(lengths.max())}
        row |= {f"cut at {n}": f"{(lengths > n).mean():.1%}" for n in options.max_len}
        rows.append(row)
        pictures.append(draw_lengths(options.out, task.name, shown_model(options.model), lengths, options.max_len))
    console = terminal()
    print_table(console, "Tokens of the training rows", pd.DataFrame(rows))
    console.print(f"{options.out}: {', '.join(pictures)}", style="dim")


def main(arguments: list[str] | None = None) -> None:
    parser = Parser(prog="benchmarks.lengths", description=__doc__, epilog=EXAMPLES)
    parser.add_argument("--task", nargs="+", required=True, metavar="NAME", help=", ".join(TASK_MODULES))
    parser.add_argument("--model", default="google-bert/bert-base-uncased", metavar="NAME", help="whose tokenizer")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="the tasks' files; without it, the hub's copy")
    parser.add_argument("--max-len", nargs="+", type=int, default=[64, 128], metavar="N", help="to be marked (64 128)")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="draws in DIR/pictures (runs)")
    options = parser.parse_args(arguments)
    with one_line_errors("benchmarks.lengths"):
        show_lengths(options)


if __name__ == "__main__":
    main()
