"""Searches the mistakes of the network that explain a port: each is made on the reference, on the port's own values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from msgspec import structs

from backends.torch.classifier import Classifier
from backends.torch.network_changes import CHANGES as NETWORK
from backends.torch.network_changes import NotHereError
from backends.torch.replaying import Replaying
from backends.torch.rounding import FLOAT64
from shared.fitting import fit_linear, search
from shared.hypotheses import HYPOTHESES, Hypothesis
from shared.pack import VALUE, Arrays, Pack, PackRun
from shared.reference import Adopted, Explain, Explained, Limit, Reason
from shared.rules.gradients import Gradients
from shared.rules.loss import CHANGES as LOSS
from shared.search import Explanation, Found, Search, Term, Terms, Trial
from shared.sketches import sketches_of, unsketched

FORWARD = ("embeddings", "layers", "pooled", "logits")
STEPS = 3
"""Training steps whose gradients are tried."""

Limits = dict[str, Limit]


def explain(question: Explain) -> Explained:
    """Searches from the ground up; what explains a rung is there at the higher ones. Leaves the recording, replayed
    with all that was found."""
    asked = question.replay
    pack = Pack.read(Path(asked.pack))
    network = Classifier.build(pack.folder, FLOAT64)
    replaying = Replaying(pack, Path(asked.recording), network, list(asked.adopted))
    reasons: list[Reason] = []
    tries = ForwardTries(replaying)
    for rung in FORWARD:
        if rung in question.limits and tries.ready():
            reason = _forward(tries, rung, question.limits[rung], question.deep)
            reasons += [] if reason is None else [reason]
    explained = all(reason.explanations for reason in reasons)
    for rung, of in (("losses", _batches), ("gradients", _gradients)):
        if explained and rung in question.limits:
            found = of(replaying, question.limits[rung], question.loss)
            if found is not None:
                reasons.append(found)
    replaying.loaded = None
    replaying.write(Path(asked.out), asked.apart)
    return Explained(reasons, replaying.adopted)


def _forward(tries: ForwardTries, rung: str, limits: Limits, deep: bool) -> Reason | None:
    """Finds what explains a rung; None if it follows from the port's own parameters."""
    of_rung = RungTries(tries, limits, [one.term for one in tries.replaying.adopted])
    base = of_rung.trial(())
    assert base is not None
    if base.share <= 1:
        return None
    candidates = [hypothesis for hypothesis in HYPOTHESES if hypothesis.id in NETWORK and hypothesis.kind == "network"]
    found = Search(of_rung, candidates, base).run(deep)
    known = {one.term.id for one in tries.replaying.adopted}
    found.explanations.sort(key=lambda one: not {term.id for term in one.terms} <= known)
    if found.explanations:
        for term in found.explanations[0].terms:
            _adopt(tries.replaying.adopted, term, found.explanations[0].groups.get(term.id) or _places(tries, rung))
        tries.outcomes.clear()
    return Reason(
        rung=rung,
        explanations=found.explanations,
        tried=found.tried,
        best=list(found.best),
        best_share=min(found.best_share, 1e300),
    )


def _places(tries: ForwardTries, rung: str) -> list[str]:
    if rung == "layers":
        return [name for name in tries.replaying.network.places if name.startswith("layers/")]
    return ["embeddings"] if rung == "embeddings" else ["head"]


def _adopt(adopted: list[Adopted], term: Term, places: list[str]) -> None:
    places = ["head" if place in ("pooled", VALUE) else place for place in places]
    for n, one in enumerate(adopted):
        if one.term == term and one.places is not None:
            adopted[n] = Adopted(term, [*one.places, *(place for place in places if place not in one.places)])
            return
    adopted.append(Adopted(term, places))


