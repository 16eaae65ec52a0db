"""The report on a check by scores: a table and a verdict on the terminal, check.md and check.json."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.port.scores import MetricFound, ScoresChecked
from benchmarks.reporting.comparisons import STYLES, comparison_cells, comparison_legend
from benchmarks.reporting.page import Heading, Notes, Page, Table, Text
from benchmarks.statistics.power import MOST_SEEDS, POWER
from shared.files import to_json, write_whole


def write_scores_report(checked: ScoresChecked, out: Path) -> None:
    """Writes check.json and check.md under `out`."""
    write_whole(out / "check.json", to_json(checked, indent=1, finite=True))
    scores_page(checked).write(out / "check.md")


def scores_page(checked: ScoresChecked) -> Page:
    """The scores, their differences and the verdicts."""
    return Page(
        [
            Heading(f"# Port check by scores: {checked.about}"),
            Table(_frame(checked), f"Scores on {checked.split}", styles=STYLES, names=1),
            Notes(_notes(checked)),
            Text([_verdict(one) for one in checked.metrics]),
        ]
    )


def _frame(checked: ScoresChecked) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "metric": one.comparison.metric,
            "yours": f"{one.mean:.4f} ± {one.deviation:.4f}",
            "torch": f"{one.torch_mean:.4f} ± {one.torch_deviation:.4f}",
        }
        | comparison_cells(one.comparison, mean="yours − torch")
        for one in checked.metrics
    )


def _notes(checked: ScoresChecked) -> list[str]:
    margin = "torch's sample standard deviation over the seeds" if checked.margin is None else "as given"
    notes = [
        f"mean ± sample standard deviation over {len(checked.seeds)} seeds: {', '.join(map(str, checked.seeds))}",
        "differences are paired by seed",
        f"margin: {margin}",
        *comparison_legend(len(checked.metrics)),
    ]
    if checked.left_out:
        notes.append(f"seeds that one of the two lacks are left out: {', '.join(map(str, checked.left_out))}")
    if checked.not_compared:
        notes.append(f"columns that are no metric of the records: {', '.join(checked.not_compared)}")
    return notes + [f"{one.comparison.metric}: {one.comparison.note}" for one in checked.metrics if one.comparison.note]


def _verdict(one: MetricFound) -> str:
    found = one.comparison
    line = f"{found.metric}: {found.verdict}."
    if found.verdict != "undecided":
        return line
    if one.seeds_needed is None:
        least = "no number of seeds" if found.margin <= 0 or not found.deviation else f"more than {MOST_SEEDS:,} seeds"
    else:
        least = f"{one.seeds_needed} seeds"
    return f"{line} If the differences go on as they are, {least} would decide, with a chance of {100 * POWER:.0f} %."
