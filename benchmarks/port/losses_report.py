"""The report on a check by losses: tables and a verdict on the terminal, check.md and check.json."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.port.losses import LossesChecked
from benchmarks.port.report import shown_share
from benchmarks.reporting.page import Block, Heading, Notes, Page, Table, Text
from shared.files import to_json, write_whole
from shared.hypotheses import CLEAR, HYPOTHESES
from shared.reference import Ranked

ALSO = 5
"""Other explanations that are told in words."""
TRIED = sum(one.kind != "random" for one in HYPOTHESES)


def write_losses_report(checked: LossesChecked, out: Path) -> None:
    """Writes check.json and check.md under `out`."""
    write_whole(out / "check.json", to_json(checked, indent=1, finite=True))
    losses_page(checked).write(out / "check.md")


def losses_page(checked: LossesChecked) -> Page:
    """The losses, the mistakes that explain them, and the verdict."""
    title = f"# Port check by losses: {checked.about}\n\nPack {checked.pack}"
    blocks: list[Block] = [Heading(title), Table(_losses(checked), "Losses")]
    if checked.explained is not None:
        blocks.append(Table(_ranked(checked), "Known mistakes", names=1))
    return Page([*blocks, Notes(_notes(checked)), Text(losses_verdict(checked))])


def _losses(checked: LossesChecked) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "run": one.run,
            "step": str(one.step),
            "yours": f"{one.mine:.7g}",
            "reference": f"{one.exact:.7g}",
            "difference": f"{abs(one.mine - one.exact):.1e} ({shown_share(one.share)}×)",
        }
        for one in checked.losses
    )


def _ranked(checked: LossesChecked) -> pd.DataFrame:
    assert checked.explained is not None
    count = len(checked.losses)
    return pd.DataFrame(
        {
            "known mistake": one.says(),
            "id": " + ".join(one.ids),
            "losses explained": f"{one.explained} of {count}",
            "× its bound": shown_share(one.share),
            "": _remark(one, one.explained == count),
        }
        for one in (*checked.explained.within, *checked.explained.nearest)
    )


def _remark(one: Ranked, explains: bool) -> str:
    if not explains:
        return ""
    return "explains" if one.confirmed else "fitted, unconfirmed"


def _notes(checked: LossesChecked) -> list[str]:
    notes = [
        "×: the difference by its bound, the larger of ten times the reference's own float32 error and 5e-6, and half "
        "a unit of the last digit of your losses",
    ]
    if checked.digits > 0.5:
        notes.append(
            f"your losses have few digits, which make up {100 * checked.digits:.0f} % of a bound: write more, and "
            "more mistakes can be told apart"
        )
    if checked.explained is not None:
        notes.append(
            "losses explained: from the first on, by the reference's training with the mistake; "
            f"{checked.explained.tried} trainings were tried"
        )
    return notes


def losses_verdict(checked: LossesChecked) -> list[str]:
    """Paragraphs that say what explains the losses, and how sure that is."""
    found = checked.explained
    if found is None:
        return [
            f"Every loss holds ({len(checked.losses)}). A mistake that moves no loss by more than its bound is not "
            "seen: record your script for a check of every rung."
        ]
    wrong = [one for one in checked.losses if one.share > 1]
    first = f"The losses part at step {wrong[0].step} of run {wrong[0].run}, by {shown_share(wrong[0].share)} bounds."
    lines = [first, *(_explained(checked) if found.within else _unexplained(checked))]
    if found.unmoved:
        hidden = f"{len(found.unmoved)} known mistakes move no loss by more than {CLEAR:g} bounds, and may be there too"
        lines.append(f"{hidden}: {', '.join(found.unmoved)}.")
    return lines


def _explained(checked: LossesChecked) -> list[str]:
    assert checked.explained is not None
    best, *others = checked.explained.within
    line = f"Explained by: {best.says()}, which leaves {shown_share(best.share)} of a bound."
    if not best.confirmed:
        line += " Its number is fitted, and no further loss confirms it."
    if not others:
        return [line + f" No other of {TRIED} known mistakes{_or_pair(best)} explains every loss."]
    said = "; ".join(f"{one.says()} ({shown_share(one.share)})" for one in others[:ALSO])
    more = f"; and {len(others) - ALSO} more, in the table" if len(others) > ALSO else ""
    return [f"{line} Also explained by: {said}{more}. Losses cannot tell these apart: record your script."]


def _or_pair(best: Ranked) -> str:
    return "" if len(best.terms) == 1 else ", and no other pair that was tried,"


def _unexplained(checked: LossesChecked) -> list[str]:
    assert checked.explained is not None
    if not checked.explained.nearest:
        return ["No known mistake explains them."]
    near = checked.explained.nearest[0]
    return [
        "No known mistake explains them, nor a pair that was tried. Nearest: "
        f"{near.says()}, which explains the first {near.explained} and leaves {shown_share(near.share)} bounds. Was "
        "dropout off, and was each step's batch, rate and first weights the pack's? If so, record your script."
    ]
