"""The section on times beside their floors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.reporting.html import vega
from benchmarks.reporting.html.document import Chart, Data, Section, shown_table
from benchmarks.reporting.html.found import SOURCE, Found, read_each
from benchmarks.reporting.numbers import around_median, number
from benchmarks.reporting.page import Table
from benchmarks.speed.report import Whole

SHOWN = ("mode", "step s", "floor s", "× floor", "peak MiB")
"""Columns of the table, which a bar shows too."""


def floors(out: Path, paths: list[Path]) -> Found | None:
    """The section on every speed.json; None if none can be read."""
    wholes = read_each(out, paths, Whole)
    rows = [_row(source, line) for source, whole in wholes.items() for line in whole.rows]
    if not rows:
        return None
    frame = pd.DataFrame([{name: row[name] for name in ("source", *SHOWN)} for row in rows])
    table = shown_table(Table(frame, "Steps and floors", names=2), "steps")
    said = f"Speed: {len(rows)} modes beside the least time that the machine allows."
    return Found(said, Section("Speed and floors", [_chart(rows), table]))


def _row(source: str, line: dict[str, Any]) -> dict[str, Any]:
    """A line of speed.csv as a row of the chart's data."""
    low, median, high = (line[f"step_seconds{end}"] for end in ("_q1", "", "_q3"))
    return {
        "source": source,
        "mode": line["mode"],
        "backend": line["backend"],
        "x": median,
        "low": low,
        "high": high,
        "floor": line["floor_step_seconds"],
        "step s": around_median((low, median, high), 3),
        "floor s": number(line["floor_step_seconds"], ".3f"),
        "× floor": number(line["times_floor"], ".2f"),
        "peak MiB": number(line["peak_memory_bytes"] / 2**20, ".0f"),
    }


def _chart(rows: list[dict[str, Any]]) -> Chart:
    tips = {name: name for name in SHOWN}
    bar = {"type": "bar", "opacity": 0.55, "height": {"band": 0.7}}
    tick = {"type": "tick", "thickness": 2.5, "aria": False}
    layers: list[vega.Spec] = [
        {"mark": bar, "encoding": {"tooltip": vega.tooltip(tips)}},
        {"mark": vega.BAR, "encoding": {"x": {"field": "low"}, "x2": {"field": "high"}}},
        {"name": "ink", "mark": tick, "encoding": {"x": {"field": "floor"}}},
    ]
    axes = {"x": {"field": "x", "type": "quantitative", "title": "seconds a step"}, "y": vega.names_axis("y")}
    colour = {"color": vega.by_backend("backend", [row["backend"] for row in rows])["color"]}
    return Chart(
        "floors",
        "A step beside its floor",
        "The median over rounds with its quartiles. The upright tick is the least time that the machine's arithmetic "
        "and memory allow; a mode without a tick has none that was measured.",
        Data.of_rows("floors", rows),
        {"y": "mode", **{name: name for name in rows[0] if name != "source"}},
        (SOURCE,),
        {},
        vega.chart("A step beside its floor", {"step": 24}, layers, **axes, **colour),
    )
