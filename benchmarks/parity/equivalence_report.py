"""What a comparison over seeds shows: tables on the terminal, equivalence.json, equivalence.md and a picture."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from backends import BACKENDS
from benchmarks.cells.plan import Cell
from benchmarks.parity.equivalence import (
    CONFIDENCE,
    LEVEL,
    Arms,
    Comparison,
    Verdict,
    compare,
    deviation,
    scores_by_seed,
    seeds_of,
)
from benchmarks.parity.ladder_report import shown_versions
from benchmarks.reporting.record_tables import QUALITY_LEGEND, SHORT, quality
from benchmarks.reporting.tables import as_typed, print_table
from shared.files import write_whole
from shared.recipe import Recipe
from shared.records import Record

STYLES = {"different": "bold red", "undecided": "yellow"}
WIDE = 110
"""Columns that the whole table takes; a narrower terminal gets less of it."""
COLOURS: dict[Verdict, str] = {"equivalent": "tab:blue", "different": "tab:red", "undecided": "tab:orange"}


@dataclass(frozen=True)
class Report:
    """The comparisons, with what was asked and scored."""

    asked: dict[str, Any]
    versions: dict[str, dict[str, str]]
    arms: Arms
    varied: list[str]
    """What tells the arms apart: `backend`, or fields of the recipe."""
    margin: float | None
    """None where it is the first arm's deviation."""
    comparisons: list[Comparison]

    @classmethod
    def of(cls, cells: list[Cell], records: list[Record], margin: float | None) -> Report:
        """The comparison of these cells by their records, in any order. Beside their seeds, the cells differ either in
        backend or in fields of the recipe."""
        cell = cells[0]
        varied = varied_in(cells)
        in_order = [name for name in BACKENDS if any(each.backend == name for each in cells)]
        asked = {
            "task": cell.task.name,
            "model": cell.model,
            "backends": in_order,
            "rows": {name: len(rows) for name, rows in cell.splits.items()},
            "recipe": {name: value for name, value in cell.recipe.asked().items() if name not in ("seed", *varied)},
            "device": cell.device,
            "threads": cell.threads,
        }
        versions = {each.backend: each.environment.versions for each in cells}
        by_id = {record["id"]: record for record in records}
        arms: Arms = {}
        for each in sorted(cells, key=lambda each: in_order.index(each.backend)):
            arms.setdefault(_arm(each, varied), []).append(by_id[each.id])
        return cls(asked, {name: versions[name] for name in in_order}, arms, varied, margin, compare(arms, margin))

    @property
    def seeds(self) -> list[int]:
        return seeds_of(self.arms)

    @property
    def holds(self) -> bool:
        """Every comparison is equivalent."""
        return all(found.verdict == "equivalent" for found in self.comparisons)

    @property
    def margin_source(self) -> str:
        if self.margin is None:
            return f"{next(iter(self.arms))}'s sample standard deviation over the seeds, of each split and metric"
        return f"{self.margin:g}, as given"


def varied_in(cells: list[Cell]) -> list[str]:
    """`backend` where that differs between the cells, and each field of the recipe that does, the seed apart."""
    found = ["backend"] if len({cell.backend for cell in cells}) > 1 else []
    first = cells[0].recipe
    return found + [
        f.name
        for f in fields(Recipe)
        if f.name != "seed" and any(getattr(cell.recipe, f.name) != getattr(first, f.name) for cell in cells)
    ]


def _arm(cell: Cell, varied: list[str]) -> str:
    if varied == ["backend"]:
        return cell.backend
    values = cell.recipe.to_json()
    return ", ".join(f"{name} {as_typed(values[name])}" for name in varied)


def print_report(console: Console, report: Report) -> None:
    """Both tables, and what is found of each pair."""
    print_table(console, "Scores", _scores(report))
    frame = _frame(report)
    if console.width < WIDE:
        frame = frame.drop(columns=["deviation", "TOST p", "t-test p"])
    print_table(console, "Equivalence", frame, STYLES)
    for line in (*QUALITY_LEGEND, *_notes(report)):
        console.print(f"- {line}", style="dim", highlight=False, markup=False, soft_wrap=True)
    console.print()
    for line in _verdicts(report):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def write_report(out: Path, report: Report) -> None:
    """`equivalence.json`, `equivalence.md` and `equivalence.png` under `out`."""
    values = {
        "asked": report.asked,
        "versions": report.versions,
        "seeds": report.seeds,
        "margin": report.margin,
        "margin_source": report.margin_source,
        "equivalent": report.holds,
        "scores": [
            {
                "of": name,
                "split": split,
                "metric": metric,
                "mean": float(scores.mean()),
                "deviation": deviation(scores),
                "by_seed": scores.tolist(),
            }
            for name, found in scores_by_seed(report.arms).items()
            for (split, metric), scores in found.items()
        ],
        "comparisons": [asdict(found) for found in report.comparisons],
    }
    write_whole(out / "equivalence.json", json.dumps(_plain(values), indent=1, allow_nan=False))
    write_whole(out / "equivalence.md", _markdown(report))
    _draw(out / "equivalence.png", report)


