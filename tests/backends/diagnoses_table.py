"""The table of known mistakes, and how often each was told, from the outcomes of tests.backends.diagnoses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.reporting.numbers import short
from shared.hypotheses import HYPOTHESES
from tests.backends.planting import FAILS, PLANTED, Outcome
from tests.told import LACKS, NOT_SHOWN
from tests.told_jax import JAX_LACKS
from tests.told_keras import KERAS_LACKS

START, END = "<!-- diagnoses -->", "<!-- end of diagnoses -->"
NAMES = {"torch": "torch", "keras": "Keras", "jax": "JAX"}
CANNOT = {"torch": LACKS, "keras": KERAS_LACKS, "jax": JAX_LACKS}

Shown = dict[str, tuple[str, float]]
"""The rung at which a pack shows a mistake most, and how many bounds it moves there, by id."""


def told(one: Outcome) -> bool:
    """Whether an outcome is as it should be, or tells nothing."""
    if one.left_out:
        return not one.left_out.startswith(FAILS)
    if one.kind == "sound" or _unseen(one):
        return not one.said
    return one.all_named and not one.others


def write_table(document: Path, outcomes: list[Outcome], shown: Shown) -> None:
    """Writes the table between the document's marks."""
    before, _, rest = document.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    lines = [START, "", *_totals(outcomes), "", *_rows(outcomes, shown), "", *_notes(), "", *_wrong(outcomes), "", END]
    document.write_text(before + "\n".join(lines) + after, encoding="utf-8")


def _totals(outcomes: list[Outcome]) -> Iterator[str]:
    yield "| planted | in | told | named | another claimed | not shown or left out |"
    yield "|---|---|---|---|---|---|"
    for kind in ("alone", "pairs", "triples", "sound", "elsewhere"):
        for port, name in NAMES.items():
            every = [one for one in outcomes if (one.kind, one.port) == (kind, port)]
            kept = [one for one in every if not one.left_out and not _unseen(one)]
            if every:
                named, others = (
                    sum(bool(one.planted) and one.all_named for one in kept),
                    sum(bool(one.others) for one in kept),
                )
                share = f"{named} ({named / max(1, len(kept)):.1%})" if kind != "sound" else "–"
                others = sum(bool(one.said) for one in kept) if kind == "sound" else others
                yield f"| {KINDS[kind]} | {name} | {len(kept)} | {share} | {others} | {len(every) - len(kept)} |"


KINDS = {
    "alone": "alone",
    "pairs": "two at once",
    "triples": "three at once",
    "sound": "nothing: sound variants",
    "elsewhere": "alone, on the other pack",
}


def _unseen(one: Outcome) -> bool:
    """Whether the default pack shows nothing of it."""
    return one.kind == "alone" and one.planted[0] in NOT_SHOWN


def _rows(outcomes: list[Outcome], shown: Shown) -> Iterator[str]:
    alone = {(one.port, one.planted[0]): one for one in outcomes if one.kind == "alone"}
    pairs = [one for one in outcomes if one.kind == "pairs" and not one.left_out]
    yield "| known mistake | id | rung | × its bound | torch | Keras | JAX | in pairs |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in HYPOTHESES:
        named = (_named(alone.get((port, row.id)), port, row.id) for port in NAMES)
        mine = [one for one in pairs if row.id in one.planted]
        both = f"{sum(row.id in one.named for one in mine)} of {len(mine)}" if mine else "–"
        most = short(shown[row.id][1]) if row.id in shown else "–"
        yield f"| {row.says_shown()} | `{row.id}` | {row.rung} | {most} | {' | '.join(named)} | {both} |"


def _named(one: Outcome | None, port: str, name: str) -> str:
    if name in CANNOT[port]:
        return f"–{NOTES.index(CANNOT[port][name]) + 1}"
    if one is None or one.left_out:
        return "not run"
    if name in NOT_SHOWN:
        return "claimed" if one.said else "not shown"
    return "named" if told(one) else "NOT NAMED"


NOTES = list(dict.fromkeys(reason for port in PLANTED for reason in CANNOT[port].values()))


def _notes() -> Iterator[str]:
    yield from (f"- –{number}: {reason}" for number, reason in enumerate(NOTES, 1))


def _wrong(outcomes: list[Outcome]) -> Iterator[str]:
    wrong = [one for one in outcomes if not told(one)]
    yield f"Told wrongly: {'none.' if not wrong else ''}".rstrip()
    if wrong:
        yield ""
    for one in wrong:
        planted = " and ".join(one.planted) or f"sound variant {one.variant}"
        said = one.left_out or "; ".join(one.said) or "nothing"
        yield f"- {NAMES[one.port]}, {planted}: {said}"
