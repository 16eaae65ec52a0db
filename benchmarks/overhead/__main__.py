"""Measures the cost of this project on top of its frameworks: each backend's worker beside a bare script of the same
steps."""

from __future__ import annotations

import argparse
from pathlib import Path

from backends import BACKENDS
from benchmarks.cli.parser import Parser, check_writable, one_line_errors
from shared.errors import InputError


def main(arguments: list[str] | None = None) -> None:
    with one_line_errors("benchmarks.overhead"):
        run(_parser().parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    """Measures, prints the table and writes it. Raises InputError and ProcessFailed."""
    if options.steps < 2:
        raise InputError(f"--steps {options.steps}: pass 2 or more, as the first step is told apart")
    if options.rounds < 1:
        raise InputError(f"--rounds {options.rounds}: pass 1 or more")
    check_writable("--out", options.out)

    from benchmarks.overhead.measure import measure_overhead

    backends = list(BACKENDS) if "all" in options.backend else list(dict.fromkeys(options.backend))
    measure_overhead(backends, options.model, options.steps, options.rounds, options.threads, options.out)


def _parser() -> Parser:
    parser = Parser(prog="benchmarks.overhead", description=__doc__)
    parser.add_argument(
        "--backend", nargs="+", default=["all"], choices=[*BACKENDS, "all"], metavar="NAME", help=", ".join(BACKENDS)
    )
    parser.add_argument("--model", default="minilm", metavar="NAME", help="a BERT as benchmarks.run takes it")
    parser.add_argument("--steps", type=int, default=12, metavar="N", help="training steps of a process")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often both sides are measured")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (all processors)")
    parser.add_argument("--out", type=Path, default=Path("runs/overhead"), metavar="DIR", help="for the tables")
    return parser


if __name__ == "__main__":
    main()
