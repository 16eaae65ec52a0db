"""The report of a folder of records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.parity.equivalence_report import EQUIVALENCE, rewrite_report
from benchmarks.reporting.html.page import FILE, write_html
from benchmarks.reporting.pictures import draw_pictures
from benchmarks.reporting.published import write_published
from benchmarks.reporting.record_tables import Tables
from benchmarks.workers.progress import terminal
from shared.errors import tell
from shared.limits import PICTURES
from shared.records import Record


def show_report(out: Path, records: Sequence[Record], most: int = PICTURES) -> None:
    """Writes and prints the tables of the records under `out`, writes report.html, and draws pictures of `most`
    comparisons at most. A comparison over seeds (benchmarks.parity) is written again."""
    tables = Tables.of(records)
    tables.write(out)
    console = terminal()
    tables.print(console)
    if (out / EQUIVALENCE).is_file():
        console.print(f"\n{out}/equivalence.md {_rewritten(out, records)}", style="dim")
    if write_published(out, tables.published()):
        console.print(f"\n{out}/published.md sets them beside what was reported", style="dim")
    write_html(out, tables)
    console.print(f"\n{out}/{FILE} shows them in a browser, with charts", style="dim")
    if not most:
        return
    drawn = draw_pictures(out, records, most)
    tables.write_page(out)  # again, with the pictures
    console.print(f"\n{out}/table.md shows {len(drawn.names)} pictures, which {out}/pictures holds", style="dim")
    if drawn.left_out:
        some = f"{drawn.comparisons - drawn.left_out} of {drawn.comparisons} comparisons, those of the most runs"
        console.print(f"they are of {some}; --pictures {drawn.comparisons} draws all", style="dim")
    for line in drawn.failed:
        tell(f"benchmarks.report: {line}")


def show_others(out: Path) -> bool:
    """Writes the page of a folder without records. Returns whether there was anything to show."""
    shown = write_html(out, None)
    if shown:
        terminal().print(f"{out}/{FILE} shows what it holds in a browser", style="dim")
    return shown


def _rewritten(out: Path, records: Sequence[Record]) -> str:
    try:
        rewrite_report(out, list(records))
    except ValueError:
        return "is left as it is: the records are no longer those of one comparison"
    return "is written again"
