"""Names the mistakes that explain a port: searches the table of known ones at each rung that is wrong by itself.

Loss, clipping and optimizer are tried here, in numpy; the network is tried by the reference. What explains a rung is
adopted, and the rungs above are judged by themselves again. Random faults are told by statistics and not adopted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from msgspec import structs

from benchmarks.parity.ladder import bounds
from benchmarks.parity.rungs import RUNG
from benchmarks.port.causes import Cause, Diagnosis
from benchmarks.port.check import FORWARD, THROUGH, Check, RungFound, parting
from benchmarks.port.clipping_tries import ClippingTries
from benchmarks.port.dropout_tries import Dropped, dropped
from benchmarks.port.loss_tries import LossTries
from benchmarks.port.own_values import OwnValues
from benchmarks.port.places import smallest_place
from benchmarks.port.reference import Reference
from benchmarks.port.step_tries import StepTries
from benchmarks.port.values import Values
from shared.hypotheses import HYPOTHESES, HYPOTHESIS, Hypothesis, Kind
from shared.pack import VALUE, Arrays
from shared.reference import Adopted, Done, Explain, Explained, Limit, Reason, Replay
from shared.rules.parameters import CHANGES as ROUNDED
from shared.search import Explanation, Found, Search, Term, Tries

NETWORK = ("embeddings", "layers", "pooled", "logits")
CLIPPING = ("norm", "clipped", "norm, steep", "clipped, steep")
STEPS = ("first step", "first step, steep", "last step", "last step, steep")


def diagnose(check: Check, reference: Reference, replay: Replay, scratch: Path) -> tuple[list[RungFound], Diagnosis]:
    """The rungs of a check, judged with what explains it, and the causes. Raises ProcessFailed."""
    return Diagnosing(check, reference, replay, scratch).run()


@dataclass
class Diagnosing:
    """A check of a recording that is being diagnosed."""

    check: Check
    reference: Reference
    replay: Replay
    """The question that gave the values that follow from the port's own."""
    scratch: Path
    causes: list[Cause] = field(default_factory=list)
    adopted: list[Adopted] = field(default_factory=list)
    squares: Values | None = None
    from_parameters: bool = False
    """The embeddings follow from the port's own parameters, which are not the pack's."""

    def run(self) -> tuple[list[RungFound], Diagnosis]:
        """The rungs, judged with what was found, and the causes. Raises ProcessFailed."""
        before = {found.rung: found for found in self.check.by_themselves()}
        wrong = [name for name, found in before.items() if found.state == "wrong" and _subtracted(found)]
        wrong += [name for name in ("parameters", "embeddings", "dropout") if before[name].state == "parts"]
        if self.check.mine.not_finite() is not None:
            wrong = [name for name in wrong if name not in NETWORK]
        if not wrong:
            return self.check.found(), Diagnosis()
        if "parameters" in wrong:
            self._parameters()
        judged = self.check
        followed = self._network(wrong)
        after = before if self.check is judged else {found.rung: found for found in self.check.by_themselves()}
        if "dropout" in wrong:
            self._dropout()
        self._clipping([name for name in CLIPPING if name in wrong])
        self._steps([name for name in STEPS if name in wrong])
        explained = [rung for cause in self.causes if cause.ids for rung in cause.rungs]
        found = parting([self._state(before[name], after[name], followed) for name in before], explained)
        parted = {one.rung for one in found if one.rung in THROUGH and one.state == "parts"}
        left = [cause for cause in self.causes if cause.ids or not parted.issuperset(cause.rungs)]
        causes = sorted(left, key=lambda cause: list(RUNG).index(cause.rungs[0]))
        return found, Diagnosis(causes=causes, made=self._made(causes))

    def _made(self, causes: list[Cause]) -> list[Adopted]:
        """The mistakes of all causes, each once: as adopted, or everywhere."""
        known = {one.term.id for one in self.adopted}
        others = {term.id: Adopted(term) for cause in causes for term in cause.terms if term.id not in known}
        return [*self.adopted, *others.values()]

    def _state(self, before: RungFound, after: RungFound, followed: bool) -> RungFound:
        """A rung that goes through the network, judged with what explains the network."""
        if before.rung == "embeddings" and self.from_parameters:
            return structs.replace(before, state="follows")
        if before.rung in THROUGH and any(before.rung in cause.rungs for cause in self.causes):
            return structs.replace(before, state="wrong")
        if before.rung not in THROUGH or not any(set(FORWARD) & set(cause.rungs) for cause in self.causes):
            return before
        if not followed or after.state == "holds" or (after.by_itself is not None and after.by_itself.holds):
            return structs.replace(before, state="follows" if before.state in ("wrong", "parts") else before.state)
        return before

    def _network(self, wrong: list[str]) -> bool:
        """Explains loss, network and gradients. Whether all of the network's rungs are explained, so that rungs above
        could be judged with that."""
        random = dropped(self.check.own, "eval") if "embeddings" in wrong else None
        if random is not None and random.id == "dropout-on":
            self._dropped(wrong, random)
            return False
        loss = self._loss(wrong)
        forward = [name for name in NETWORK if name in wrong]
        through = [name for name in ("losses", "gradients") if name in wrong]
        if not forward and not through and not loss:
            return True
        limits = {name: self._limits(name) for name in (*forward, "losses", "gradients")}
        question = Explain(
            replay=structs.replace(self.replay, out=str(self.scratch / "explained")),
            limits={name: found for name, found in limits.items() if found},
            loss=list(loss),
        )
        answer = self.reference.ask(question, Explained)
        self.adopted = answer.adopted
        reasons = {reason.rung: reason for reason in answer.reasons}
        self.from_parameters = "embeddings" in forward and "embeddings" not in reasons
        for name in forward:
            if name in reasons:
                self._reason([name], reasons[name])
        self._explain_through(wrong, reasons, forward)
        own = OwnValues(self.check.own.values, Values(self.scratch / "explained", self.check.pack, keeps=True))
        self.check = replace(self.check, own=own)
        return all(reasons[name].explanations for name in forward if name in reasons)

    def _dropped(self, wrong: list[str], random: Dropped) -> None:
        """Tells dropout that is left on, which explains all that nothing else does, and what else is wrong above the
        embeddings if no dropout comes between: in the layers of a port that drops embeddings alone, in the pooler, in
        the loss by the logits."""
        self._loss(wrong)
        above = [name for name in NETWORK if name in wrong and name != "embeddings"]
        limits = {name: found for name in above if (found := self._limits(name))}
        replay = structs.replace(self.replay, out=str(self.scratch / "dropped"))
        reasons = self.reference.ask(Explain(replay=replay, limits=limits, deep=False), Explained).reasons
        explained = {reason.rung: reason for reason in reasons if reason.explanations}
        self._random([name for name in ("embeddings", *above) if name not in explained], random)
        for name, reason in explained.items():
            self._reason([name], reason)

    def _explain_through(self, wrong: list[str], reasons: dict[str, Reason], forward: list[str]) -> None:
        random = dropped(self.check.own, "train")
        if random is not None and random.id == "dropout-on":
            self._random([name for name in THROUGH if name in wrong], random)
            return
        if "losses" in reasons:
            self._reason([name for name in ("losses", "losses, steep") if name in wrong], reasons["losses"])
        if "gradients" in reasons:
            self._reason(["gradients"], reasons["gradients"])

    def _loss(self, wrong: list[str]) -> tuple[Term, ...]:
        """Mistakes that explain the losses by the logits; nothing if they follow."""
        noise = self.check.answers.noises.by_itself["loss"][VALUE]
        tries = LossTries(self.check.own, max(self.check.answers.noises.factor * noise, RUNG["loss"].absolute))
        if not tries.steps or not list(tries.wrong()):
            return ()
        found = _search(tries, ("loss",))
        if found.explanations or "loss" in wrong:  # if not, other batches may explain them
            self._cause(["loss"] if "loss" in wrong else ["losses"], found)
        return found.explanations[0].terms if found.explanations else ()

    def _clipping(self, wrong: list[str]) -> None:
        if wrong:
            limits = {name: self._bounds(name) for name in CLIPPING}
            tries = ClippingTries(self.check.own, limits, self._apart(needed=False))
            found = _search(tries, ("clipping",), deep=False)
            if not found.explanations:
                tries = ClippingTries(self.check.own, limits, self._apart(needed=True))
                found = _search(tries, ("clipping",))
            self._cause(wrong, found)

    def _steps(self, wrong: list[str]) -> None:
        if wrong:
            limits = {name: made for name in STEPS if (made := self._bounds(name))}
            tries = StepTries(self.check.own, limits, self._apart(needed=False))
            found = _search(tries, ("optimizer", "loop"), deep=False)
            if not found.explanations:
                tries = StepTries(self.check.own, limits, self._apart(needed=True))
                found = _search(tries, ("optimizer", "loop"))
            self._cause(wrong, found)

    def _parameters(self) -> None:
        """Tells parameters that were rounded. Others are told by their map."""
        mine, exact = (values.of_rung("parameters") or {} for values in (self.check.mine, self.check.answers.exact))
        for name, rounded in ROUNDED.items():
            if mine and all(np.array_equal(mine[key], rounded(exact[key])) for key in mine.keys() & exact.keys()):
                self.causes.append(
                    Cause(
                        rungs=["parameters"],
                        ids=[[name]],
                        says=[HYPOTHESIS[name].words],
                        terms=(Term(name),),
                        share=0.0,
                    )
                )

    def _dropout(self) -> None:
        random = dropped(self.check.own, "dropout")
        if random is not None:
            self._random(["dropout"], random)
        else:
            self.causes.append(Cause(rungs=["dropout"], tried=4, place="embeddings"))

    def _random(self, rungs: list[str], found: Dropped) -> None:
        words = HYPOTHESIS[found.id].says(found.rate)
        terms = (Term(found.id, () if found.rate is None else (found.rate,)),)
        cause = Cause(rungs=rungs, ids=[[found.id]], says=[f"{words} ({found.note})"], terms=terms, tried=1)
        self.causes.append(cause)

    def _reason(self, rungs: list[str], reason: Reason) -> None:
        found = Found(reason.explanations, reason.tried, tuple(reason.best), reason.best_share)
        if rungs:
            self._cause(rungs, found)

    def _cause(self, rungs: list[str], found: Found) -> None:
        if found.explanations:
            self.causes.append(
                Cause(
                    rungs=rungs,
                    ids=[[term.id for term in one.terms] for one in found.explanations],
                    says=[_says(one) for one in found.explanations],
                    terms=found.explanations[0].terms,
                    share=found.explanations[0].share,
                    tried=found.tried,
                )
            )
            return
        nearest = " and ".join(term.says() for term in found.best)
        place = smallest_place(self.check, rungs[0])
        share = min(found.best_share, 1e300) if found.best else 0.0
        cause = Cause(rungs=rungs, tried=found.tried, place=place, nearest=nearest, nearest_share=share)
        self.causes.append(cause)

    def _limits(self, rung: str) -> dict[str, Limit]:
        """Bounds on the arrays of a rung that what lies below was recorded for, for the reference to apply."""
        noises = self.check.answers.noises
        own = self.check.own.of_rung(rung)
        if rung == "embeddings":
            names, errors = list(self.check.own.values.hidden(rung) or {}), noises.from_pack[rung]
        else:
            names, errors = list(own.errors if own else {}), noises.by_itself.get(rung, {})
        r, factor = RUNG[rung], noises.factor
        return {name: Limit(factor * errors.get(name, 0.0), r.relative, r.of_norm, r.absolute) for name in names}

    def _bounds(self, rung: str) -> dict[str, float]:
        """Bounds on the arrays of a rung by itself; none if it cannot be judged so."""
        own = self.check.own.of_rung(rung)
        if own is None:
            return {}
        noises = self.check.answers.noises.by_itself[rung]
        noises = {name: noises.get(name, 0.0) for name in own.errors}
        return bounds(RUNG[rung], own, noises, self.check.moving, self.check.answers.noises.factor)

    def _apart(self, needed: bool) -> Callable[[str, str], Arrays | None]:
        """Squares of the gradients of repeated rows apart, by run and step; nothing unless they are needed."""
        if not needed:
            return lambda run, step: None
        if self.squares is None:
            folder = self.scratch / "apart"
            question = structs.replace(self.replay, out=str(folder), adopted=self.adopted, apart=True)
            self.reference.ask(question, Done)
            self.squares = Values(folder, self.check.own.values.pack)
        squares = self.squares
        return lambda run, step: squares.part(run, step, "apart")


def _subtracted(found: RungFound) -> bool:
    """Whether the rung's difference is a number: nothing explains what is not finite."""
    return found.by_itself is not None and found.by_itself.error is not None and math.isfinite(found.by_itself.error)


def _search(tries: Tries, kinds: tuple[Kind, ...], deep: bool = True) -> Found:
    base = tries.trial(())
    assert base is not None
    return Search(tries, _candidates(kinds), base).run(deep)


def _candidates(kinds: tuple[Kind, ...]) -> Iterator[Hypothesis]:
    return (one for one in HYPOTHESES if one.kind in kinds and one.id != "batches-swapped")


def _says(found: Explanation) -> str:
    """The mistakes in words, and where each is made if not everywhere."""
    said = []
    for term in found.terms:
        groups = found.groups.get(term.id)
        said.append(f"{term.says()}, in {', '.join(groups)} alone" if groups else term.says())
    return " and ".join(said)
