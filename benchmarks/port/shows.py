"""Tells which known mistakes a pack shows: the reference makes each, and the ladder says where it is seen."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.parity.ladder import Finding, compare_by, with_gradient
from benchmarks.parity.rungs import RUNGS
from benchmarks.port.answers import Answers
from benchmarks.port.reference import Reference
from benchmarks.port.values import Values
from benchmarks.reporting.numbers import short
from benchmarks.reporting.page import Notes, Page, Table
from shared.hypotheses import CLEAR, HYPOTHESIS
from shared.pack import Pack
from shared.reference import Done, RecordChanged


def show_page(pack: Pack, reference: Reference) -> Page:
    """A table of the known mistakes, and those that this pack could not show. Raises ProcessFailed."""
    answers = Answers.to(pack, reference)
    with tempfile.TemporaryDirectory() as scratch:
        question = RecordChanged(pack=str(pack.folder.absolute()), out=scratch, threads=reference.threads)
        made = reference.ask(question, Done).made
        found = {name: _findings(Values(Path(scratch) / name, pack), answers) for name in made}
    rows, hidden = [], []
    for name, findings in found.items():
        first = next((finding for finding in findings if not finding.holds), None)
        most = max(findings, key=lambda finding: finding.share)
        rows.append(
            {
                "known mistake": HYPOTHESIS[name].says_shown(),
                "id": name,
                "first seen at": first.rung if first else "–",
                "× its bound": _times(first) if first else "–",
                "most": _times(most),
            }
        )
        if most.share <= CLEAR:
            hidden.append(f"{name} ({_times(most)} of a bound at most)")
    note = f"this pack cannot show: {'; '.join(hidden)}" if hidden else f"this pack shows all {len(found)}"
    return Page(
        [
            Table(pd.DataFrame(rows), "Known mistakes on this pack", names=2),
            Notes(["most: the largest of all rungs", note]),
        ]
    )


def _times(finding: Finding) -> str:
    return f"{finding.share:.1e}" if finding.share < 0.1 else short(finding.share)


def _findings(mine: Values, answers: Answers) -> list[Finding]:
    gradients = answers.exact.of_rung("gradients")
    assert gradients is not None
    moving, found = with_gradient(gradients), []
    for rung in RUNGS:
        right, changed = answers.exact.of_rung(rung.name), mine.of_rung(rung.name)
        if right and changed:
            found.append(compare_by(rung, right, answers.noises.from_pack[rung.name], changed, moving))
    return found
