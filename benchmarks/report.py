"""Rebuilds table.csv and table.md of a folder from its records alone, prints them, and draws pictures. If records are
of published recipes, published.md sets what was reported beside them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cli.parser import Parser, one_line_errors
from shared.errors import InputError
from shared.limits import PICTURES
from shared.records import read_records


def main(arguments: list[str] | None = None) -> None:
    parser = Parser(prog="benchmarks.report", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="what benchmarks.run had as --out")
    parser.add_argument(
        "--pictures", type=int, default=PICTURES, metavar="N", help="comparisons that are drawn, those of the most runs"
    )
    with one_line_errors("benchmarks.report"):
        options = parser.parse_args(arguments)
        if options.pictures < 0:
            raise InputError(f"--pictures {options.pictures}: pass 0 or more")
        report(options.folder, options.pictures)


def report(out: Path, pictures: int = PICTURES) -> None:
    """Makes the report of a folder, with pictures of so many comparisons. Raises InputError if it holds no records."""
    records = read_records(out)
    if not records:
        raise InputError(f"{out}/records holds no records; pass the --out folder of a run")

    from benchmarks.reporting.folder import show_report

    show_report(out, records, pictures)


if __name__ == "__main__":
    main()
