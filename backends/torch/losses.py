"""Searches the mistakes with which the reference's losses, step by step, are a port's.

Each try is a training of the reference in float64 from the pack's weights. It ends at the first loss that lies beyond
its bound, so that most mistakes cost one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from backends.torch.classifier import SMALL, Classifier
from backends.torch.network_changes import NotHereError
from backends.torch.replaying import Replaying
from backends.torch.rounding import FLOAT64
from backends.torch.updates import Updates, split_apart
from shared.answer import Event, Tried
from shared.curve_fitting import fit_number, fit_weights
from shared.fitting import rounded
from shared.hypotheses import CLEAR, HYPOTHESES, Hypothesis
from shared.pack import Pack, PackRun
from shared.reference import Adopted, ExplainLosses, LossesExplained, Ranked
from shared.rules.clipping import CHANGES as CLIPPING
from shared.rules.gradients import Gradients, Kept
from shared.rules.optimizer import CHANGES as OPTIMIZER
from shared.rules.parameters import change_weights
from shared.search import Term, Terms

FORWARD = ("parameters", "network", "loss")
"""Kinds of mistakes that move the first loss."""
BEST = 12
"""Mistakes of which pairs are tried, if not all are."""
SHOWN = {True: 3, False: 8}
"""Mistakes beyond the bound that are told, if others explain the losses and if not."""

Going = Callable[[list[float]], bool]
"""Whether a training goes on after these losses."""


def explain_losses(question: ExplainLosses, on_event: Callable[[Event], None]) -> LossesExplained:
    """Ranks the known mistakes, each alone, then pairs of them if none alone explains the losses."""
    pack = Pack.read(Path(question.pack))
    network = Classifier.build(pack.folder, FLOAT64)
    courses = Courses(pack, Path(), network)
    network.find_places(pack.batch(pack.run("train").steps[0]))
    return Ranking(CurveTries(courses, question.losses, question.limits), on_event).run()


@dataclass
class Courses(Replaying):
    """Trainings of the reference with mistakes, from the pack's weights."""

    held: Kept = field(default_factory=lambda: Kept({}, {}))
    """Gradients of the step before."""
    known: dict[tuple[str, Terms], list[float]] = field(default_factory=dict)
    """Losses of whole runs, by run and mistakes."""

    def kept(self, run: PackRun, number: int, rule: Gradients) -> Kept:
        """Gradients of the step before."""
        return self.held

    def losses(self, run: PackRun, terms: Terms, goes_on: Going) -> list[float]:
        """Losses of a run with these mistakes, as far as `goes_on` lets it go. Raises NotHereError if the network
        cannot make them."""
        found = self.known.get((run.name, terms)) or self.train(run, terms, len(run.steps), goes_on)
        if len(found) == len(run.steps):
            self.known[run.name, terms] = found
        return found

    def train(self, run: PackRun, terms: Terms, steps: int, goes_on: Going) -> list[float]:
        """Trains so many steps, the last one's update made too if the run goes on. Returns the losses."""
        updates, found = Updates.of(run, terms), list[float]()
        self.held = Kept({}, {})
        self.network.load(self._weights(terms))
        for number in range(steps):
            _, loss, made = self.step(run, number, _adopted(terms), updates.apart)
            found.append(loss)
            if not goes_on(found) or number == len(run.steps) - 1:
                break
            gradients, apart = split_apart(made)
            _, clipped = updates.clip(gradients, apart)
            self.held = Kept(gradients, clipped)
            self.network.load(updates.step(self.network.weights(), clipped, apart))
        return found

    def _weights(self, terms: Terms) -> dict[str, np.ndarray]:
        return change_weights(self.pack.weights, (term.id for term in terms))

    def first(self, run: PackRun, terms: Terms, batch: int = 0) -> float:
        """The first loss, or that of another batch in its place. Raises NotHereError."""
        self.network.load(self._weights(terms))
        return self.loss(run, terms, batch)

    def loss(self, run: PackRun, terms: Terms, batch: int) -> float:
        """The loss of a batch by the weights that the network has. Raises NotHereError."""
        arrays = self.pack.batch(run.steps[batch])
        with torch.no_grad(), self.mistaken(_adopted(terms)) as rules:
            logits = self.network.forward(arrays).logits.numpy()
        return rules.loss(logits, arrays["labels"])[0]


def _adopted(terms: Terms) -> list[Adopted]:
    return [Adopted(term) for term in terms if term.id not in CLIPPING and term.id not in OPTIMIZER]


