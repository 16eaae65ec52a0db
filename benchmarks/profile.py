"""Shows where the time of a training step goes: each framework's operators, by its own profiler, on the CPU."""

from __future__ import annotations

import argparse
import sys
import typing
from pathlib import Path

from benchmarks.cli.options import add_backend_option, add_interpreter_options, chosen_backends, chosen_pythons
from benchmarks.cli.parser import Parser, check_writable, one_line_errors
from shared.errors import InputError
from shared.job import Precision

PADDINGS = ("max_length", "none")

EXAMPLES = """example:
  python -m benchmarks.profile --backend torch --model minilm --width 64 --tokens 11

Seconds are an operator's own, without those of operators that it calls. Each framework has its own names for them. A
profiled step takes longer than the step shown above the table, which ran without a profiler. TensorFlow computes
several operators at a time, so its seconds add up to more than the step's."""


def main(arguments: list[str] | None = None) -> None:
    with one_line_errors("benchmarks.profile"):
        sys.exit(run(_parser().parse_args(arguments)))


def run(options: argparse.Namespace) -> int:
    """Prints a table a backend and writes profile.csv. Returns the exit code. Raises InputError."""
    backends, pythons = chosen_backends(options.backend), chosen_pythons(options.python)
    tokens = options.width if options.tokens is None else options.tokens
    for option in ("batch_size", "steps", "top"):
        if getattr(options, option) < 1:
            raise InputError(f"--{option.replace('_', '-')} {getattr(options, option)}: pass 1 or more")
    if not 2 <= tokens <= options.width:
        raise InputError(f"--tokens {tokens}: pass 2 to the width, {options.width}")
    check_writable("--out", options.out)

    from benchmarks.speed.operators import Step, profile_step

    step = Step(options.batch_size, options.width, tokens, options.precision, options.padding)
    return profile_step(
        step, backends, options.model, options.steps, options.top, pythons, options.threads, options.out
    )


def _parser() -> Parser:
    parser = Parser(prog="benchmarks.profile", description=__doc__, epilog=EXAMPLES)
    add_backend_option(parser, "all")
    parser.add_argument("--model", default="minilm", metavar="NAME", help="as benchmarks.run takes it")
    parser.add_argument("--width", type=int, default=64, metavar="N", help="tokens that rows are padded to")
    parser.add_argument("--tokens", type=int, metavar="N", help="real tokens of a row (as many as the width)")
    parser.add_argument(
        "--padding",
        choices=PADDINGS,
        default="max_length",
        metavar="|".join(PADDINGS),
        help="none to compute on real tokens alone",
    )
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="rows of a batch")
    parser.add_argument("--steps", type=int, default=5, metavar="N", help="under the profiler, and as many before")
    parser.add_argument(
        "--precision",
        choices=typing.get_args(Precision),
        default="float32",
        metavar="|".join(typing.get_args(Precision)),
        help="of the arithmetic",
    )
    parser.add_argument("--top", type=int, default=15, metavar="N", help="operators shown")
    add_interpreter_options(parser)
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="for profile.csv")
    return parser


if __name__ == "__main__":
    main()
