"""Simulates how often intervals hold the true value, and how often tests err, on made-up scores: shares and
correlations in the middle of their range and near its edge."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cli.parser import Parser, check_writable, one_line_errors
from shared.errors import InputError

EXAMPLE = """example:
  python -m benchmarks.statistics --out results/coverage"""


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    with one_line_errors("benchmarks.statistics"):
        if options.samples < 1:
            raise InputError(f"--samples {options.samples}: pass 1 or more")
        check_writable("--out", options.out)

        from benchmarks.statistics.coverage_report import simulate  # slow: pandas, scipy

        simulate(options.samples, options.out)


def _parser() -> Parser:
    parser = Parser(prog="benchmarks.statistics", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("--samples", type=int, default=4000, metavar="N", help="samples of each kind (4000)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/coverage"), metavar="DIR", help="coverage.md and coverage.csv"
    )
    return parser


if __name__ == "__main__":
    main()