@dataclass
class CurveTries:
    """Tries mistakes on the losses of runs."""

    courses: Courses
    mine: dict[str, list[float]]
    limits: dict[str, list[float]]
    usual: dict[str, list[float]] = field(default_factory=dict)
    """The losses without a mistake, by run."""
    firsts: dict[Terms, float] = field(default_factory=dict)
    """First losses by mistakes that move them."""
    tried: int = 0

    def __post_init__(self) -> None:
        self.usual = {run.name: self.courses.losses(run, (), lambda _: True) for run in self.runs}

    @property
    def runs(self) -> list[PackRun]:
        """Runs whose losses are known."""
        return [run for run in self.courses.pack.contents.runs if run.name in self.mine]

    @property
    def small(self) -> bool:
        """Whether a training is so short that numbers are searched and all pairs tried."""
        return sum(weight.size for weight in self.courses.pack.weights.values()) < SMALL

    @property
    def count(self) -> int:
        """Number of losses."""
        return sum(map(len, self.mine.values()))

    def outcome(self, terms: Terms, whole: bool = False) -> Outcome | None:
        """The losses with these mistakes, up to the first that is beyond its bound, unless they are wanted whole; None
        if they cannot be made."""
        self.tried += 1
        try:
            if not whole and self.first_share(terms) > 1:
                return self._outcome({self.runs[0].name: [self._first(terms)]})
            losses: dict[str, list[float]] = {}
            for run in self.runs:
                losses[run.name] = self.courses.losses(run, terms, self._going(run, whole))
                if not whole and not self._going(run, whole)(losses[run.name]):
                    break
            return self._outcome(losses)
        except NotHereError:
            return None

    def _going(self, run: PackRun, whole: bool) -> Going:
        return lambda losses: whole or self.share(run.name, len(losses) - 1, losses[-1]) <= 1

    def _outcome(self, losses: dict[str, list[float]]) -> Outcome:
        places = [(run, number, loss) for run, found in losses.items() for number, loss in enumerate(found)]
        return Outcome(
            [self.share(*place) for place in places],
            [abs(loss - self.usual[run][number]) / self._bound(run, number, loss) for run, number, loss in places],
        )

    def first_share(self, terms: Terms) -> float:
        """The difference of the first loss by its bound. Raises NotHereError."""
        return self.share(self.runs[0].name, 0, self._first(terms))

    def _first(self, terms: Terms) -> float:
        forward = tuple(term for term in terms if moves_first(term.hypothesis))
        if forward not in self.firsts:
            run = self.runs[0]
            swapped = next((int(term.numbers[0]) for term in terms if term.id == "batches-swapped"), 0)
            self.firsts[forward] = self.courses.first(run, forward, swapped)
        return self.firsts[forward]

    def share(self, run: str, number: int, loss: float) -> float:
        """A loss's difference from the port's, by its bound."""
        share = abs(self.mine[run][number] - loss) / self._bound(run, number, loss)
        return share if share == share else float("inf")

    def _bound(self, run: str, number: int, loss: float) -> float:
        """The bound, which grows with the loss if a mistake makes it larger."""
        return self.limits[run][number] * max(1.0, abs(loss) / max(abs(self.usual[run][number]), TINY))

    def numbers(self, others: Terms, hypothesis: Hypothesis, thorough: bool) -> Iterator[tuple[float, ...]]:
        """Numbers of the hypothesis to try beside the others; `thorough` fits them to the losses too."""
        name, number = hypothesis.id, hypothesis.number
        if name == "batches-swapped":
            order = self.order(others)
            yield from [order] if list(order) != sorted(order) else []
        elif name == "loss-weighted":
            if thorough and self.small:
                yield fit_weights(self._residuals(others, name), self.courses.pack.run("train").settings.num_labels)
        elif number is None:
            yield ()
        else:
            yield from ((known,) for known in number.known or (number.shown,))
            told = moves_first(hypothesis) or self.first_share(others) <= 1
            if thorough and self.small and told:
                residuals = self._residuals(others, name)
                yield from ((x,) for x in fit_number(number, lambda x: residuals((x,))))

    def _residuals(self, others: Terms, name: str) -> Callable[[tuple[float, ...]], np.ndarray]:
        """Differences of all losses by their bounds, as a function of a hypothesis' numbers."""

        def residuals(numbers: tuple[float, ...]) -> np.ndarray:
            found = []
            for run in self.runs:
                losses = self.courses.losses(run, (*others, Term(name, numbers)), lambda _: True)
                parts = zip(losses, self.mine[run.name], self.limits[run.name], strict=True)
                found += [(ours - mine) / bound for ours, mine, bound in parts]
            return np.nan_to_num(np.asarray(found), nan=1e9, posinf=1e9, neginf=-1e9).clip(-1e9, 1e9)

        return residuals

    def order(self, others: Terms) -> tuple[float, ...]:
        """The order of batches in which each step's loss is nearest to the port's."""
        run, order = self.runs[0], list[int]()

        def nearest() -> int:
            left = [number for number in range(len(run.steps)) if number not in order]
            losses = {number: self.courses.loss(run, others, number) for number in left}
            return min(left, key=lambda number: self.share(run.name, len(order), losses[number]))

        self.courses.first(run, others)
        order.append(nearest())
        while len(order) < len(run.steps):
            so_far = (*order, *(number for number in range(len(run.steps)) if number not in order))
            swapped = Term("batches-swapped", tuple(map(float, so_far)))
            self.courses.train(run, (*others, swapped), len(order), lambda _: True)
            order.append(nearest())
        return tuple(map(float, order))


TINY = 1e-300


