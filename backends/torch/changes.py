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
from backends.torch.updates import Updates, split_apart
from shared.architecture import Weights
from shared.hypotheses import HYPOTHESES, Hypothesis
from shared.pack import PACK_WEIGHTS, VALUE, Arrays, Pack, PackRun
from shared.reference import Adopted
from shared.rules.clipping import CHANGES as CLIPPING
from shared.rules.gradients import CHANGES as GRADIENTS
from shared.rules.loss import CHANGES as LOSS
from shared.rules.optimizer import CHANGES as OPTIMIZER
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
        updates = Updates.of(run, self.terms)
        self.network.load(weights)
        self.network.find_places(self.pack.batch(run.steps[0]))
        self._write(run, "0", "parameters", self.network.weights())
        for number, step in enumerate(run.steps):
            forward, loss, gradients = self.replaying.step(run, number, self.adopted, updates.apart)
            write_forward(self.pack, self.out, run, step, forward, loss)
            if run.trains:
                self._update(run, number, gradients, updates)
        return {name: weight.copy() for name, weight in self.network.weights().items()}

    def _update(self, run: PackRun, number: int, made: Arrays, updates: Updates) -> None:
        """Takes a step. Writes what rungs compare: gradients of the first step, and weights after the first that moves
        them and after the last."""
        gradients, apart = split_apart(made)
        norm, clipped = updates.clip(gradients, apart)
        at = run.steps[number].name
        if number == 0 or self.whole:
            self._write(run, at, "gradients", gradients)
            self._write(run, at, "norm", {VALUE: np.asarray(norm)})
            self._write(run, at, "clipped", clipped)
        self.network.load(updates.step(self.network.weights(), clipped, apart))
        moving = [n for n, step in enumerate(run.steps) if step.learning_rate > 0]
        if number in (*moving[:1], len(run.steps) - 1) or self.whole:
            self._write(run, at, "parameters", self.network.weights())

    def _write(self, run: PackRun, step: str, part: str, arrays: Arrays) -> None:
        write_wanted(self.pack, self.out, run.name, step, part, partial(dict, arrays))
