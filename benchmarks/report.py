"""Rebuilds table.csv and table.md of a folder from its records alone, prints them, and draws pictures. Where records
are of published recipes, published.md sets what was reported beside them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cli.parser import Parser, one_line_errors
from shared.errors import InputError


def report(out: Path) -> None:
    """Raises InputError where the folder holds no records."""
    from benchmarks.reporting.pictures import draw_pictures
    from benchmarks.reporting.published import write_published
    from benchmarks.reporting.record_tables import print_tables, write_tables
    from benchmarks.workers.progress import terminal
    from shared.records import read_records

    records = read_records(out)
    if not records:
        raise InputError(f"{out}/records holds no records; pass the --out folder of a run")
    pictures = draw_pictures(out, records)
    write_tables(out, records)
    console = terminal()
    print_tables(console, records)
    if write_published(out, records):
        console.print(f"\n{out}/published.md sets them beside what was reported", style="dim")
    console.print(f"\n{out}/table.md shows {len(pictures)} pictures, which {out}/pictures holds", style="dim")


def main(arguments: list[str] | None = None) -> None:
    parser = Parser(prog="benchmarks.report", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="what benchmarks.run had as --out")
    options = parser.parse_args(arguments)
    with one_line_errors("benchmarks.report"):
        report(options.folder)


if __name__ == "__main__":
    main()
