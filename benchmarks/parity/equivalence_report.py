"""The report of a comparison over seeds: tables on the terminal, equivalence.json, equivalence.md and a picture."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
from msgspec import Struct, field
from rich.console import Console

from backends import BACKENDS
from benchmarks.cells.plan import Cell
from benchmarks.cli.values import as_typed
from benchmarks.parity.equivalence import (
    CONFIDENCE,
    LEVEL,
    Comparison,
    Variants,
    compare,
    deviation,
    scores_by_seed,
    seeds_of,
)
from benchmarks.parity.ladder_report import Versions, shown_versions
from benchmarks.parity.pictures import COLOURS, draw_equivalence
from benchmarks.reporting.numbers import number, p_value
from benchmarks.reporting.page import Heading, Notes, Page, Picture, Table, Text
from benchmarks.reporting.record_tables import QUALITY_LEGEND, SHORT, quality
from shared.checkpoint.sources import shown_model
from shared.files import to_json, write_whole
from shared.recipe import Recipe
from shared.records import Record

STYLES = {"different": "bold red", "undecided": "yellow"}
WIDE = 110
"""Columns of a terminal that has room for the whole table."""
LEFT_OUT = ["deviation", "TOST p", "t-test p"]
"""Columns that a narrower terminal does not show."""


class SeedsAsked(Struct, frozen=True):
    """The trainings that are compared, and where they ran."""

    task: str
    model: str
    backends: list[str]
    rows: dict[str, int]
    """Number of rows by split."""
    recipe: dict[str, Any]
    """The fields that differ from the default, without the seed and the fields that tell variants apart."""
    device: str
    threads: int


@dataclass(frozen=True)
class EquivalenceReport:
    """The comparisons, with their question and scores."""

    asked: SeedsAsked
    versions: Versions
    variants: Variants
    varied: list[str]
    """The difference between variants: `backend`, or fields of the recipe."""
    margin: float | None
    """None for the first variant's deviation."""
    comparisons: list[Comparison]

    @classmethod
    def of(cls, cells: list[Cell], records: list[Record], margin: float | None) -> EquivalenceReport:
        """Compares these cells by their records, in any order. Beside their seeds the cells differ either in backend or
        in fields of the recipe."""
        cell, varied = cells[0], varied_in(cells)
        in_order = [name for name in BACKENDS if any(each.backend == name for each in cells)]
        asked = SeedsAsked(
            task=cell.question.task.name,
            model=shown_model(cell.question.model),
            backends=in_order,
            rows={name: len(rows) for name, rows in cell.question.splits.items()},
            recipe={name: value for name, value in cell.recipe.asked().items() if name not in ("seed", *varied)},
            device=cell.device,
            threads=cell.threads,
        )
        versions = {each.backend: each.environment.versions for each in cells}
        by_id = {record.id: record for record in records}
        variants: Variants = {}
        for each in sorted(cells, key=lambda each: in_order.index(each.backend)):
            variants.setdefault(_name(each, varied), []).append(by_id[each.id])
        comparisons = compare(variants, margin)
        return cls(asked, {name: versions[name] for name in in_order}, variants, varied, margin, comparisons)

    @property
    def seeds(self) -> list[int]:
        """Each seed once, rising."""
        return seeds_of(self.variants)

    @property
    def holds(self) -> bool:
        """Every comparison is equivalent."""
        return all(found.verdict == "equivalent" for found in self.comparisons)

    @property
    def margin_source(self) -> str:
        """The margin, in words."""
        if self.margin is None:
            return f"{next(iter(self.variants))}'s sample standard deviation over the seeds, of each split and metric"
        return f"{self.margin:g}, as given"


def varied_in(cells: list[Cell]) -> list[str]:
    """`backend` if the cells differ in it, and each field of the recipe in which they differ, except the seed."""
    found = ["backend"] if len({cell.backend for cell in cells}) > 1 else []
    first = cells[0].recipe
    return found + [
        f.name
        for f in fields(Recipe)
        if f.name != "seed" and any(getattr(cell.recipe, f.name) != getattr(first, f.name) for cell in cells)
    ]


def _name(cell: Cell, varied: list[str]) -> str:
    """The variant that the cell belongs to."""
    if varied == ["backend"]:
        return cell.backend
    values = cell.recipe.to_json()
    return ", ".join(f"{name} {as_typed(values[name])}" for name in varied)


class _ScoresFound(Struct, frozen=True):
    """A variant's scores in equivalence.json."""

    variant: str = field(name="of")
    split: str
    metric: str
    mean: float
    deviation: float
    by_seed: list[float]


