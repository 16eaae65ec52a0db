"""The search of known mistakes, on made-up outcomes: what is claimed, and what is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.hypotheses import HYPOTHESIS, Hypothesis
from shared.search import Found, Search, Term, Terms, Trial

GELU, MASK, SCALE, SWAPPED = "gelu-tanh", "mask-none", "scale-none", "queries-keys-swapped"


@dataclass
class Layers:
    """Two layers of a port, in which mistakes move each array by a number; a port is the sum of its mistakes."""

    moves: dict[str, float]
    made: dict[str, dict[str, float]] = field(default_factory=dict)
    """The port's mistakes and how often each is made, by layer."""

    def trial(self, terms: Terms) -> Trial | None:
        shares: dict[str, dict[str, float]] = {}
        for layer, mistakes in self.made.items():
            found = {}
            for name, move in self.moves.items():
                ours = sum(term.number or 1.0 for term in terms if term.id == name)
                found[name] = abs(move * (mistakes.get(name, 0.0) - ours))
            shares[layer] = found
        moved = max((abs(self.moves[term.id] * (term.number or 1.0)) for term in terms), default=0.0)
        return Trial(shares, dict.fromkeys(self.made, moved))

    def numbers(self, others: Terms, hypothesis: Hypothesis, thorough: bool) -> Iterable[tuple[float, ...]]:
        yield (next(made.get(hypothesis.id, 0.0) for made in self.made.values()) * 1.0001,)

    def holds(self, terms: Terms, groups: dict[str, list[str]]) -> bool:
        return True


def searched(moves: dict[str, float], **made: dict[str, float]) -> Found:
    tries = Layers(moves, made)
    base = tries.trial(())
    assert base is not None
    return Search(tries, [HYPOTHESIS[name] for name in moves], base).run()


def named(found: Found) -> list[set[str]]:
    return [{term.id for term in one.terms} for one in found.explanations]


def test_one_mistake_is_named_alone() -> None:
    found = searched({GELU: 50, MASK: 900, SCALE: 70}, first={MASK: 1}, second={MASK: 1})
    assert named(found) == [{MASK}]
    assert found.explanations[0].groups == {}


def test_two_mistakes_are_named_together() -> None:
    both = {MASK: 1.0, GELU: 1.0}
    assert named(searched({GELU: 50, MASK: 900, SCALE: 70}, first=both, second=both)) == [{MASK, GELU}]


def test_three_mistakes_are_found_from_the_best_two() -> None:
    every = {MASK: 1.0, GELU: 1.0, SCALE: 1.0}
    moves = {GELU: 50.0, MASK: 900.0, SCALE: 70.0, SWAPPED: 5000.0}
    assert named(searched(moves, first=every, second=every)) == [{MASK, GELU, SCALE}]


def test_a_mistake_of_one_layer_is_said_to_be_there() -> None:
    found = searched({GELU: 50, MASK: 900}, first={}, second={GELU: 1})
    assert named(found) == [{GELU}]
    assert found.explanations[0].groups == {GELU: ["second"]}


def test_what_moves_three_bounds_or_less_is_never_claimed() -> None:
    assert named(searched({GELU: 2.9, MASK: 900}, first={GELU: 1}, second={GELU: 1})) == []
    assert named(searched({GELU: 3.1, MASK: 900}, first={GELU: 1}, second={GELU: 1})) == [{GELU}]


def test_what_nothing_explains_is_said_to_be_so() -> None:
    found = searched({GELU: 50, MASK: 900}, first={GELU: 0.5}, second={GELU: 7})
    assert named(found) == []
    assert found.tried >= 2
    assert found.best_share > 1


def test_mistakes_of_one_kind_are_not_combined() -> None:
    both = {"gelu-tanh": 1.0, "gelu-relu": 1.0}
    assert named(searched({"gelu-tanh": 50, "gelu-relu": 900}, first=both, second=both)) == []


def test_a_fitted_number_is_rounded_as_far_as_it_explains() -> None:
    found = searched({"decay-other": 1000, MASK: 900}, first={"decay-other": 0.03}, second={"decay-other": 0.03})
    assert found.explanations[0].terms == (Term("decay-other", (0.03,)),)


def test_a_mistake_without_a_number_goes_before_a_fitted_one() -> None:
    class Alike(Layers):
        def trial(self, terms: Terms) -> Trial | None:
            explained = any(term.id in ("decay-none", "decay-other") for term in terms)
            shares = {"first": {"weight": 0.5 if explained else 40.0}}
            return Trial(shares, {"first": 40.0 if terms else 0.0})

    tries = Alike({}, {"first": {}})
    base = tries.trial(())
    assert base is not None
    found = Search(tries, [HYPOTHESIS[name] for name in ("decay-other", "decay-none")], base).run()
    assert named(found) == [{"decay-none"}]


def test_a_mistake_that_is_not_needed_is_not_claimed() -> None:
    class FittedBesideTwo(Layers):
        def trial(self, terms: Terms) -> Trial | None:
            explained = Term("decay-other", (0.03,)) in terms and Term(MASK) in terms
            left = 0.5 if explained else 40.0 - sum(term.id in ("decay-other", MASK) for term in terms)
            return Trial({"first": {"weight": left}}, {"first": 40.0 if terms else 0.0})

        def numbers(self, others: Terms, hypothesis: Hypothesis, thorough: bool) -> Iterable[tuple[float, ...]]:
            yield (0.03 if len(others) == 2 else 0.05,)

    tries = FittedBesideTwo({}, {"first": {}})
    base = tries.trial(())
    assert base is not None
    found = Search(tries, [HYPOTHESIS[name] for name in ("decay-other", MASK, SWAPPED)], base).run()
    assert named(found) == [{"decay-other", MASK}]
