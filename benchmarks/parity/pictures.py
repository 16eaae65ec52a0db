"""Pictures of parity: error by rung, and mean differences over seeds with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.parity.ladder import Climb
from benchmarks.parity.rungs import RUNG
from benchmarks.reporting.colours import VERDICTS
from benchmarks.statistics.intervals import CONFIDENCE
from benchmarks.statistics.paired import Comparison

NAN = float("nan")
"""Not drawn."""


def draw_ladder(path: Path, climbs: Mapping[str, Climb], title: str) -> None:
    """Error against rung on a logarithmic scale, a line for each variant, a red cross on each failure."""
    rungs = [name for name in RUNG if name not in ("batches", "dropout")]
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    for (variant, climb), marker in zip(climbs.items(), "osD^vP", strict=False):
        findings = [climb.at(name) for name in rungs]
        axes.plot(rungs, [f.error or NAN for f in findings], marker=marker, label=variant, linewidth=1)
        failed = [finding for finding in findings if not finding.holds]
        axes.plot([f.rung for f in failed], [f.error or NAN for f in failed], "x", color="red", markersize=12)
    axes.set_yscale("log")
    axes.set_ylabel("largest difference from float64")
    axes.tick_params(axis="x", labelrotation=45)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
    axes.set_title(f"{title}; zero errors are not drawn")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def draw_equivalence(path: Path, comparisons: Sequence[Comparison], title: str) -> None:
    """A row for each comparison: the mean difference with its interval, each seed's, and the margin as a band."""
    figure = Figure(figsize=(9, 1.8 + 0.32 * len(comparisons)), layout="constrained")
    axes = figure.subplots()
    for row, one in enumerate(comparisons):
        if math.isfinite(one.margin):
            axes.barh(row, 2 * one.margin, left=-one.margin, height=0.8, color="0.9", zorder=0)
        axes.plot(one.differences, [row] * len(one.differences), "o", color="0.5", alpha=0.4, markersize=3.5)
        colour = VERDICTS[one.verdict]
        axes.plot([one.low, one.high], [row, row], color=colour, linewidth=2)
        axes.plot(one.mean, row, "D", color=colour, markersize=6)
        if row and one.pair != comparisons[row - 1].pair:
            axes.axhline(row - 0.5, color="0.7", linewidth=0.6)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(comparisons)), [f"{one.shown_pair}, {one.score}" for one in comparisons], fontsize=9)
    axes.set_ylim(len(comparisons) - 0.4, -0.6)
    axes.set_xlabel("difference")
    axes.set_title(title, loc="left")
    interval = f"mean and {100 * CONFIDENCE:.0f} % interval: "
    shown = [verdict for verdict in VERDICTS if any(one.verdict == verdict for one in comparisons)]
    figure.legend(
        handles=[
            *(Line2D([], [], color=VERDICTS[v], marker="D", linewidth=2, label=interval + v) for v in shown),
            Line2D([], [], color="0.5", alpha=0.4, marker="o", linestyle="", markersize=3.5, label="each seed"),
            Patch(color="0.9", label="margin"),
        ],
        loc="outside lower center",
        ncols=3,
        fontsize=8,
        frameon=False,
    )
    figure.savefig(path, dpi=120)
