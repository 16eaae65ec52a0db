"""Known mistakes that a pack does not tell apart, and what does: another part to record, or another pack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from benchmarks.parity.ladder import Finding, compare_by
from benchmarks.parity.rungs import RUNG
from benchmarks.port.answers import Answers
from benchmarks.port.values import HIDDEN, Values
from shared.hypotheses import CLEAR

PARTS = dict.fromkeys(HIDDEN, "hidden") | {
    "losses": "loss",
    "first step": "parameters",
    "last step": "parameters",
    "dev": "logits",
}
"""The part that a rung compares, if it has another name."""

NONE = "no mistake"

OTHER_PACK = {
    "clip-always": "a clip above the gradients' norm (--clip)",
    "amsgrad": "more steps (--task, --model and --steps)",
}
"""Packs that show what the default pack cannot."""


@dataclass(frozen=True)
class Made:
    """A recording with one known mistake."""

    values: Values
    findings: dict[str, Finding]
    """The comparison with the truth, by rung."""

    @property
    def most(self) -> float:
        """The largest share of a bound."""
        return max(finding.share for finding in self.findings.values())


def part_of(rung: str) -> str:
    """The part of a recording that a rung compares."""
    name = rung.removesuffix(", steep")
    return PARTS.get(name, name)


def advice(made: dict[str, Made], answers: Answers, moving: frozenset[str], default: bool) -> Iterator[str]:
    """Lines about mistakes that are alike: what else to record, or which other pack tells them apart. `default` says
    that this is the default pack."""
    hidden = [name for name, one in made.items() if one.most <= CLEAR]
    seen = {name: one for name, one in made.items() if name not in hidden}
    told: dict[frozenset[str], list[str]] = {}
    for name, one in seen.items():
        parts = frozenset(part_of(rung) for rung, finding in one.findings.items() if finding.share > CLEAR)
        told.setdefault(parts, []).append(f"{name} from {NONE}")
    same = []
    for (name, one), (other, two) in combinations(seen.items(), 2):
        apart = _apart(one, two, answers, moving)
        if apart is not None:
            told.setdefault(apart, []).append(f"{name} from {other}")
            same += [] if apart else [(name, other)]
    for parts, pairs in told.items():
        if len(parts) == 1:
            yield f"record `{next(iter(parts))}`, which alone tells {', '.join(pairs)}"
    for group in _groups(same):
        yield f"the same on this pack: {', '.join(group)}; {_other_pack(group, default)}"
    for name in hidden:
        yield f"{name} is the same as {NONE} on this pack; {_other_pack([name], default)}"


def _apart(one: Made, other: Made, answers: Answers, moving: frozenset[str]) -> frozenset[str] | None:
    """Parts in which two recordings differ by more than a bound; None if they differ in several for certain."""
    if one.findings.keys() != other.findings.keys():
        return None
    # Errors that differ by more than a bound are of arrays that do.
    sure = {part_of(rung) for rung, found in one.findings.items() if abs(found.share - other.findings[rung].share) > 1}
    if len(sure) > 1:
        return None
    parts = set()
    for rung in one.findings:
        ours, theirs = one.values.of_rung(rung), other.values.of_rung(rung)
        assert ours is not None
        assert theirs is not None
        if not compare_by(RUNG[rung], ours, answers.noises.from_pack[rung], theirs, moving).holds:
            parts.add(part_of(rung))
    return frozenset(parts)


def _groups(pairs: list[tuple[str, str]]) -> list[list[str]]:
    """Classes of mistakes that are the same by pairs."""
    groups: list[list[str]] = []
    for pair in pairs:
        group = next((group for group in groups if set(group) & set(pair)), None)
        if group is None:
            groups.append(list(pair))
        else:
            group += [name for name in pair if name not in group]
    return groups


def _other_pack(names: list[str], default: bool) -> str:
    known = [OTHER_PACK[name] for name in names if name in OTHER_PACK]
    if known:
        return f"to tell, make a pack with {known[0]}"
    return "no pack of this project tells them" if default else "the default pack tells"
