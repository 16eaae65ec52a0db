"""The section on a comparison over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.parity.equivalence_report import SeedsFound
from benchmarks.reporting.colours import SHAPES, VERDICTS
from benchmarks.reporting.comparisons import STYLES, comparison_cells, comparison_legend
from benchmarks.reporting.html import vega
from benchmarks.reporting.html.document import Chart, Data, Folded, Part, Section, Where, parts_of, shown_table
from benchmarks.reporting.html.found import SOURCE, Found, read_each
from benchmarks.reporting.page import Notes, Table
from benchmarks.statistics.paired import Comparison


def seeds(out: Path, paths: list[Path]) -> Found | None:
    """The section on every equivalence.json; None if none can be read."""
    reports = {source: one for source, one in read_each(out, paths, SeedsFound).items() if one.comparisons}
    if not reports:
        return None
    compared = [(source, one) for source, report in reports.items() for one in report.comparisons]
    parts: list[Part] = [_chart([_row(source, one) for source, one in compared])]
    for source, report in reports.items():
        frame = pd.DataFrame(_cells(one) for one in report.comparisons)
        table = shown_table(Table(frame, "Differences paired by seed", styles=STYLES, names=2), f"seeds-{source}")
        notes = parts_of([Notes([f"margin: {report.margin_source}", *comparison_legend(len(report.comparisons))])])
        title = f"{source}: {report.asked.model} on {report.asked.task}, {len(report.seeds)} seeds"
        parts += [Folded(title, [table, *notes])] if len(reports) > 1 else [table, *notes]
    verdicts = [one.verdict for _, one in compared]
    said = ", ".join(f"{verdicts.count(name)} {name}" for name in VERDICTS if name in verdicts)
    margins = "; ".join(dict.fromkeys(report.margin_source for report in reports.values()))
    said = f"Paired by seed, of {len(verdicts)} differences: {said}. The margin is {margins}."
    return Found(said, Section("Seeds", parts))


def _cells(one: Comparison) -> dict[str, str]:
    return {"difference": one.shown_pair, "score": one.score} | comparison_cells(one)


def _row(source: str, one: Comparison) -> dict[str, Any]:
    cells = _cells(one)
    numbers = {"x": one.mean, "low": one.low, "high": one.high, "margin": one.margin, "least": -one.margin}
    shown = {"mean": cells["mean"], "interval": f"{cells['low']} to {cells['high']}", "verdict": one.verdict}
    return {"source": source, "pair": one.shown_pair, "y": one.score, **numbers, **shown}


def _chart(rows: list[dict[str, Any]]) -> Chart:
    tips = {"difference": "pair", "score": "y", "mean": "mean", "interval": "interval", "verdict": "verdict"}
    margin: vega.Spec = {
        "mark": {"type": "bar", "aria": False},
        "encoding": {"x": {"field": "least"}, "x2": {"field": "margin"}, "color": {"value": "#8883"}},
    }
    interval: vega.Spec = {"mark": vega.BAR, "encoding": {"x": {"field": "low"}, "x2": {"field": "high"}}}
    layers = [margin, vega.line_at(0, "x"), interval, vega.points(tips)]
    axes = {"x": vega.number_axis("x", "difference"), "y": vega.names_axis("y")}
    scales = vega.scales("verdict", list(VERDICTS), list(VERDICTS.values()), SHAPES)
    return Chart(
        "seeds",
        "Differences over seeds",
        "The mean difference with its 95 % interval, paired by seed; the band is the margin. An interval within the "
        "band speaks for equivalence, one beside 0 for a difference.",
        Data.of_rows("seeds", rows),
        {name: name for name in rows[0] if name != "source"},
        (SOURCE, Where("Difference", "pair")),
        tips,
        vega.chart("Differences over seeds", {"step": 30}, layers, **axes, **scales),
    )
