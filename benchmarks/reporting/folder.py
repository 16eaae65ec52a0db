"""The report of a folder of records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.reporting.pictures import draw_pictures
from benchmarks.reporting.published import write_published
from benchmarks.reporting.record_tables import print_tables, write_tables
from benchmarks.workers.progress import terminal
from shared.records import Record


def show_report(out: Path, records: Sequence[Record]) -> None:
    """Draws the pictures of the records under `out`, and writes and prints their tables."""
    pictures = draw_pictures(out, records)
    write_tables(out, records)
    console = terminal()
    print_tables(console, records)
    if write_published(out, records):
        console.print(f"\n{out}/published.md sets them beside what was reported", style="dim")
    console.print(f"\n{out}/table.md shows {len(pictures)} pictures, which {out}/pictures holds", style="dim")
