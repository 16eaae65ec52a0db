"""Tries mistakes of the loss on a port's own logits, in numpy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from benchmarks.port.own_values import OwnValues
from shared.fitting import fit_linear
from shared.hypotheses import Hypothesis
from shared.pack import VALUE
from shared.rules.loss import CHANGES, Loss, fit_weights
from shared.search import Term, Terms, Trial

TINY = 1e-300


@dataclass
class LossTries:
    """Tries on every step that has logits and a loss. A run is a group."""

    own: OwnValues
    limit: float
    """The bound on a loss."""
    adopted: Terms = ()
    steps: dict[str, list[tuple[float, np.ndarray, np.ndarray]]] = field(default_factory=dict)
    """Loss, logits and labels of each step, by run."""

    def __post_init__(self) -> None:
        values = self.own.values
        for run in values.pack.contents.runs:
            for step in run.steps if run.name != "dropout" else ():
                loss, logits = (values.part(run.name, step.name, part) for part in ("loss", "logits"))
                if loss and logits:
                    labels = values.pack.batch(step)["labels"]
                    self.steps.setdefault(run.name, []).append((float(loss[VALUE]), logits[VALUE], labels))

    def trial(self, terms: Terms) -> Trial | None:
        """The outcome of the loss with these mistakes."""
        rule, usual = self.rule(terms), self.rule(())
        shares: dict[str, dict[str, float]] = {}
        moved: dict[str, float] = {}
        for run, steps in self.steps.items():
            values = [(loss, rule(*given)[0], usual(*given)[0]) for loss, *given in steps]
            limits = [self.limit * max(1.0, abs(ours) / max(abs(base), TINY)) for _, ours, base in values]
            both = list(zip(values, limits, strict=True))
            shares[run] = {f"loss/{n}": abs(mine - ours) / at for n, ((mine, ours, _), at) in enumerate(both, 1)}
            moved[run] = max(abs(ours - base) / at for (_, ours, base), at in both)
        return Trial(shares, moved)

    def numbers(self, others: Terms, hypothesis: Hypothesis, thorough: bool) -> Iterable[tuple[float, ...]]:
        """Numbers fitted on every other step, so that the steps between confirm them."""
        every = [step for steps in self.steps.values() for step in steps]
        losses, logits, labels = zip(*every[::2], strict=True)
        if hypothesis.id == "loss-weighted":
            rule = self.rule(others)
            rows = [
                np.array([rule(x[n : n + 1], y[n : n + 1])[0] for n in range(len(y))])
                for x, y in zip(logits, labels, strict=True)
            ]
            yield fit_weights(list(losses), rows, list(labels), logits[0].shape[1])
            return
        at_zero, at_one = (
            np.array(
                [
                    self.rule((*others, Term(hypothesis.id, (x,))))(*given)[0]
                    for given in zip(logits, labels, strict=True)
                ]
            )
            for x in (0.0, 1.0)
        )
        found = fit_linear(at_zero, at_one, np.array(losses), np.full(len(losses), self.limit))
        if found is not None and 0 <= found <= 1:
            yield (found,)

    def holds(self, terms: Terms, groups: dict[str, list[str]]) -> bool:
        """Whether a fitted number was confirmed by steps on which it was not fitted."""
        count = sum(len(steps) for steps in self.steps.values())
        return all(count // 2 >= len(term.numbers) for term in terms)

    def rule(self, terms: Terms) -> Loss:
        """The loss with the mistakes."""
        rule = Loss()
        for term in (*self.adopted, *terms):
            rule = CHANGES[term.id](rule, term.numbers)
        return rule

    def wrong(self) -> Iterator[str]:
        """Runs whose losses do not follow from their logits."""
        trial = self.trial(())
        assert trial is not None
        yield from (run for run in trial.shares if trial.group(run) > 1)
