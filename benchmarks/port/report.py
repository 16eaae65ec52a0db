"""The report on a port: a table and its verdict on the terminal, check.md, check.json and a picture."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.parity.ladder import Finding, likely_causes
from benchmarks.parity.rungs import NOISE_FACTOR
from benchmarks.port.causes import Cause
from benchmarks.port.check import Checked, RungFound, seen_in_part
from benchmarks.port.cost_report import cost_blocks
from benchmarks.port.precision import FACTOR
from benchmarks.reporting.numbers import short
from benchmarks.reporting.page import Heading, Notes, Page, Picture, Table, Text
from shared.files import to_json, write_whole

SHOWN = {"holds": "holds", "wrong": "WRONG by itself", "follows": "follows", "parts": "PARTS", "not seen": "not seen"}
STYLES = {"WRONG by itself": "bold red", "PARTS": "bold red", "follows": "yellow", "not seen": "dim", "holds": "green"}

BEFORE = {
    "norm, steep": "norm",
    "clipped, steep": "clipped",
    "last step": "first step",
    "last step, steep": "first step, steep",
    "losses, steep": "losses",
}
"""Rungs that repeat another one's arithmetic."""


def write_report(checked: Checked, out: Path, picture: bool = True) -> None:
    """Writes check.json, check.md and, with its picture, check.png under `out`."""
    write_whole(out / "check.json", to_json(checked, indent=1, finite=True))
    check_page(checked, picture).write(out / "check.md")
    if picture:
        draw(checked, out / "check.png")


def check_page(checked: Checked, picture: bool = True) -> Page:
    """The table, its notes, the verdict and the picture."""
    mapped = f"{checked.mapped} of {checked.parameters} parameters mapped"
    title = f"# Port check: {checked.about}\n\nPack {checked.pack}; {mapped}"
    return Page(
        [
            Heading(title),
            Table(_frame(checked), "Port check", heading=False, styles=STYLES, names=2),
            Notes(_notes(checked)),
            Text(verdict(checked)),
            *(cost_blocks(checked.cost) if checked.cost else []),
            *([Picture("errors by rung", "check.png")] if picture else []),
        ]
    )


def _frame(checked: Checked) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "rung": found.rung,
            "verdict": SHOWN[found.state],
            "from the pack": _cell(found.from_pack),
            "by itself": _cell(found.by_itself),
            "explained by": _explained(checked.diagnosis.of_rung(found.rung)),
        }
        for found in checked.rungs
    )
    return frame if checked.diagnosis.causes else frame.drop(columns="explained by")


def _explained(cause: Cause | None) -> str:
    if cause is None:
        return ""
    if not cause.ids:
        return "nothing known"
    left = "" if cause.share is None else f" → {shown_share(cause.share)}×"
    return f"{' + '.join(cause.ids[0])}{left}"


def _cell(finding: Finding | None) -> str:
    if finding is None:
        return "–"
    if finding.error is None:
        return "equal" if finding.holds else "differs"
    return f"{finding.error:.1e} ({shown_share(finding.share)}×)"


def shown_share(share: float) -> str:
    return f"{share:.2f}" if share < 1 else short(share)


def _notes(checked: Checked) -> list[str]:
    return [
        "largest difference (×: by its bound; a rung fails above 1). A bound is the larger of "
        f"{_noise(checked)} and the rung's floor",
        "from the pack: from the reference in float64; by itself: from what follows in float64 from the port's own "
        "values below the rung",
        "follows: it fails because of what came before; not seen: not recorded, which is no pass",
        *(
            ["explained by: known mistakes with which the reference computes the same, and the error that is left"]
            if checked.diagnosis.causes
            else []
        ),
        *(f"not mapped as it should be: {line}" for line in checked.unmatched),
        *(
            [f"told apart by name alone, as their values are equal: {', '.join(checked.ambiguous)}"]
            if checked.ambiguous
            else []
        ),
    ]


def _noise(checked: Checked) -> str:
    if checked.precision == "float32":
        return f"{NOISE_FACTOR} times the reference's own float32 error"
    how = ", by rounding the inputs of matrix products" if checked.precision == "tf32" else ""
    return f"{FACTOR:g} times the largest error of the reference's own trainings in {checked.precision}{how}"


