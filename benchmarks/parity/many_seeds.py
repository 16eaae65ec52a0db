"""Parity over several seeds: answers the cells that have no record yet, and compares the scores of all."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.cells.answer import answer_cells, told_diverged
from benchmarks.cells.engine import Engine
from benchmarks.cells.plan import Cell
from benchmarks.parity.equivalence_report import EquivalenceReport, print_report, write_report
from benchmarks.workers.progress import terminal
from shared.errors import tell
from shared.records import Records


def compare_seeds(cells: list[Cell], margin: float | None, out: Path, engine: Engine) -> int:
    """Has the engine run what is not answered yet, compares, prints and writes. Without a margin it is the first
    variant's deviation. Returns the exit code. Raises InputError."""
    console = terminal()
    answers = answer_cells(console, cells, out, f"records in {out}/records", engine=engine)
    if answers.failed:
        print(
            f"benchmarks.parity: {len(answers.failed)} of {answers.ran} cells failed, and nothing is compared: "
            f"{', '.join(cell.title for cell in answers.failed)}",
            file=sys.stderr,
        )
        return answers.code
    if answers.diverged:
        tell(f"benchmarks.parity: {told_diverged(answers.diverged)}")
        if len(answers.diverged) == len(cells):
            return 1
    records = list(Records(out, (cell.id for cell in cells)))
    machines = sorted({record.circumstances.machine.shown for record in records})
    if len(machines) > 1:
        tell(f"benchmarks.parity: scores are compared over different hardware: {'; '.join(machines)}")
    report = EquivalenceReport.of(records, margin)
    print_report(console, report)
    write_report(out, report)
    console.print(f"\n{out}/equivalence.md, equivalence.json and equivalence.png hold this", style="dim")
    return 0 if report.holds else 1
