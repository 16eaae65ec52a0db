"""Rebuilds table.csv and table.md of a folder from its records alone, prints them, and draws pictures. If records are
of published recipes, published.md sets what was reported beside them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cli.parser import Parser, one_line_errors
from shared.errors import InputError
from shared.records import read_records


def main(arguments: list[str] | None = None) -> None:
    parser = Parser(prog="benchmarks.report", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="what benchmarks.run had as --out")
    with one_line_errors("benchmarks.report"):
        report(parser.parse_args(arguments).folder)


def report(out: Path) -> None:
    """Makes the report of a folder. Raises InputError if it holds no records."""
    records = read_records(out)
    if not records:
        raise InputError(f"{out}/records holds no records; pass the --out folder of a run")

    from benchmarks.reporting.folder import show_report

    show_report(out, records)


if __name__ == "__main__":
    main()