def verdict(checked: Checked) -> list[str]:
    """Paragraphs that say what was found."""
    wrong = [found for found in checked.rungs if found.state in ("wrong", "parts")]
    lines = [_cause(cause, checked) for cause in checked.diagnosis.causes]
    wrong = [found for found in wrong if checked.diagnosis.of_rung(found.rung) is None]
    names = [found.rung for found in wrong]
    again = [name for name in names if BEFORE.get(name) in names]
    lines += [_wrong(found, checked) for found in wrong if found.rung not in again]
    if again:
        lines.append(f"So are the rungs of the same arithmetic: {'; '.join(again)}.")
    follows = [found.rung for found in checked.rungs if found.state == "follows"]
    if follows and lines:
        lines.append(
            f"Because of that: {'; '.join(follows)}. They hold by the port's own values, or cannot be told from it."
        )
    elif follows:
        lines.append(
            f"Every rung holds by the port's own values, and {'; '.join(follows)} from the pack not: a difference too "
            "small to show in one step adds up. Likely: the optimizer's betas, its epsilon, or decay."
        )
    unseen = [found.rung for found in checked.rungs if found.state == "not seen"]
    if not lines:
        lines.append(f"Every rung that was seen holds ({len(checked.rungs) - len(unseen)} of {len(checked.rungs)}).")
    partly = [
        f"{found.rung} ({found.from_pack.note})" for found in checked.rungs if found.from_pack and seen_in_part(found)
    ]
    if partly:
        lines.append(f"Seen in part: {'; '.join(partly)}.")
    if unseen:
        lines.append(f"Not seen: {'; '.join(unseen)}.")
    if checked.missing_rungs:
        lines.append(f"Required and not seen: {'; '.join(checked.missing_rungs)}.")
    half = checked.rounded
    if wrong and half and checked.precision == "float32":
        lines.append(f"The port's weights are of {half}, and the bounds of float32; pass --precision {half}.")
    if checked.diagnosis.causes:
        lines.append(_conclusion(checked, names))
    return lines


def _cause(cause: Cause, checked: Checked) -> str:
    """Says what explains rungs, or where they are wrong if nothing does."""
    rungs = ", ".join(f"'{rung}'" for rung in cause.rungs)
    verb, own = ("are", "themselves") if len(cause.rungs) > 1 else ("is", "itself")
    finding = _finding(next(found for found in checked.rungs if found.rung == cause.rungs[0]))
    size = f", {short(finding.share)} times its bound" if finding and finding.error is not None else ""
    if cause.ids:
        left = "" if cause.share is None else f", which leaves {shown_share(cause.share)} of a bound"
        line = f"{rungs} {verb} wrong by {own}{size}. Explained by: {cause.says[0]}{left}."
        if len(cause.says) > 1:
            line += f" On this pack the same: {'; or '.join(cause.says[1:])}."
        return line
    near = f" Nearest: {cause.nearest}, which leaves {short(cause.nearest_share)} bounds." if cause.nearest else ""
    likely = f" Likely: {likely_causes(finding)}." if finding else ""
    return (
        f"{rungs} {verb} wrong by {own}, in {cause.place}{size}. Nothing known explains it: {cause.tried} known "
        f"mistakes and combinations of them were tried.{near}{likely}"
    )


def _finding(found: RungFound) -> Finding | None:
    return found.by_itself if found.state == "wrong" else found.from_pack


def _conclusion(checked: Checked, unexplained: list[str]) -> str:
    """How many differences explain everything, or what is left."""
    count = len(checked.diagnosis.differences)
    said = f"{count} difference{'' if count == 1 else 's'} from the recipe"
    left = [*checked.diagnosis.unexplained, *unexplained]
    if left:
        return f"Found: {said}; not explained: {', '.join(left)}."
    return f"Everything else holds: {said}, no other."


def _wrong(found: RungFound, checked: Checked) -> str:
    finding = found.by_itself if found.state == "wrong" else found.from_pack
    assert finding is not None
    size = f", {short(finding.share)} times its bound" if finding.error is not None else ""
    said = finding.note or (found.from_pack.note if found.from_pack and not found.from_pack.holds else "")
    note = f" ({said})" if said else ""
    causes = likely_causes(finding)
    if found.state == "wrong":
        return f"'{found.rung}' is wrong by itself, in {finding.worst}{size}{note}. Likely: {causes}."
    below = _seen_below(found, checked)
    between = f"between '{below}', which holds, and it" if below else "at or below it"
    return f"'{found.rung}' parts, in {finding.worst}{size}{note}. The cause lies {between}. Likely: {causes}."


def _seen_below(found: RungFound, checked: Checked) -> str | None:
    """The next rung below that was seen and holds; None if there is none."""
    below = checked.rungs[: checked.rungs.index(found)]
    return next((other.rung for other in reversed(below) if other.state == "holds"), None)


def draw(checked: Checked, path: Path) -> None:
    """Each rung's error by its bound, on a logarithmic scale: from the pack, and by itself."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    names = [found.rung for found in checked.rungs]
    for label, marker, of in (("from the pack", "o", "from_pack"), ("by itself", "s", "by_itself")):
        findings: list[Finding | None] = [getattr(found, of) for found in checked.rungs]
        shares = [f.share if f and f.error and f.share < float("inf") else float("nan") for f in findings]
        axes.plot(names, shares, marker=marker, label=label, linewidth=1)
    axes.axhline(1, color="red", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylabel("largest difference by its bound")
    axes.tick_params(axis="x", labelrotation=45)
    for tick in axes.get_xticklabels():
        tick.set_horizontalalignment("right")
    axes.set_title("A rung fails above the red line; zero differences are not drawn")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