@dataclass
class ForwardTries:
    """The forward pass of run `eval`, each state from the port's below it, with mistakes."""

    replaying: Replaying
    outcomes: dict[Terms, Arrays | None] = field(default_factory=dict)

    @property
    def run(self) -> PackRun:
        """The run."""
        return self.replaying.pack.run("eval")

    def ready(self) -> bool:
        """Whether the port's states are known, and its parameters loaded."""
        return self.replaying.load(self.run, 0)

    @cached_property
    def own(self) -> Arrays:
        """The port's states."""
        return self.replaying.part(self.run, "1", "hidden") or {}

    @cached_property
    def mine(self) -> Arrays:
        """The port's states and logits, of real tokens."""
        logits = self.replaying.part(self.run, "1", "logits") or {}
        return self.valid({**self.own, **({VALUE: logits[VALUE]} if logits else {})})

    def valid(self, states: Arrays) -> Arrays:
        """States of real tokens alone, [n, width], float64."""
        mask = self.replaying.pack.batch(self.run.steps[0])["attention_mask"] == 1
        return {name: (s[mask] if s.ndim == 3 else s).astype(np.float64) for name, s in states.items()}

    def outcome(self, terms: Terms) -> Arrays | None:
        """States and logits with these mistakes everywhere; None if the network cannot make them."""
        if terms not in self.outcomes:
            adopted = [*self.replaying.adopted, *(Adopted(term) for term in terms)]
            try:
                with torch.no_grad(), self.replaying.mistaken(adopted):
                    forward = self.replaying.network.forward(self.replaying.pack.batch(self.run.steps[0]), self.own)
            except NotHereError:
                self.outcomes[terms] = None
            else:
                states = {**forward.hidden, VALUE: forward.logits}
                self.outcomes[terms] = self.valid({name: state.numpy() for name, state in states.items()})
        return self.outcomes[terms]


@dataclass
class RungTries:
    """The same, of the arrays of one rung. Each array is a group."""

    tries: ForwardTries
    limits: Limits
    known: list[Term]
    """Mistakes that are there at lower rungs."""

    def trial(self, terms: Terms) -> Trial | None:
        """The outcome at the rung."""
        usual, ours = self.tries.outcome(()), self.tries.outcome(terms)
        if usual is None or ours is None:
            return None
        mine = self.tries.mine
        shares: dict[str, dict[str, float]] = {}
        moved: dict[str, float] = {}
        for name, limit in self.limits.items():
            size, grown = largest(ours[name]), max(1.0, largest(ours[name]) / max(largest(usual[name]), 1e-300))
            bound = limit.bound(size) * grown
            shares[name] = {name: largest(mine[name] - ours[name]) / bound}
            moved[name] = largest(ours[name] - usual[name]) / bound
        return Trial(shares, moved)

    def numbers(self, others: Terms, hypothesis: Hypothesis, thorough: bool) -> Iterable[tuple[float, ...]]:
        """Numbers that were found at lower rungs, then those fitted on every other array, so that the others confirm
        them; on the only one's entries if it is alone."""
        yield from (term.numbers for term in self.known if term.id == hypothesis.id)

        def misfit(x: float) -> float:
            trial = self.trial((*others, Term(hypothesis.id, (x,))))
            if trial is None:
                return float("inf")
            shares = [trial.group(name) for name in list(trial.shares)[::2]]
            return float(np.mean(np.log(np.asarray(shares) + 0.01)))

        if self.trial((*others, Term(hypothesis.id, (1e-5,)))) is not None:
            yield from ((x,) for x in search(hypothesis, misfit, thorough))

    def holds(self, terms: Terms, groups: dict[str, list[str]]) -> bool:
        """Always: all entries were looked at."""
        return True


