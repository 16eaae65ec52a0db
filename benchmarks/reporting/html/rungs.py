"""The chart of errors by rung, of variants or of a port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.parity.ladder import Finding
from benchmarks.reporting.html import vega
from benchmarks.reporting.html.document import Chart, Data
from benchmarks.reporting.html.found import SOURCE
from benchmarks.reporting.numbers import number


def rung_row(source: str, name: str, rung: str, finding: Finding | None, verdict: str) -> dict[str, Any]:
    """A finding as a row of the chart's data; None for a rung that was not seen."""
    return {
        "source": source,
        "name": name,
        "y": rung,
        "x": (finding.share or None) if finding else None,
        "error": number(finding.error if finding else None, ".1e"),
        "share": number(finding.share if finding else None, ".2g"),
        "verdict": verdict,
    }


def rungs_chart(id: str, title: str, heading: str, rows: Sequence[dict[str, Any]], scales: vega.Spec) -> Chart:
    """Errors of each rung as shares of their bounds. `heading` says what the names of the rows are."""
    tips = {heading: "name", "rung": "y", "error": "error", "× its bound": "share", "verdict": "verdict"}
    axes = {"x": vega.number_axis("x", "largest error by its bound", log=True), "y": vega.names_axis("y")}
    return Chart(
        id,
        title,
        "A rung holds up to the dashed line. Errors of zero, and those that are infinite, have no place on this axis; "
        "the values below name them.",
        Data.of_rows(id, rows),
        {name: name for name in rows[0] if name != "source"},
        (SOURCE,),
        tips,
        vega.chart(title, {"step": 22}, [vega.line_at(1, "x"), vega.points(tips)], **axes, **scales),
    )
