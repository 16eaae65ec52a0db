"""The work of `check` on losses or scores alone: reads, prints, and writes if a folder is given."""

from __future__ import annotations

from pathlib import Path

from benchmarks.port.losses import check_losses
from benchmarks.port.losses_report import losses_page, write_losses_report
from benchmarks.port.reference import Reference
from benchmarks.port.scores import Wanted, check_scores
from benchmarks.port.scores_report import scores_page, write_scores_report
from benchmarks.workers.progress import RunProgress, terminal
from shared.pack import Pack


def by_losses(file: Path, pack_folder: Path, report: Path | None, pythons: dict[str, Path], threads: int) -> bool:
    """Checks losses. Returns whether they hold. Raises InputError and ProcessFailed."""
    pack, console = Pack.read(pack_folder), terminal()
    with RunProgress(console, 1) as progress:
        checked = check_losses(pack, file, Reference.find(pythons, threads), progress)
    losses_page(checked).print(console)
    if report is not None:
        write_losses_report(checked, report)
    return checked.holds


def by_scores(file: Path, wanted: Wanted, margin: float | None, report: Path | None) -> bool:
    """Checks scores. Returns whether all are equivalent. Raises InputError."""
    checked = check_scores(file, wanted, margin)
    scores_page(checked).print(terminal())
    if report is not None:
        write_scores_report(checked, report)
    return checked.holds
