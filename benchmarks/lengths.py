"""Shows how many rows a task has of each label, how many tokens they have, and what each max_len would cut: tables and
a histogram."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.cli.options import TASK_HELP
from benchmarks.cli.own_options import add_own_options, chosen_reading
from benchmarks.cli.parser import Parser, check_writable, one_line_errors
from shared.errors import InputError
from shared.limits import POSITIONS
from shared.tasks import get_task

EXAMPLES = """example:
  python -m benchmarks.lengths --task cola mrpc --data-dir DATA --model minilm --max-len 64 128
  python -m benchmarks.lengths --task reviews.csv --model minilm"""


def main(arguments: list[str] | None = None) -> None:
    with one_line_errors("benchmarks.lengths"):
        run(_parser().parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    """Prints the table and draws the pictures. Raises InputError."""
    for max_len in options.max_len:
        if not 4 <= max_len <= POSITIONS:
            raise InputError(f"--max-len {max_len}: pass 4 or more, {POSITIONS:,} at most")
    check_writable("--out", options.out)
    reading = chosen_reading(options, options.task)
    tasks = [get_task(name, reading) for name in dict.fromkeys(options.task)]

    from benchmarks.reporting.lengths import show_lengths

    show_lengths(tasks, options.model, options.data_dir, options.max_len, options.out)


def _parser() -> Parser:
    parser = Parser(prog="benchmarks.lengths", description=__doc__, epilog=EXAMPLES)
    parser.add_argument("--task", nargs="+", required=True, metavar="NAME", help=TASK_HELP)
    parser.add_argument("--model", default="google-bert/bert-base-uncased", metavar="NAME", help="whose tokenizer")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="the tasks' files; without it, the hub's copy")
    parser.add_argument("--max-len", nargs="+", type=int, default=[64, 128], metavar="N", help="to be marked")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="draws in DIR/pictures")
    add_own_options(parser)
    return parser


if __name__ == "__main__":
    main()
