"""Rebuilds table.csv and table.md of a folder from its records alone, prints them, and draws pictures. If records are
of published recipes, published.md sets what was reported beside them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.cli.parser import Parser, one_line_errors
from shared.errors import InputError
from shared.limits import PICTURES
from shared.records import Records

EXAMPLES = """examples:
  python -m benchmarks.report runs
  python -m benchmarks.report runs --export cells.parquet --export-epochs epochs.csv
  python -m benchmarks.report runs --fail-if "gluon.epoch_s > 1.1 * torch.epoch_s" \\
      --fail-if "gluon.dev_mcc < torch.dev_mcc - 0.02"
  python -m benchmarks.report --compare before after
  python -m benchmarks.report runs --mlflow sqlite:///mlflow.db
  python -m benchmarks.report runs --push-to-hub OWNER/NAME

A gate compares numbers of backends, such as torch.test_accuracy, by <, <=, >, >=, == and !=; it has + - * / and
parentheses, abs, min and max, and, or and not. It is evaluated for each question that all its backends have cells of,
by the seeds that all of them have: scores by their mean, times by their median, as the tables show them. The columns of
--export are its names; docs/results.md lists them. Exit code: 0, 1 if a gate fails, 2 for bad input and for a gate that
has no value in any comparison."""


def main(arguments: list[str] | None = None) -> None:
    parser = _parser()
    with one_line_errors("benchmarks.report"):
        options = parser.parse_args(arguments)
        if (options.folder is None) == (options.compare is None):
            parser.error("pass one folder DIR, or --compare DIR1 DIR2")
        code = _run(options)
        if code:
            sys.exit(code)


def report(out: Path, pictures: int = PICTURES) -> None:
    """Makes the report of a folder, with pictures of so many comparisons. Without records it shows what else is there:
    a ladder, port checks, times beside floors. Raises InputError if there is nothing to show."""
    records = Records(out)

    from benchmarks.reporting.folder import show_others, show_report

    if records:
        show_report(out, records, pictures)
    elif not show_others(out):
        raise InputError(f"{out}/records holds no records; pass the --out folder of a run")


def _run(options: argparse.Namespace) -> int:
    """Does what the options ask for. Returns the exit code. Raises InputError."""
    if options.pictures < 0:
        raise InputError(f"--pictures {options.pictures}: pass 0 or more")
    others = (options.export, options.export_epochs, options.fail_if, options.mlflow, options.push_to_hub)
    more = any(one not in (None, []) for one in others)
    if options.compare:
        if more:
            raise InputError("--compare makes no report; leave out the options that take one, or DIR1 and DIR2")
        from benchmarks.reporting.changes_page import compare_folders

        compare_folders(*options.compare)
        return 0
    if not more:
        report(options.folder, options.pictures)
        return 0

    from benchmarks.reporting.outlets import Outlets, report_to

    return report_to(Outlets(*others), options.folder, options.pictures)


def _parser() -> Parser:
    parser = Parser(prog="benchmarks.report", description=__doc__, epilog=EXAMPLES)
    parser.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="what benchmarks.run had as --out")
    parser.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("DIR1", "DIR2"),
        help="in place of a report: what changed from one folder to another, beyond noise; compare.md and compare.csv "
        "are written into the second",
    )
    parser.add_argument(
        "--pictures", type=int, default=PICTURES, metavar="N", help="comparisons that are drawn, those of the most runs"
    )
    parser.add_argument(
        "--fail-if", action="append", default=[], metavar="GATE", help="end with 1 if this holds; may be repeated"
    )
    others = parser.add_argument_group("for other programs")
    others.add_argument("--export", type=Path, metavar="FILE", help="a row a cell, as .csv or .parquet")
    others.add_argument("--export-epochs", type=Path, metavar="FILE", help="a row an epoch, as .csv or .parquet")
    others.add_argument(
        "--mlflow", metavar="URI", help="log each cell, once, as an MLflow run, such as to sqlite:///FILE"
    )
    others.add_argument(
        "--push-to-hub", metavar="REPO", help="put tables, report and records into the hub's data set OWNER/NAME"
    )
    return parser


if __name__ == "__main__":
    main()