def _batches(replaying: Replaying, limits: Limits, loss: list[Term]) -> Reason | None:
    """The order of batches that gives the port's losses from its parameters; None if their own order does as well."""
    adopted = [*replaying.adopted, *(Adopted(term, ["loss"]) for term in loss)]
    run = replaying.pack.run("train")
    order, tried = list(range(len(run.steps))), 0
    for number, step in enumerate(run.steps):
        mine = replaying.part(run, step.name, "loss")
        if mine is None or step.name not in limits or not replaying.load(run, number):
            return None
        errors = []
        for other in range(len(run.steps)):
            swapped = [*adopted, Adopted(Term("batches-swapped", tuple(float(other) for _ in run.steps)))]
            with torch.no_grad(), replaying.mistaken(adopted) as rules:
                batch = replaying.batch(run, number, swapped)
                logits = replaying.network.forward(batch).logits.numpy()
            errors.append(
                abs(float(mine[VALUE]) - rules.loss(logits, batch["labels"])[0]) / limits[step.name].bound(1.0)
            )
            tried += 1
        if min(errors) > 1:
            return None
        order[number] = number if errors[number] <= 1 else int(np.argmin(errors))
    if order == sorted(order) or sorted(order) != list(range(len(run.steps))):
        return None
    term = Term("batches-swapped", tuple(float(number) for number in order))
    replaying.adopted.append(Adopted(term))
    return Reason(rung="losses", explanations=[Explanation((term,), 0.0)], tried=tried)


def _gradients(replaying: Replaying, limits: Limits, loss: list[Term]) -> Reason | None:
    """Finds what explains the gradients: the loss's mistake as well, if it does; None if they need no explanation."""
    tries = GradientTries(replaying, limits)
    base = tries.trial(())
    if base is None:
        return None
    of_loss = tuple(loss)
    if base.share <= 1:
        _adopt_loss(replaying, loss, ["loss"])
        return None
    again = tries.trial(of_loss) if of_loss else None
    if again is not None and again.share <= 1:
        _adopt_loss(replaying, loss, ["loss", "gradients"])
        return Reason(rung="gradients", explanations=[Explanation(of_loss, again.share)], tried=1)
    found = Found() if again is None else _beside(tries, of_loss, again)
    if not found.explanations:
        kinds = ("gradients", "loss")
        candidates = [one for one in HYPOTHESES if one.kind in kinds and one.id != "loss-weighted"]
        found = Search(tries, candidates, base).run()
    _adopt_loss(replaying, loss, ["loss"])
    if found.explanations:
        for term in found.explanations[0].terms:
            replaying.adopted.append(Adopted(term, ["gradients"] if term.id in LOSS else None))
    return Reason(
        rung="gradients",
        explanations=found.explanations,
        tried=found.tried,
        best=list(found.best),
        best_share=min(found.best_share, 1e300),
    )


def _beside(tries: GradientTries, loss: Terms, base: Trial) -> Found:
    """Finds what explains the gradients beside the loss's mistake."""
    candidates = [one for one in HYPOTHESES if one.kind == "gradients"]
    found = Search(Beside(tries, loss), candidates, base).run()
    found.explanations = [structs.replace(one, terms=(*loss, *one.terms)) for one in found.explanations]
    return found


@dataclass
class Beside:
    """Tries beside mistakes that are there in any case."""

    tries: GradientTries
    given: Terms

    def trial(self, terms: Terms) -> Trial | None:
        """The outcome."""
        return self.tries.trial((*self.given, *terms))

    def numbers(self, others: Terms, hypothesis: Hypothesis, thorough: bool) -> Iterable[tuple[float, ...]]:
        """Numbers fitted beside both."""
        return self.tries.numbers((*self.given, *others), hypothesis, thorough)

    def holds(self, terms: Terms, groups: dict[str, list[str]]) -> bool:
        """Whether it holds for all."""
        return self.tries.holds((*self.given, *terms), groups)


def _adopt_loss(replaying: Replaying, loss: list[Term], places: list[str]) -> None:
    replaying.adopted.extend(Adopted(term, places) for term in loss)


