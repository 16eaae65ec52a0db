"""The report of a folder of records."""

from __future__ import annotations

from pathlib import Path

from benchmarks.parity.equivalence_report import EQUIVALENCE, rewrite_report
from benchmarks.reporting.pictures import draw_pictures
from benchmarks.reporting.published import write_published
from benchmarks.reporting.record_tables import print_tables, write_tables
from benchmarks.workers.progress import terminal
from shared.records import Record


def show_report(out: Path, records: list[Record]) -> None:
    """Draws the pictures of the records under `out`, and writes and prints their tables. A comparison over seeds
    (benchmarks.parity) is written again."""
    pictures = draw_pictures(out, records)
    write_tables(out, records)
    console = terminal()
    print_tables(console, records)
    if (out / EQUIVALENCE).is_file():
        console.print(f"\n{out}/equivalence.md {_rewritten(out, records)}", style="dim")
    if write_published(out, records):
        console.print(f"\n{out}/published.md sets them beside what was reported", style="dim")
    console.print(f"\n{out}/table.md shows {len(pictures)} pictures, which {out}/pictures holds", style="dim")


def _rewritten(out: Path, records: list[Record]) -> str:
    try:
        rewrite_report(out, records)
    except ValueError:
        return "is left as it is: the records are no longer those of one comparison"
    return "is written again"
