"""The section on the parity ladder."""

from __future__ import annotations

from pathlib import Path

from benchmarks.parity.ladder_report import LadderFound, ladder_page
from benchmarks.reporting.html import vega
from benchmarks.reporting.html.document import Folded, Part, Section, parts_of
from benchmarks.reporting.html.found import Found, read_each
from benchmarks.reporting.html.rungs import rung_row, rungs_chart

NAMED = 6
"""Failures that the summary names."""


def ladder(out: Path, paths: list[Path]) -> Found | None:
    """The section on every parity.json; None if none can be read."""
    reports = {source: found.report() for source, found in read_each(out, paths, LadderFound).items()}
    if not reports:
        return None
    climbs = [(source, name, climb) for source, report in reports.items() for name, climb in report.climbs.items()]
    rows = [
        rung_row(source, name, one.rung, one, "holds" if one.holds else "fails")
        for source, name, climb in climbs
        for one in climb.findings
    ]
    scales = vega.by_backend("name", [name for _, name, _ in climbs])
    parts: list[Part] = [rungs_chart("ladder", "Errors by rung", "variant", rows, scales)]
    for source, report in reports.items():
        asked, inner = report.asked, parts_of(ladder_page(report).blocks, f"ladder-{source}")
        title = f"{source}: {asked.model} on {asked.task}, {asked.steps} steps, batch {asked.recipe.batch_size}"
        parts += [Folded(title, inner)] if len(reports) > 1 else inner
    failing = [f"{name} parts at '{c.first_failure.rung}'" for _, name, c in climbs if c.first_failure]
    said = f"Parity: every rung holds for {len(climbs) - len(failing)} of {len(climbs)} variants"
    more = f": {'; '.join(failing[:NAMED])}{'; and more' if len(failing) > NAMED else ''}" if failing else ""
    return Found(f"{said}{more}.", Section("Parity", parts))
