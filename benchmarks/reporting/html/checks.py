"""The section on port checks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.port.check import Checked
from benchmarks.port.report import SHOWN, STYLES, check_page
from benchmarks.reporting.colours import COLOURS, SHAPES
from benchmarks.reporting.html import vega
from benchmarks.reporting.html.document import Folded, Section, parts_of, shown_table
from benchmarks.reporting.html.found import Found, read_each
from benchmarks.reporting.html.rungs import rung_row, rungs_chart
from benchmarks.reporting.numbers import MISSING
from benchmarks.reporting.page import Table

COMPARED = ("from the pack", "by itself")

WRONG = "WRONG"


def checks(out: Path, paths: list[Path]) -> Found | None:
    """The section on every check.json; None if none can be read."""
    found = read_each(out, paths, Checked)
    if not found:
        return None
    rows = [
        rung_row(source, how, rung.rung, one, SHOWN[rung.state])
        for source, checked in found.items()
        for rung in checked.rungs
        for how, one in zip(COMPARED, (rung.from_pack, rung.by_itself), strict=True)
    ]
    scales = vega.scales("name", COMPARED, list(COLOURS.values())[:2], SHAPES[:2])
    verdicts = pd.DataFrame({"port": source} | _verdict(checked) for source, checked in found.items())
    each = [Folded(source, parts_of(check_page(c, False).blocks, f"check-{source}")) for source, c in found.items()]
    section = Section(
        "Port checks",
        [
            shown_table(Table(verdicts, "Verdicts", styles=STYLES | {WRONG: "bold red"}, names=1), "checks"),
            rungs_chart("check", "Errors of a port by rung", "compared", rows, scales),
            Folded("Every rung of each port", each) if len(each) > 1 else each[0],
        ],
    )
    hold = sum(checked.holds for checked in found.values())
    return Found(f"Port checks: {hold} of {len(found)} hold at every rung that was seen.", section)


def _verdict(checked: Checked) -> dict[str, str]:
    wrong = [rung.rung for rung in checked.rungs if rung.state in ("wrong", "parts")]
    unseen = [rung.rung for rung in checked.rungs if rung.state == "not seen"]
    return {
        "verdict": "holds" if checked.holds else WRONG,
        "wrong by itself": "; ".join(wrong) or "nothing",
        "explained by": ", ".join(checked.diagnosis.differences) or MISSING,
        "not seen": "; ".join(unseen) or "nothing",
    }
