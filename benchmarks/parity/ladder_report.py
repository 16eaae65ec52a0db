"""The ladder's report: a table on the terminal, parity.json, parity.md and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from msgspec import Struct, field

from benchmarks.parity.ladder import Climb, Finding, likely_causes
from benchmarks.parity.pictures import draw_ladder
from benchmarks.parity.plan import LadderPlan
from benchmarks.parity.rungs import NOISE_FACTOR, RUNG
from benchmarks.parity.variants import LadderVariant
from benchmarks.reporting.numbers import short
from benchmarks.reporting.page import Heading, Notes, Page, Picture, Table, Text
from shared.answer import Scores
from shared.checkpoint.sources import shown_model
from shared.files import to_json, write_whole
from shared.recipe import Recipe

FAILS = "FAILS"

Versions = dict[str, dict[str, str]]
"""Versions by backend, and by module that its adapter imports."""


class LadderAsked(Struct, frozen=True):
    """The training that is followed, and where."""

    task: str
    model: str
    rows: dict[str, int]
    """Number of rows by split."""
    steps: int
    recipe: Recipe
    device: str
    threads: int


@dataclass(frozen=True)
class LadderReport:
    """Every variant's climb, and the question."""

    asked: LadderAsked
    versions: Versions
    climbs: dict[str, Climb]
    """Climbs by the variant's name."""

    @classmethod
    def of(cls, plan: LadderPlan, climbs: Mapping[LadderVariant, Climb]) -> LadderReport:
        """The report on the variants that the plan shows together."""
        question = plan.question
        asked = LadderAsked(
            task=question.task.name,
            model=shown_model(question.model),
            rows={name: len(question.splits[name]) for name in ("train", "dev")},
            steps=plan.steps,
            recipe=question.recipe,
            device=plan.device,
            threads=plan.threads,
        )
        versions = {backend: environment.versions for backend, environment in plan.environments.items()}
        return cls(asked, versions, {v.name: climbs[v] for v in plan.together if v in climbs})

    @property
    def holds(self) -> bool:
        """Every rung holds for every variant."""
        return all(climb.first_failure is None for climb in self.climbs.values())


class _ClimbFound(Struct, frozen=True):
    """A variant in parity.json."""

    holds: bool
    first_failure: str | None
    """The lowest rung that fails."""
    dev: Scores
    rungs: tuple[Finding, ...]


class LadderFound(Struct, frozen=True):
    """parity.json."""

    asked: LadderAsked
    versions: Versions
    holds: bool
    variants: dict[str, _ClimbFound] = field(name="climbers")

    def report(self) -> LadderReport:
        """The report that the file was written of."""
        climbs = {name: Climb(found.rungs, found.dev) for name, found in self.variants.items()}
        return LadderReport(self.asked, self.versions, climbs)


def write_report(out: Path, report: LadderReport) -> None:
    """`parity.json`, `parity.md` and `parity.png` under `out`."""
    variants = {}
    for name, climb in report.climbs.items():
        first = climb.first_failure
        variants[name] = _ClimbFound(first is None, first.rung if first else None, climb.dev, climb.findings)
    found = LadderFound(report.asked, report.versions, report.holds, variants)
    write_whole(out / "parity.json", to_json(found, indent=1, finite=True))
    ladder_page(report).write(out / "parity.md")
    asked = report.asked
    draw_ladder(out / "parity.png", report.climbs, f"{asked.model} on {asked.task}, {asked.steps} steps")


def ladder_page(report: LadderReport) -> Page:
    """The table, its notes, and a line for each variant."""
    asked, frame = report.asked, _frame(report)
    return Page(
        [
            Heading(
                f"# Parity: {asked.model} on {asked.task}\n\n{asked.steps} steps, batch {asked.recipe.batch_size}, "
                f"length {asked.recipe.max_len}, {asked.device}; {shown_versions(report.versions)}"
            ),
            Table(frame, "Parity", heading=False, styles=_failures_in_red(frame), names=1),
            Notes(_notes(report)),
            Text([_verdict(name, climb) for name, climb in report.climbs.items()]),
            Picture("error by rung", "parity.png"),
        ]
    )


def shown_versions(versions: Versions) -> str:
    """Each backend with the versions behind its modules, on one line."""
    return "; ".join(f"{b} ({', '.join(f'{m} {v}' for m, v in found.items())})" for b, found in versions.items())


def _frame(report: LadderReport) -> pd.DataFrame:
    return pd.DataFrame(
        {"rung": rung.name, "compared": rung.what}
        | {name: _cell(climb.at(rung.name), "float64" not in name) for name, climb in report.climbs.items()}
        for rung in RUNG.values()
    )


def _cell(finding: Finding, in_noise: bool) -> str:
    if finding.error is None:
        shown = "equal" if finding.holds else "differs"
    elif finding.times_noise is None or not in_noise:
        shown = f"{finding.error:.1e}"
    else:
        shown = f"{finding.error:.1e} ({short(finding.times_noise)}×)"
    return shown if finding.holds else f"{FAILS} {shown}"


def _failures_in_red(frame: pd.DataFrame) -> dict[str, str]:
    return {cell: "bold red" for cells in frame.values for cell in cells if cell.startswith(FAILS)}


def _notes(report: LadderReport) -> list[str]:
    return [
        "largest difference from transformers in float64 (×: in units of torch's own error in the same precision, if "
        "there is one)",
        f"a rung fails if an error exceeds both {NOISE_FACTOR} times torch's own and the rung's floor "
        "(benchmarks/parity/rungs.py)",
        "steep: learning rates about 1e-3, decay 0.1, eps 1e-6, clip at a tenth of the norm, where mistakes show",
        *(f"{name}: dev {_scores(climb.dev)}; {climb.at('dev').note}" for name, climb in report.climbs.items()),
    ]


def _scores(dev: Scores) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in dev.items())


def _verdict(variant: str, climb: Climb) -> str:
    finding = climb.first_failure
    if finding is None:
        return f"{variant}: every rung holds."
    size = f", {short(finding.share)} times its bound" if finding.error is not None else ""
    note = f" ({finding.note})" if finding.note else ""
    return (
        f"{variant} parts at '{finding.rung}', in {finding.worst}{size}{note}. The rungs below hold, so the likely "
        f"causes are: {likely_causes(finding)}."
    )
