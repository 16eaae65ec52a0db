"""Records a pack with each known mistake, so that a pack can tell which of them it shows."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from backends.torch.classifier import Classifier
from backends.torch.network_changes import CHANGES as NETWORK
from backends.torch.network_changes import NotHereError
from backends.torch.replaying import Replaying, write_forward, write_wanted
from backends.torch.rounding import FLOAT64
from shared.architecture import Weights
from shared.hypotheses import HYPOTHESES, Hypothesis
from shared.pack import PACK_WEIGHTS, VALUE, Arrays, Pack, PackRun
from shared.reference import Adopted
from shared.rules.clipping import CHANGES as CLIPPING
from shared.rules.clipping import Clipping, Sizes
from shared.rules.gradients import CHANGES as GRADIENTS
from shared.rules.loss import CHANGES as LOSS
from shared.rules.optimizer import CHANGES as OPTIMIZER
from shared.rules.optimizer import Moments, Rule
from shared.search import Term, Terms

MADE = (*NETWORK, *LOSS, *GRADIENTS, *CLIPPING, *OPTIMIZER, "batches-swapped")
"""Mistakes that a recording can be made with."""


NEED_BEFORE = ("gradients-kept", "gradients-summed")
"""Mistakes that read what the step before recorded, which a sketch does not tell."""


def record_changed(pack: Pack, out: Path) -> list[str]:
    """Leaves a recording `out/ID` for each known mistake that the network can make, and returns their ids."""
    network = Classifier.build(pack.folder, FLOAT64)
    made = []
    for hypothesis in HYPOTHESES:
        reads = hypothesis.id in NEED_BEFORE and pack.wanted.sketches
        if hypothesis.id in MADE and not reads:
            try:
                Changed(pack, out / hypothesis.id, network, (shown(hypothesis, pack),)).record()
            except NotHereError:
                continue
            made.append(hypothesis.id)
    return made


def shown(hypothesis: Hypothesis, pack: Pack) -> Term:
    """The mistake with the numbers that a pack is measured with."""
    run = pack.run("train")
    if hypothesis.id == "batches-swapped":
        return Term(hypothesis.id, tuple(float(number) for number in reversed(range(len(run.steps)))))
    if hypothesis.id == "loss-weighted":
        return Term(hypothesis.id, tuple(1.0 + number for number in range(run.settings.num_labels)))
    return Term(hypothesis.id, () if hypothesis.number is None else (hypothesis.number.shown,))


class Changed:
    """A recording of a pack with mistakes, in float64."""

    def __init__(self, pack: Pack, out: Path, network: Classifier, terms: Terms) -> None:
        self.pack, self.out, self.network, self.terms = pack, out, network, terms
        self.replaying = Replaying(pack, out, network)
        self.whole = any(term.id in NEED_BEFORE for term in terms)
        self.adopted = [Adopted(term) for term in terms if term.id not in CLIPPING and term.id not in OPTIMIZER]

    def record(self) -> None:
        """Answers every run but the one with dropout; `eval` alone if the mistakes are of the forward pass, which shows
        them best. Raises NotHereError if the network cannot make a mistake."""
        kept = {PACK_WEIGHTS: self.pack.weights}
        forward = all(term.hypothesis.kind == "network" for term in self.terms)
        for run in self.pack.contents.runs:
            if run.name != "dropout" and (run.name == "eval" or not forward):
                kept[run.name] = self._run(run, kept[run.weights])

    def _run(self, run: PackRun, weights: Weights) -> Weights:
        rule, clipping = Rule.of(run), Clipping(run.settings.clip)
        for term in self.terms:
            if term.id in OPTIMIZER:
                rule = OPTIMIZER[term.id](rule, term.number, run.settings)
            if term.id in CLIPPING:
                clipping = CLIPPING[term.id](clipping, term.number)
        self.network.load(weights)
        self.network.find_places(self.pack.batch(run.steps[0]))
        self._write(run, "0", "parameters", self.network.weights())
        moments = {name: Moments(rule) for name in self.network.parameters}
        apart = rule.apart != "none" or "apart" in clipping.norm
        for number, step in enumerate(run.steps):
            forward, loss, gradients = self.replaying.step(run, number, self.adopted, apart)
            write_forward(self.pack, self.out, run, step, forward, loss)
            if run.trains:
                self._update(run, number, gradients, clipping, rule, moments)
        return {name: weight.copy() for name, weight in self.network.weights().items()}

    def _update(
        self, run: PackRun, number: int, made: Arrays, clipping: Clipping, rule: Rule, moments: dict[str, Moments]
    ) -> None:
        """Takes a step. Writes what rungs compare: gradients of the first step, and weights after the first that moves
        them and after the last."""
        gradients = {name: array for name, array in made.items() if not name.startswith("apart/")}
        apart = {name.removeprefix("apart/"): made[name] for name in made.keys() - gradients.keys()}
        sizes, at = sizes_of(gradients, apart), run.steps[number].name
        clipped = {name: clipping(name, gradient, sizes) for name, gradient in gradients.items()}
        if number == 0 or self.whole:
            self._write(run, at, "gradients", gradients)
            self._write(run, at, "norm", {VALUE: np.asarray(clipping.norm_of(sizes))})
            self._write(run, at, "clipped", clipped)
        after: Weights = {}
        for name, weight in self.network.weights().items():
            decay = rule.decay if rule.decayed(name) else 0.0
            squares = apart.get(name) if rule.takes_apart(name) else None
            stepped = moments[name].step(weight, clipped[name], decay, squares)
            assert stepped is not None
            after[name] = stepped
        self.network.load(after)
        moving = [n for n, step in enumerate(run.steps) if step.learning_rate > 0]
        if number in (*moving[:1], len(run.steps) - 1) or self.whole:
            self._write(run, at, "parameters", self.network.weights())

    def _write(self, run: PackRun, step: str, part: str, arrays: Arrays) -> None:
        write_wanted(self.pack, self.out, run.name, step, part, partial(dict, arrays))


def sizes_of(gradients: Arrays, apart: Arrays) -> Sizes:
    """The sizes that clipping needs."""
    return Sizes(
        squares={name: float(np.square(array).sum()) for name, array in gradients.items()},
        largest=max(float(np.abs(array).max(initial=0.0)) for array in gradients.values()),
        entries=sum(array.size for array in gradients.values()),
        apart={name: float(array.sum()) for name, array in apart.items()},
    )
