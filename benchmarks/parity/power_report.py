"""How many seeds a margin needs, said before the trainings: by the records that are there, or by assumed deviations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.cells.plan import Cell
from benchmarks.parity.equivalence_report import EquivalenceReport
from benchmarks.reporting.page import Notes, Page, Table
from benchmarks.statistics.power import MOST_SEEDS, POWER, power_of, seeds_needed
from benchmarks.workers.progress import terminal
from shared.records import Record, read_record

ASSUMED = (0.5, 1.0, math.sqrt(2), 2.0, 3.0)
"""Deviations of differences, in margins, that are shown if no records are there."""
FEWEST = 2
"""Seeds from which a deviation is taken."""


@dataclass(frozen=True)
class Expected:
    """The deviation that differences are expected to have, and the margin that they are held to."""

    names: dict[str, str]
    """The first cells of its line."""
    deviation: float
    margin: float

    def cells(self, seeds: int) -> dict[str, str]:
        """The cells of its line, for so many seeds that are asked for."""
        needed = seeds_needed(0.0, self.deviation, self.margin)
        chance = power_of(seeds, 0.0, self.deviation, self.margin)[0]
        return self.names | {
            "seeds needed": f"{needed:,}" if needed else f"more than {MOST_SEEDS:,}",
            f"chance with {seeds}": f"{100 * chance:.0f} %",
        }


def show_power(cells: list[Cell], margin: float | None, out: Path) -> None:
    """Prints how many seeds call variants equivalent that are the same, at a chance of POWER, and the chance with the
    seeds of the cells."""
    seeds = len({cell.recipe.seed for cell in cells})
    records = _answered(cells, out)
    expected, source = _by_records(records, margin, out) if records else ([], "")
    if not expected:
        expected, source = _assumed(margin)
    frame = pd.DataFrame(one.cells(seeds) for one in expected)
    Page(
        [
            Table(frame, "Seeds for a verdict", names=len(expected[0].names)),
            Notes(
                [
                    "seeds needed: with so many, variants that are truly the same are called equivalent with a chance "
                    f"of {100 * POWER:.0f} %, by two one-sided paired t-tests; variants that differ need more",
                    source,
                ]
            ),
        ]
    ).print(terminal())


def _answered(cells: list[Cell], out: Path) -> list[Record]:
    """The records of the seeds that every variant has, if there are enough."""
    by_seed: dict[int, list[Record | None]] = {}
    for cell in cells:
        by_seed.setdefault(cell.recipe.seed, []).append(read_record(out, cell.id))
    whole = [[one for one in each if one is not None] for each in by_seed.values() if None not in each]
    return [one for each in whole for one in each] if len(whole) >= FEWEST else []


def _by_records(records: Sequence[Record], margin: float | None, out: Path) -> tuple[list[Expected], str]:
    report = EquivalenceReport.of(list(records), margin)
    expected = [
        Expected(
            {
                "difference": one.shown_pair,
                "score": one.score,
                "deviation": f"{one.deviation:.4f}",
                "margin": f"{one.margin:.4f}",
            },
            one.deviation,
            one.margin,
        )
        for one in report.comparisons
        if one.deviation > 0 and one.margin > 0
    ]
    source = (
        f"deviation: of the differences over the {len(report.seeds)} seeds that {out}/records has; margin: "
        f"{report.margin_source}"
    )
    return expected, source


def _assumed(margin: float | None) -> tuple[list[Expected], str]:
    bound = margin or 1.0
    expected = []
    for times in ASSUMED:
        names = {"deviation in margins": f"{times:.1f}"} | ({"deviation": f"{times * margin:.4f}"} if margin else {})
        expected.append(Expected(names, times * bound, bound))
    return expected, (
        "deviation: of the differences over seeds, assumed, as the records do not tell it yet. With the default "
        "margin, the deviation over the seeds, differences of equal variants deviate by 1.4 margins, and by less if "
        "the seed's row order and first weights make a part of the score"
    )
