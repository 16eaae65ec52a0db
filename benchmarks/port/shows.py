"""Tells which known mistakes a pack shows: the reference makes each, and the ladder says where it is seen."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.parity.ladder import compare_by, with_gradient
from benchmarks.parity.rungs import RUNGS
from benchmarks.port.alike import Made, advice
from benchmarks.port.answers import Answers
from benchmarks.port.pack import DEFAULT
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
        found = shown_by(pack, answers, reference, Path(scratch))
        advised = list(advice(found, answers, _moving(answers), pack.contents.about == DEFAULT))
    rows, hidden = [], []
    for name, one in found.items():
        first = next((finding.rung for finding in one.findings.values() if not finding.holds), "–")
        most = f"{_times(one.most)}×"
        rows.append({"id": name, "first seen at": first, "most": most, "in words": HYPOTHESIS[name].says_shown()})
        if one.most <= CLEAR:
            hidden.append(f"{name} ({_times(one.most)} of a bound at most)")
    note = f"this pack cannot show: {'; '.join(hidden)}" if hidden else f"this pack shows all {len(found)}"
    return Page(
        [
            Table(pd.DataFrame(rows), "Known mistakes on this pack", names=1),
            Notes(["most: the largest error of all rungs, ×: by its bound", note, *advised]),
        ]
    )


def shown_by(pack: Pack, answers: Answers, reference: Reference, scratch: Path) -> dict[str, Made]:
    """A recording, in the folder, with each known mistake that the reference can make, by id. Raises ProcessFailed."""
    question = RecordChanged(pack=str(pack.folder.absolute()), out=str(scratch), threads=reference.threads)
    made, moving = reference.ask(question, Done).made, _moving(answers)
    return {name: _made(Values(scratch / name, pack), answers, moving) for name in made}


def _moving(answers: Answers) -> frozenset[str]:
    gradients = answers.exact.of_rung("gradients")
    assert gradients is not None
    return with_gradient(gradients)


def _times(share: float) -> str:
    return f"{share:.1e}" if share < 0.1 else short(share)


def _made(mine: Values, answers: Answers, moving: frozenset[str]) -> Made:
    found = {}
    for rung in RUNGS:
        right, changed = answers.exact.of_rung(rung.name), mine.of_rung(rung.name)
        if right and changed:
            found[rung.name] = compare_by(rung, right, answers.noises.from_pack[rung.name], changed, moving)
    return Made(mine, found)
