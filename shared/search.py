"""Searches the known mistakes that explain what a port computed: each alone, then pairs, then the best extended.

An explanation brings every array within its bound. Arrays come in groups that do not depend on one another (layers,
runs); a mistake may be made in some groups only, for example in one layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol

from msgspec import Struct

from shared.fitting import rounded
from shared.hypotheses import CLEAR, HYPOTHESIS, Hypothesis

BEST = 5
"""Partial explanations that are extended by one more mistake."""

LEAST = 0.1
"""Shares of a bound below this are alike."""


class Term(Struct, frozen=True, forbid_unknown_fields=True):
    """One known mistake, with its numbers if it has any."""

    id: str
    numbers: tuple[float, ...] = ()

    @property
    def hypothesis(self) -> Hypothesis:
        """The row of the table."""
        return HYPOTHESIS[self.id]

    @property
    def number(self) -> float:
        """The one number; 0 if there is none."""
        return self.numbers[0] if self.numbers else 0.0

    def says(self) -> str:
        """The mistake in plain words."""
        if len(self.numbers) > 1:
            return f"{self.hypothesis.words} {', '.join(f'{number:.3g}' for number in self.numbers)}"
        return self.hypothesis.says(self.numbers[0] if self.numbers else None)


Terms = tuple[Term, ...]
Shares = dict[str, dict[str, float]]
"""The largest error of each array as a share of its bound, by group and array."""


@dataclass(frozen=True)
class Trial:
    """The outcome of computing with some mistakes."""

    shares: Shares
    moved: dict[str, float]
    """The largest change that the mistakes make, in bounds, by group."""

    def group(self, name: str) -> float:
        """The largest share of a group."""
        return max(self.shares[name].values(), default=0.0)

    @property
    def share(self) -> float:
        """The largest share."""
        return max((self.group(name) for name in self.shares), default=0.0)


class Tries(Protocol):
    """Computes with mistakes."""

    def trial(self, terms: Terms) -> Trial | None:
        """The outcome; None if the mistakes cannot be made here."""

    def numbers(self, others: Terms, hypothesis: Hypothesis, thorough: bool) -> Iterable[tuple[float, ...]]:
        """Numbers of the hypothesis that fit best, beside the others; `thorough` searches beyond known values."""

    def holds(self, terms: Terms, groups: dict[str, list[str]]) -> bool:
        """Whether what explains the entries that were looked at explains all. `groups` has the groups of mistakes that
        are made in some alone."""


class Explanation(Struct, frozen=True, forbid_unknown_fields=True):
    """Mistakes that bring every array within its bound."""

    terms: Terms
    share: float
    """The largest share that is left."""
    groups: dict[str, list[str]] = {}
    """Groups in which each mistake is made; without those that are made in all."""


@dataclass
class Found:
    """The result of a search."""

    explanations: list[Explanation] = field(default_factory=list)
    """Those of the fewest mistakes, the nearest first; empty if nothing explains."""
    tried: int = 0
    """Combinations that were computed."""
    best: Terms = ()
    """Nearest mistakes if nothing explains."""
    best_share: float = math.inf


class Search:
    """A search among candidates. Each combination is computed once."""

    def __init__(self, tries: Tries, candidates: Iterable[Hypothesis], base: Trial) -> None:
        self.tries, self.candidates, self.base = tries, list(candidates), base
        self.known: dict[Terms, Trial | None] = {(): base}

    def run(self, deep: bool = True) -> Found:
        """Searches until something explains; single mistakes alone unless `deep`."""
        singles = list(self._singles())
        explained = self._all(singles)
        if explained or not deep:
            return self._found(explained)
        parts = [term for (term,) in singles]
        pairs = [pair for pair in combinations(parts, 2) if _together(pair) and self.trial(pair)]
        explained = self._all(pairs)
        if explained:
            return self._found(explained)
        best = sorted([*singles, *pairs], key=self.left)[:BEST]
        more = [extended for terms in best for extended in self._extended(terms)]
        return self._found(self._all(more), sorted([*best, *more], key=self.left))

    def trial(self, terms: Terms) -> Trial | None:
        """The outcome of these mistakes, computed once."""
        terms = tuple(sorted(terms, key=lambda term: term.id))
        if terms not in self.known:
            self.known[terms] = self.tries.trial(terms)
        return self.known[terms]

    def left(self, terms: Terms) -> float:
        """How much the mistakes leave unexplained: the mean logarithm of the shares above 1."""
        chosen = self._chosen(terms)
        shares = [share for group, (_, trial) in chosen.items() for share in trial.shares[group].values()]
        return sum(math.log(max(min(share, 1e300), 1.0)) for share in shares) / max(1, len(shares))

    def _singles(self) -> Iterator[Terms]:
        """Each candidate alone, if it shows here."""
        for hypothesis in self.candidates:
            for terms in self._with((), hypothesis, thorough=True):
                trial = self.trial(terms)
                if trial is not None and max(trial.moved.values(), default=0.0) > CLEAR:
                    yield terms

    def _with(self, others: Terms, hypothesis: Hypothesis, thorough: bool) -> Iterator[Terms]:
        if hypothesis.number is None and hypothesis.id != "loss-weighted":
            yield (*others, Term(hypothesis.id))
            return
        numbers = dict.fromkeys(self.tries.numbers(others, hypothesis, thorough))
        yield from ((*others, Term(hypothesis.id, tuple(number))) for number in numbers)

    def _extended(self, terms: Terms) -> Iterator[Terms]:
        """The mistakes with one more, whose number is fitted beside them, and their own numbers beside it."""
        for hypothesis in self.candidates:
            if not _together((*terms, Term(hypothesis.id))):
                continue
            for extended in self._with(terms, hypothesis, thorough=True):
                again = self._fitted_again(extended)
                if self.trial(again):
                    yield again

    def _fitted_again(self, terms: Terms) -> Terms:
        for term in terms[:-1]:
            if term.numbers:
                others = tuple(other for other in terms if other is not term)
                fitted = list(self.tries.numbers(others, term.hypothesis, True))
                if fitted:
                    terms = tuple(Term(term.id, fitted[-1]) if other is term else other for other in terms)
        return terms

    def _chosen(self, terms: Terms) -> dict[str, tuple[Terms, Trial]]:
        """Gives each group the mistakes that explain it best: all of them if they do, else the fewest that do."""
        subsets = [subset for size in range(len(terms) + 1) for subset in combinations(terms, size)]
        whole = self.trial(terms)
        chosen: dict[str, tuple[Terms, Trial]] = {}
        for group in self.base.shares:
            if whole is not None and whole.group(group) <= 1:
                chosen[group] = terms, whole
                continue
            tried = [(subset, trial) for subset in subsets if (trial := self.trial(subset)) is not None]
            chosen[group] = min(tried, key=lambda pair: max(pair[1].group(group), 1.0))
        return chosen

    def _all(self, combinations: Iterable[Terms]) -> list[Explanation]:
        """Those of the combinations that explain, the plainest alone."""
        found = _plain([self._needed(found) for terms in combinations if (found := self._explains(terms))])
        return [one for one in found if self.tries.holds(one.terms, one.groups)]

    def _explains(self, terms: Terms) -> Explanation | None:
        chosen = self._chosen(terms)
        share = max((trial.group(group) for group, (_, trial) in chosen.items()), default=0.0)
        if share > 1:
            return None
        groups = {
            term.id: [group for group, (subset, _) in chosen.items() if term in subset]
            for term in terms
            if any(term not in subset for subset, _ in chosen.values())
        }
        return None if any(not made for made in groups.values()) else Explanation(terms, share, groups)

    def _needed(self, found: Explanation) -> Explanation:
        """The explanation without mistakes that it does not need: the numbers of the others may have been fitted again
        since they were tried without it."""
        for term in found.terms if len(found.terms) > 1 else ():
            without = self._explains(tuple(other for other in found.terms if other is not term))
            if without is not None:
                return self._needed(without)
        return found

    def _found(self, explained: list[Explanation], best: list[Terms] | None = None) -> Found:
        explained = sorted(map(self._short, explained), key=lambda one: one.share)
        found = Found(explained, len(self.known) - 1)
        if not explained and best:
            found.best = best[0]
            found.best_share = max(trial.group(group) for group, (_, trial) in self._chosen(best[0]).items())
        return found

    def _short(self, found: Explanation) -> Explanation:
        """The explanation with its numbers rounded as far as it still explains."""
        for term in found.terms:
            for number in rounded(term.number) if len(term.numbers) == 1 else ():
                short = Term(term.id, (number,))
                again = self._explains(tuple(short if other is term else other for other in found.terms))
                if again is not None:
                    found = again
                    break
        return found


def _together(terms: Terms) -> bool:
    """Whether the mistakes can be made at once."""
    groups = [term.hypothesis.group or term.id for term in terms]
    return len(set(groups)) == len(groups)


def _plain(explained: list[Explanation]) -> list[Explanation]:
    """The explanations in all groups rather than in some, of the fewest mistakes, and without a fitted number if one of
    those explains. Of one set of ids, the nearest."""
    fewest = min((len(one.terms) for one in explained), default=0)
    kept = [one for one in explained if len(one.terms) == fewest]
    kept = [one for one in kept if not one.groups] or kept
    least = min((_fitted(one) for one in kept), default=0)
    nearest: dict[frozenset[str], Explanation] = {}
    for one in sorted(kept, key=lambda one: one.share):
        if _fitted(one) == least:
            nearest.setdefault(frozenset(term.id for term in one.terms), one)
    return list(nearest.values())


def _fitted(explanation: Explanation) -> int:
    return sum(bool(term.numbers) for term in explanation.terms)
