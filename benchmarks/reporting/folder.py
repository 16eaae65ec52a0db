"""The report of a folder of records."""

from __future__ import annotations

from pathlib import Path

from benchmarks.parity.equivalence_report import EQUIVALENCE, rewrite_report
from benchmarks.reporting.pictures import draw_pictures
from benchmarks.reporting.published import write_published
from benchmarks.reporting.record_tables import print_tables, write_tables
from benchmarks.workers.progress import terminal
from shared.errors import tell
from shared.limits import PICTURES
from shared.records import Record


def show_report(out: Path, records: list[Record], most: int = PICTURES) -> None:
    """Writes and prints the tables of the records under `out`, then draws pictures of `most` comparisons at most. A
    comparison over seeds (benchmarks.parity) is written again."""
    write_tables(out, records)
    console = terminal()
    print_tables(console, records)
    if (out / EQUIVALENCE).is_file():
        console.print(f"\n{out}/equivalence.md {_rewritten(out, records)}", style="dim")
    if write_published(out, records):
        console.print(f"\n{out}/published.md sets them beside what was reported", style="dim")
    drawn = draw_pictures(out, records, most)
    write_tables(out, records)  # again, with the pictures
    console.print(f"\n{out}/table.md shows {len(drawn.names)} pictures, which {out}/pictures holds", style="dim")
    if drawn.left_out:
        some = f"{drawn.comparisons - drawn.left_out} of {drawn.comparisons} comparisons, those of the most runs"
        console.print(f"they are of {some}; --pictures {drawn.comparisons} draws all", style="dim")
    for line in drawn.failed:
        tell(f"benchmarks.report: {line}")


def _rewritten(out: Path, records: list[Record]) -> str:
    try:
        rewrite_report(out, records)
    except ValueError:
        return "is left as it is: the records are no longer those of one comparison"
    return "is written again"