def _markdown(report: Report) -> str:
    asked = report.asked
    recipe = " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(str(as_typed(value)))}" for name, value in asked["recipe"].items()
    )
    rows = ", ".join(f"{name} {number}" for name, number in asked["rows"].items())
    return "\n".join(
        [
            f"# Equivalence over seeds: {asked['model']} on {asked['task']}\n",
            f"- {', '.join(asked['backends'])}",
            f"- recipe: {f'`{recipe}`, and else ' if recipe else ''}the default",
            f"- rows: {rows}",
            f"- seeds: {', '.join(map(str, report.seeds))}",
            f"- margin: {report.margin_source}",
            f"- {asked['device']}, {asked['threads']} threads a worker; {shown_versions(report.versions)}\n",
            "\n\n".join(_verdicts(report)) + "\n",
            _scores(report).to_markdown(index=False, disable_numparse=True) + "\n",
            *(f"- {line}" for line in QUALITY_LEGEND),
            "",
            _frame(report).to_markdown(index=False, disable_numparse=True) + "\n",
            *(f"- {line}" for line in _notes(report)),
            "\n![mean differences and their intervals](equivalence.png)\n",
        ]
    )


def _scores(report: Report) -> pd.DataFrame:
    """Mean and deviation of each arm, without the columns in which there is nothing to tell apart."""
    shown = quality([record for records in report.arms.values() for record in records])
    return shown[[*(SHORT.get(name, name) for name in report.varied), *shown.loc[:, "seeds":].columns[1:]]]


def _frame(report: Report) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "difference": f"{found.second} − {found.first}",
            "score": f"{found.split} {found.metric}",
            "mean": _number(found.mean, "+z.4f"),
            "deviation": _number(found.deviation, ".4f"),
            "low": _number(found.low, "+z.4f"),
            "high": _number(found.high, "+z.4f"),
            "margin": _number(found.margin, ".4f"),
            "TOST p": _p_value(found.p_equivalent),
            "t-test p": _p_value(found.p_different),
            "verdict": found.verdict,
        }
        for found in report.comparisons
    )


def _notes(report: Report) -> list[str]:
    noted: dict[str, list[str]] = {}
    for found in report.comparisons:
        if found.note:
            noted.setdefault(found.note, []).append(f"{found.second} − {found.first} {found.split} {found.metric}")
    return [
        f"differences are paired by seed, {len(report.seeds)} seeds; low, high: the {100 * CONFIDENCE:.0f} % bootstrap "
        "interval (BCa) of their mean",
        f"margin: {report.margin_source}",
        "equivalent: two one-sided paired t-tests reject that the true mean difference is the margin or more (TOST p "
        f"below {LEVEL}); different: they do not, and a paired t-test rejects that it is 0 (t-test p below {LEVEL}); "
        "undecided: neither, and more seeds may tell",
        f"each test stands alone: of what is the same, one comparison in {1 / LEVEL:.0f} looks different by "
        f"chance, and there are {len(report.comparisons)}",
        *(f"{note}: {', '.join(where)}" for note, where in noted.items()),
    ]


def _verdicts(report: Report) -> list[str]:
    """A line for each pair."""
    pairs = dict.fromkeys((found.first, found.second) for found in report.comparisons)
    lines = []
    for pair in pairs:
        mine = [found for found in report.comparisons if (found.first, found.second) == pair]
        by_verdict = {
            verdict: [f"{found.split} {found.metric}" for found in mine if found.verdict == verdict]
            for verdict in COLOURS
        }
        if len(by_verdict["equivalent"]) == len(mine):
            lines.append(f"{' and '.join(pair)}: equivalent in everything compared.")
        else:
            parts = [f"{verdict} in {', '.join(where)}" for verdict, where in by_verdict.items() if where]
            lines.append(f"{' and '.join(pair)}: {'; '.join(parts)}.")
    return lines


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else "–"


def _p_value(value: float) -> str:
    return "<0.001" if value < 0.001 else _number(value, ".3f")


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _draw(path: Path, report: Report) -> None:
    """A row a comparison: the mean difference with its interval, each seed's, and the margin as a band."""
    # Imported here: most of a second, and only this needs it.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found = report.comparisons
    figure, axes = pyplot.subplots(figsize=(9, 1.8 + 0.32 * len(found)), layout="constrained")
    for row, one in enumerate(found):
        if math.isfinite(one.margin):
            axes.barh(row, 2 * one.margin, left=-one.margin, height=0.8, color="0.9", zorder=0)
        axes.plot(one.differences, [row] * len(one.differences), "o", color="0.5", alpha=0.4, markersize=3.5)
        colour = COLOURS[one.verdict]
        axes.plot([one.low, one.high], [row, row], color=colour, linewidth=2)
        axes.plot(one.mean, row, "D", color=colour, markersize=6)
        if row and (one.first, one.second) != (found[row - 1].first, found[row - 1].second):
            axes.axhline(row - 0.5, color="0.7", linewidth=0.6)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(
        range(len(found)), [f"{one.second} − {one.first}, {one.split} {one.metric}" for one in found], fontsize=9
    )
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xlabel("difference")
    asked = report.asked
    axes.set_title(f"{asked['model']} on {asked['task']}, {len(report.seeds)} seeds", loc="left")
    interval = f"mean and {100 * CONFIDENCE:.0f} % interval: "
    shown: Iterable[Verdict] = (verdict for verdict in COLOURS if any(one.verdict == verdict for one in found))
    figure.legend(
        handles=[
            *(Line2D([], [], color=COLOURS[v], marker="D", linewidth=2, label=interval + v) for v in shown),
            Line2D([], [], color="0.5", alpha=0.4, marker="o", linestyle="", markersize=3.5, label="each seed"),
            Patch(color="0.9", label="margin"),
        ],
        loc="outside lower center",
        ncols=3,
        fontsize=8,
        frameon=False,
    )
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
