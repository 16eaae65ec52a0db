"""A step's update by the rules of shared/rules, with known mistakes of clipping, optimizer and rate."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from shared.architecture import Weights
from shared.pack import Arrays, PackRun
from shared.rules.clipping import CHANGES as CLIPPING
from shared.rules.clipping import Clipping, Sizes
from shared.rules.optimizer import CHANGES as OPTIMIZER
from shared.rules.optimizer import Moments, Rule
from shared.search import Terms


@dataclass
class Updates:
    """The updates of a run, one after another."""

    rule: Rule
    clipping: Clipping
    moments: dict[str, Moments] = field(default_factory=dict)
    """Moments by parameter."""

    @classmethod
    def of(cls, run: PackRun, terms: Terms) -> Updates:
        """The updates of a run with these mistakes; those of other kinds change nothing here."""
        rule, clipping = Rule.of(run), Clipping(run.settings.clip)
        for term in terms:
            if term.id in OPTIMIZER:
                rule = OPTIMIZER[term.id](rule, term.number, run.settings)
            if term.id in CLIPPING:
                clipping = CLIPPING[term.id](clipping, term.number)
        return cls(rule, clipping)

    @property
    def apart(self) -> bool:
        """Whether squares of the gradients of repeated rows apart are needed."""
        return self.rule.apart != "none" or "apart" in self.clipping.norm

    def clip(self, gradients: Arrays, apart: Arrays) -> tuple[float, Arrays]:
        """The gradients' norm as it is recorded, and the clipped gradients."""
        sizes = sizes_of(gradients, apart)
        clipped = {name: self.clipping(name, gradient, sizes) for name, gradient in gradients.items()}
        return self.clipping.norm_of(sizes), clipped

    def step(self, weights: Weights, clipped: Arrays, apart: Arrays) -> Weights:
        """The weights after the next step."""
        after: Weights = {}
        for name, weight in weights.items():
            decay = self.rule.decay if self.rule.decayed(name) else 0.0
            own = self.moments.setdefault(name, Moments(self.rule))
            squares = apart.get(name) if self.rule.takes_apart(name) else None
            stepped = own.step(weight, clipped[name], decay, squares)
            assert stepped is not None
            after[name] = stepped
        return after


def split_apart(made: Arrays) -> tuple[Arrays, Arrays]:
    """The gradients, and the squares of those of repeated rows apart, by parameter."""
    gradients = {name: array for name, array in made.items() if not name.startswith("apart/")}
    return gradients, {name.removeprefix("apart/"): made[name] for name in made.keys() - gradients.keys()}


def sizes_of(gradients: Arrays, apart: Arrays) -> Sizes:
    """The sizes that clipping needs."""
    return Sizes(
        squares={name: float(np.square(array).sum()) for name, array in gradients.items()},
        largest=max(float(np.abs(array).max(initial=0.0)) for array in gradients.values()),
        entries=sum(array.size for array in gradients.values()),
        apart={name: float(array.sum()) for name, array in apart.items()},
    )
