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
from benchmarks.cli.values import as_typed
from benchmarks.parity.equivalence import Variants, compare, scores_by_seed, seeds_of
from benchmarks.parity.ladder_report import Versions, shown_versions
from benchmarks.parity.pictures import draw_equivalence
from benchmarks.reporting.colours import VERDICTS
from benchmarks.reporting.comparisons import STYLES, comparison_cells, comparison_legend
from benchmarks.reporting.page import Heading, Notes, Page, Picture, Table, Text
from benchmarks.reporting.record_tables import QUALITY_LEGEND, quality
from benchmarks.reporting.rows import SHORT
from benchmarks.statistics.intervals import deviation
from benchmarks.statistics.paired import Comparison
from benchmarks.statistics.power import MOST_SEEDS, POWER, seeds_to_decide
from shared.files import from_json, to_json, write_whole
from shared.recipe import Recipe
from shared.records import SPLITS, Record

EQUIVALENCE = "equivalence.json"
WIDE = 110
"""Columns of a terminal that has room for the whole table."""
LEFT_OUT = ["deviation", "TOST p", "t-test p", "Holm p"]
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
    def of(cls, records: list[Record], margin: float | None) -> EquivalenceReport:
        """Compares trainings. Beside their seeds they differ either in backend or in fields of the recipe. Backends
        come in the registry's order, values of a field in that of the records. Raises ValueError if they differ in
        more, and as `compare` does."""
        first, varied = records[0], varied_in(records)
        if len({record.asked.without("seed", "revision", "versions", *varied) for record in records}) > 1:
            raise ValueError(f"the records differ in more than {', '.join(['the seed', *varied])}")
        in_order = [name for name in BACKENDS if any(each.asked.backend == name for each in records)]
        asked = SeedsAsked(
            task=first.asked.task,
            model=first.model,
            backends=in_order,
            rows={split: first.rows[split] for split in ("train", *SPLITS) if split in first.rows},
            recipe={name: value for name, value in first.recipe.asked().items() if name not in ("seed", *varied)},
            device=first.asked.device,
            threads=first.asked.threads,
        )
        versions = {each.asked.backend: each.asked.versions for each in records}
        variants: Variants = {}
        for each in sorted(records, key=lambda each: in_order.index(each.asked.backend)):
            variants.setdefault(_name(each, varied), []).append(each)
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


def varied_in(records: list[Record]) -> list[str]:
    """`backend` if the records differ in it, and each field of the recipe in which they differ, except the seed."""
    found = ["backend"] if len({record.asked.backend for record in records}) > 1 else []
    first = records[0].recipe
    return found + [
        f.name
        for f in fields(Recipe)
        if f.name != "seed" and any(getattr(record.recipe, f.name) != getattr(first, f.name) for record in records)
    ]


def _name(record: Record, varied: list[str]) -> str:
    """The variant that the record belongs to."""
    if varied == ["backend"]:
        return record.asked.backend
    values = {"backend": record.asked.backend} | record.recipe.to_json()
    return ", ".join(f"{name} {as_typed(values[name])}" for name in varied)


class _ScoresFound(Struct, frozen=True):
    """A variant's scores in equivalence.json."""

    variant: str = field(name="of")
    split: str
    metric: str
    mean: float
    deviation: float
    by_seed: list[float]


class SeedsFound(Struct, frozen=True):
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
            Text(_said(report)),
        ]
    ).print(console)


def write_report(out: Path, report: EquivalenceReport) -> None:
    """`equivalence.json`, `equivalence.md` and `equivalence.png` under `out`."""
    asked = report.asked
    found = SeedsFound(
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
    write_whole(out / EQUIVALENCE, to_json(found, indent=1, finite=True))
    _page(report).write(out / "equivalence.md")
    title = f"{asked.model} on {asked.task}, {len(report.seeds)} seeds"
    draw_equivalence(out / "equivalence.png", report.comparisons, title)


class _NamedBefore(Struct):
    """A variant of an equivalence.json."""

    variant: str = field(name="of")


class _Before(Struct):
    """The request that an equivalence.json answers."""

    margin: float | None
    scores: list[_NamedBefore]


def rewrite_report(out: Path, records: list[Record]) -> None:
    """Writes the files that `write_report` left under `out` again, of the folder's records and by the same margin.
    Raises ValueError if these are no longer the records of one comparison."""
    before = from_json((out / EQUIVALENCE).read_bytes(), _Before)
    names, varied = [one.variant for one in before.scores], varied_in(records)
    known = sorted(records, key=lambda record: names.index(_name(record, varied)))
    write_report(out, EquivalenceReport.of(known, before.margin))


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
            Text(_said(report)),
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
        {"difference": found.shown_pair, "score": found.score} | comparison_cells(found) for found in report.comparisons
    )


def _notes(report: EquivalenceReport) -> list[str]:
    noted: dict[str, list[str]] = {}
    for found in report.comparisons:
        if found.note:
            noted.setdefault(found.note, []).append(f"{found.shown_pair} {found.score}")
    return [
        f"differences are paired by seed, {len(report.seeds)} seeds",
        f"margin: {report.margin_source}",
        *comparison_legend(len(report.comparisons)),
        *(f"{note}: {', '.join(where)}" for note, where in noted.items()),
    ]


def _said(report: EquivalenceReport) -> list[str]:
    """A line for each pair, and one on the seeds that would decide the rest."""
    pairs = dict.fromkeys(found.pair for found in report.comparisons)
    return [*(_verdict(pair, report) for pair in pairs), *_more_seeds(report)]


def _verdict(pair: tuple[str, str], report: EquivalenceReport) -> str:
    mine = [found for found in report.comparisons if found.pair == pair]
    if all(found.verdict == "equivalent" for found in mine):
        return f"{' and '.join(pair)}: equivalent in everything compared."
    scores = {verdict: [found.score for found in mine if found.verdict == verdict] for verdict in VERDICTS}
    parts = [f"{verdict} in {', '.join(where)}" for verdict, where in scores.items() if where]
    return f"{' and '.join(pair)}: {'; '.join(parts)}."


def _more_seeds(report: EquivalenceReport) -> list[str]:
    """How many seeds would decide what is undecided."""
    tests = len(report.comparisons)
    undecided = [found for found in report.comparisons if found.verdict == "undecided" and found.margin > 0]
    if not undecided:
        return []
    needed = [seeds_to_decide(found, tests) for found in undecided]
    known = [seeds for seeds in needed if seeds is not None]
    most = f"{max(known)} seeds" if len(known) == len(needed) else f"more than {MOST_SEEDS:,} seeds"
    return [
        f"If the differences go on as they are, {most} would decide each score that is undecided, with a chance of "
        f"{100 * POWER:.0f} % each."
    ]