@dataclass
class GradientTries:
    """Gradients of the first training steps, from the port's parameters, with mistakes."""

    replaying: Replaying
    limits: Limits
    right: dict[tuple[Terms, int], Arrays] = field(default_factory=dict)
    """Gradients before anything is made of them, by mistakes of the network and the loss, and by step."""

    @property
    def run(self) -> PackRun:
        """The run."""
        return self.replaying.pack.run("train")

    def trial(self, terms: Terms) -> Trial | None:
        """The outcome; None if nothing was recorded, or if the network cannot make the mistakes."""
        shares: dict[str, float] = {}
        moved = 0.0
        try:
            for step, mine, ours, usual in self._steps(terms):
                norm = float(np.sqrt(sum(np.square(array).sum() for array in ours.values())))
                for name in mine.keys() & self.limits.keys() & ours.keys():
                    limit, part = self.limits[name], tuple(slice(size) for size in mine[name].shape)
                    grown = max(1.0, largest(ours[name]) / max(largest(usual[name]), 1e-300))
                    bound = limit.bound(largest(ours[name]), norm)
                    bound = max(bound, limit.least * min(grown, 1e6))
                    shares[f"{step}/{name}"] = largest(mine[name] - ours[name][part]) / bound
                    moved = max(moved, largest(ours[name] - usual[name]) / bound)
        except NotHereError:
            return None
        return Trial({"gradients": shares}, {"gradients": moved}) if shares else None

    def numbers(self, others: Terms, hypothesis: Hypothesis, thorough: bool) -> Iterable[tuple[float, ...]]:
        """Numbers fitted on the arrays of even place, so that the others and the next steps confirm them."""
        assert hypothesis.number is not None
        ends = [list(self._steps((*others, Term(hypothesis.id, (x,))))) for x in (0.0, 1.0)]
        found: list[list[np.ndarray]] = []
        for (_, mine, zero, _), (_, _, one, _) in zip(*ends, strict=True):
            for place, name in enumerate(sorted(mine.keys() & self.limits.keys() & zero.keys())):
                if (place % 2 == 0 or "word_embeddings" in name) and mine[name].shape == zero[name].shape:
                    bound = self.limits[name].bound(largest(mine[name]))
                    arrays = (zero[name], one[name], mine[name], np.full(mine[name].shape, bound))
                    found.append([array.ravel() for array in arrays])
        fitted = fit_linear(*map(np.concatenate, zip(*found, strict=True))) if found else None
        if fitted is not None and hypothesis.number.low <= fitted <= hypothesis.number.high:
            yield (fitted,)

    def holds(self, terms: Terms, groups: dict[str, list[str]]) -> bool:
        """Always: the replay shows the other steps."""
        return True

    def _steps(self, terms: Terms) -> Iterator[tuple[str, Arrays, Arrays, Arrays]]:
        """Each step: its name, the port's gradients, those with the mistakes, and those without."""
        for number, step in enumerate(self.run.steps[:STEPS]):
            if step.name not in self.mine:
                continue
            ours, usual = (self._made(number, given) for given in (terms, ()))
            if ours is not None and usual is not None:
                yield step.name, self.mine[step.name], ours, usual

    @cached_property
    def mine(self) -> dict[str, Arrays]:
        """The port's gradients, by step."""
        steps = [step.name for step in self.run.steps[:STEPS]]
        parts = {step: self.replaying.part(self.run, step, "gradients") for step in steps}
        return {step: {n: g.astype(np.float64) for n, g in part.items()} for step, part in parts.items() if part}

    def _made(self, number: int, terms: Terms) -> Arrays | None:
        through = tuple(term for term in terms if term.id in NETWORK or term.id in LOSS)
        if (through, number) not in self.right:
            if not self.replaying.load(self.run, number):
                return None
            given = [*self.replaying.adopted, *(Adopted(term) for term in through)]
            _, _, gradients = self.replaying.step(self.run, number, given)
            self.right[through, number] = self._sketched(gradients, number)
        with self.replaying.mistaken([Adopted(term) for term in terms if term not in through]) as rules:
            made: Gradients = rules.gradients
        return made(self.right[through, number], self.replaying.kept(self.run, number, made))

    def _sketched(self, gradients: Arrays, number: int) -> Arrays:
        """Sketches if the pack wants them: what is made of gradients scales them, and a sketch with them."""
        if not self.replaying.pack.wanted.sketches:
            return gradients
        return sketches_of(gradients, unsketched(self.mine[self.run.steps[number].name]))


def largest(array: np.ndarray) -> float:
    """The largest entry; infinite if one is no number."""
    found = float(np.abs(array).max(initial=0.0))
    return found if found == found else float("inf")