class _SeedsFound(Struct, frozen=True):
    """equivalence.json."""

    asked: SeedsAsked
    versions: Versions
    seeds: list[int]
    margin: float | None
    margin_source: str
    equivalent: bool
    scores: list[_ScoresFound]
    comparisons: list[Comparison]


def print_report(console: Console, report: EquivalenceReport) -> None:
    """Both tables, their notes, and a line for each pair."""
    frame = _frame(report)
    if console.width < WIDE:
        frame = frame.drop(columns=LEFT_OUT)
    Page(
        [
            _scores(report),
            Table(frame, "Equivalence", styles=STYLES),
            Notes([*QUALITY_LEGEND, *_notes(report)]),
            Text(_verdicts(report)),
        ]
    ).print(console)


def write_report(out: Path, report: EquivalenceReport) -> None:
    """`equivalence.json`, `equivalence.md` and `equivalence.png` under `out`."""
    asked = report.asked
    found = _SeedsFound(
        asked=asked,
        versions=report.versions,
        seeds=report.seeds,
        margin=report.margin,
        margin_source=report.margin_source,
        equivalent=report.holds,
        scores=[
            _ScoresFound(name, split, metric, float(scores.mean()), deviation(scores), scores.tolist())
            for name, found in scores_by_seed(report.variants).items()
            for (split, metric), scores in found.items()
        ],
        comparisons=report.comparisons,
    )
    write_whole(out / "equivalence.json", to_json(found, indent=1, finite=True))
    _page(report).write(out / "equivalence.md")
    title = f"{asked.model} on {asked.task}, {len(report.seeds)} seeds"
    draw_equivalence(out / "equivalence.png", report.comparisons, title)


def _page(report: EquivalenceReport) -> Page:
    asked = report.asked
    recipe = " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(str(as_typed(value)))}" for name, value in asked.recipe.items()
    )
    return Page(
        [
            Heading(f"# Equivalence over seeds: {asked.model} on {asked.task}"),
            Notes(
                [
                    ", ".join(asked.backends),
                    f"recipe: {f'`{recipe}`, and else ' if recipe else ''}the default",
                    f"rows: {', '.join(f'{name} {rows}' for name, rows in asked.rows.items())}",
                    f"seeds: {', '.join(map(str, report.seeds))}",
                    f"margin: {report.margin_source}",
                    f"{asked.device}, {asked.threads} threads a worker; {shown_versions(report.versions)}",
                ]
            ),
            Text(_verdicts(report)),
            _scores(report),
            Notes(QUALITY_LEGEND),
            Table(_frame(report)),
            Notes(_notes(report)),
            Picture("mean differences and their intervals", "equivalence.png"),
        ]
    )


def _scores(report: EquivalenceReport) -> Table:
    """Mean and deviation of each variant's scores."""
    shown = quality([record for records in report.variants.values() for record in records])
    names = [SHORT.get(name, name) for name in report.varied]
    return Table(shown[[*names, *shown.loc[:, "seeds":].columns[1:]]], "Scores", heading=False)


def _frame(report: EquivalenceReport) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "difference": found.shown_pair,
            "score": found.score,
            "mean": number(found.mean, "+z.4f"),
            "deviation": number(found.deviation, ".4f"),
            "low": number(found.low, "+z.4f"),
            "high": number(found.high, "+z.4f"),
            "margin": number(found.margin, ".4f"),
            "TOST p": p_value(found.p_equivalent),
            "t-test p": p_value(found.p_different),
            "verdict": found.verdict,
        }
        for found in report.comparisons
    )


def _notes(report: EquivalenceReport) -> list[str]:
    noted: dict[str, list[str]] = {}
    for found in report.comparisons:
        if found.note:
            noted.setdefault(found.note, []).append(f"{found.shown_pair} {found.score}")
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


def _verdicts(report: EquivalenceReport) -> list[str]:
    """A line for each pair."""
    return [_verdict(pair, report) for pair in dict.fromkeys(found.pair for found in report.comparisons)]


def _verdict(pair: tuple[str, str], report: EquivalenceReport) -> str:
    mine = [found for found in report.comparisons if found.pair == pair]
    if all(found.verdict == "equivalent" for found in mine):
        return f"{' and '.join(pair)}: equivalent in everything compared."
    scores = {verdict: [found.score for found in mine if found.verdict == verdict] for verdict in COLOURS}
    parts = [f"{verdict} in {', '.join(where)}" for verdict, where in scores.items() if where]
    return f"{' and '.join(pair)}: {'; '.join(parts)}."