@dataclass(frozen=True)
class Outcome:
    """Losses with mistakes, in the order in which they were computed."""

    shares: list[float]
    """Differences from the port's, by their bounds."""
    moved: list[float]
    """Differences from the losses without a mistake, by the same."""

    @property
    def explained(self) -> int:
        """Losses within their bounds, from the first on."""
        return next((number for number, share in enumerate(self.shares) if share > 1), len(self.shares))

    def ranked(self, terms: Terms) -> Ranked:
        """The mistakes with this outcome."""
        fitted = sum(len(term.numbers) for term in terms if term.id != "batches-swapped")
        moved = sum(share > CLEAR for share in self.moved)
        return Ranked(terms, min(max(self.shares), 1e300), self.explained, moved > fitted)


def moves_first(hypothesis: Hypothesis) -> bool:
    """Whether the mistake moves the first loss, which no update comes before."""
    return hypothesis.kind in FORWARD or hypothesis.id == "batches-swapped"


@dataclass
class Ranking:
    """Mistakes in the order in which they explain the losses."""

    tries: CurveTries
    on_event: Callable[[Event], None]
    within: list[Ranked] = field(default_factory=list)
    beyond: list[Ranked] = field(default_factory=list)

    def run(self) -> LossesExplained:
        """Tries each mistake alone, then pairs if none alone explains the losses."""
        unmoved = self._alone()
        if not self.within:
            self._pairs()
        self.within.sort(key=_plainness)
        self.beyond.sort(key=_distance)
        shown = SHOWN[bool(self.within)]
        return LossesExplained(_each(self.within), _each(self.beyond)[:shown], unmoved, self.tries.tried)

    def _alone(self) -> list[str]:
        """Ranks each mistake alone, and returns those that move nothing."""
        unmoved = []
        candidates = [one for one in HYPOTHESES if one.kind != "random"]
        for number, hypothesis in enumerate(candidates, 1):
            self.on_event(Tried(number, len(candidates), hypothesis.id))
            found = [self._take((), hypothesis, numbers) for numbers in self.tries.numbers((), hypothesis, True)]
            if found and all(moved is False for moved in found):
                unmoved.append(hypothesis.id)
        return unmoved

    def _take(self, others: Terms, hypothesis: Hypothesis, numbers: tuple[float, ...]) -> bool | None:
        """Ranks the mistake beside others. Whether they move a loss clearly; None if that is not known."""
        terms = (*others, Term(hypothesis.id, numbers))
        outcome = self.tries.outcome(terms, whole=self.tries.small and not others)
        if outcome is None:
            return None
        ranked = outcome.ranked(terms)
        if max(outcome.moved) <= CLEAR:
            return False if len(outcome.moved) == self.tries.count else None
        if ranked.explained == self.tries.count:
            self.within.append(self._short(ranked))
        else:
            self.beyond.append(ranked)
        return True

    def _short(self, found: Ranked) -> Ranked:
        """The same with its last number rounded as far as the losses stay within their bounds."""
        *others, last = found.terms
        for number in rounded(last.number) if len(last.numbers) == 1 else ():
            terms = (*others, Term(last.id, (number,)))
            outcome = self.tries.outcome(terms)
            if outcome is not None and outcome.explained == self.tries.count:
                return outcome.ranked(terms)
        return found

    def _pairs(self) -> None:
        """Ranks pairs: of those that move the first loss all, or the best of a large network; of the others the best,
        and all beside one that explains the first loss."""
        alone = _each(sorted(self.beyond, key=_distance))
        first = [one.terms for one in alone if moves_first(one.terms[0].hypothesis)]
        later = [one.terms for one in alone if not moves_first(one.terms[0].hypothesis)]
        pairs = list(combinations(first if self.tries.small else first[:BEST], 2))
        if self.tries.first_share(()) <= 1:
            pairs += combinations(later[:BEST], 2)
        starts = {one.terms for one in alone if one.explained}
        pairs += [(one, other) for one in first if one in starts for other in later]
        for number, (one, other) in enumerate(pairs, 1):
            if number % 50 == 1:
                self.on_event(Tried(number, len(pairs), "pairs"))
            hypotheses = one[0].hypothesis, other[0].hypothesis
            if hypotheses[0].group and hypotheses[0].group == hypotheses[1].group:
                continue
            for numbers in self.tries.numbers(one, hypotheses[1], thorough=one in starts and other in later):
                self._take(one, hypotheses[1], numbers)


def _plainness(found: Ranked) -> tuple[bool, int, int, float]:
    """The confirmed first, of the fewest mistakes, the fewest fitted numbers, the nearest."""
    return not found.confirmed, len(found.terms), sum(bool(term.numbers) for term in found.terms), found.share


def _distance(found: Ranked) -> tuple[int, float]:
    return -found.explained, found.share


def _each(found: list[Ranked]) -> list[Ranked]:
    """The first of each set of ids."""
    kept: dict[frozenset[str], Ranked] = {}
    for one in found:
        kept.setdefault(frozenset(one.ids), one)
    return list(kept.values())
