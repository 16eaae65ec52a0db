"""Tries mistakes of the norm and of clipping on a port's own gradients, in numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import prod

import numpy as np

from benchmarks.port.own_values import OwnValues
from shared.fitting import fit_linear
from shared.hypotheses import Hypothesis
from shared.pack import VALUE, Arrays, Pack, PackRun
from shared.rules.clipping import CHANGES, Clipping, Sizes
from shared.search import Term, Terms, Trial
from shared.sketches import BLOCKS, SKETCH

SAMPLE = 1024
"""Entries of each array that are looked at: clipping scales an array, or treats its entries alike."""
SEED = 15
TINY = 1e-300


@dataclass(frozen=True)
class Clipped:
    """Gradients of one step before and after clipping: some entries of each array or its sketch, which clipping scales
    alike, and sizes of the whole."""

    sizes: Sizes
    norm: float | None
    """As recorded."""
    gradients: Arrays
    after: Arrays


@dataclass
class ClippingTries:
    """Tries on the runs `train` and `steep`. A run is a group."""

    own: OwnValues
    limits: dict[str, dict[str, float]]
    """Bounds by rung and array."""
    apart: Callable[[str, str], Arrays | None]
    """Squares of the embeddings' gradients, those of repeated rows apart, by run and step; None if unknown."""
    adopted: Terms = ()
    steps: dict[str, list[Clipped]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("train", "steep"):
            run = self.own.values.pack.run(name)
            self.steps[name] = list(self._read(run))

    def trial(self, terms: Terms) -> Trial | None:
        """The outcome of clipping with these mistakes."""
        shares: dict[str, dict[str, float]] = {}
        moved: dict[str, float] = {}
        for name, steps in self.steps.items():
            run = self.own.values.pack.run(name)
            rule, usual = self._rule(run, terms), self._rule(run, ())
            if steps and not (_known_apart(rule, steps[0]) and _known_by_entry(rule, steps[0])):
                return None
            shares[name], moved[name] = {}, 0.0
            for step in steps:
                if not _known_apart(rule, step):  # the parameters before it are sketches
                    continue
                for key, limit, mine, ours, base in self._compared(run, step, rule, usual):
                    bound = limit * max(1.0, _largest(ours) / max(_largest(base), TINY))
                    shares[name][key] = max(shares[name].get(key, 0.0), _largest(mine - ours) / bound)
                    moved[name] = max(moved[name], _largest(ours - base) / bound)
        return Trial(shares, moved)

    def numbers(self, others: Terms, hypothesis: Hypothesis, thorough: bool) -> Iterable[tuple[float, ...]]:
        """Clips fitted on the arrays of even place of one run, so that the others confirm them."""
        for name, steps in self.steps.items():
            run = self.own.values.pack.run(name)
            small = self._rule(run, (*others, Term(hypothesis.id, (SMALLEST,))))
            found = []
            for step in steps:
                for place, (key, limit, mine, ours, _) in enumerate(self._compared(run, step, small, small)):
                    if place % 2 == 0 and not key.startswith("norm"):
                        found.append((np.zeros_like(ours), ours / SMALLEST, mine, np.full(ours.shape, limit)))
            if found:
                fitted = fit_linear(
                    *(np.concatenate([one.ravel() for one in kind]) for kind in zip(*found, strict=True))
                )
                if fitted is not None and fitted > 0:
                    yield (fitted,)

    def holds(self, terms: Terms, groups: dict[str, list[str]]) -> bool:
        """Always: the arrays are looked at alike."""
        return True

    def _rule(self, run: PackRun, terms: Terms) -> Clipping:
        rule = Clipping(run.settings.clip)
        for term in (*self.adopted, *terms):
            rule = CHANGES[term.id](rule, term.number)
        return rule

    def _compared(
        self, run: PackRun, step: Clipped, rule: Clipping, usual: Clipping
    ) -> Iterator[tuple[str, float, np.ndarray, np.ndarray, np.ndarray]]:
        """Name, bound, the port's array, the rule's and the usual one's, of each array and the norm."""
        after = ", steep" if run.name == "steep" else ""
        norms = self.limits.get(f"norm{after}")
        if step.norm is not None and norms:
            ours, base = (np.asarray(each.norm_of(step.sizes)) for each in (rule, usual))
            yield f"norm{after}/{VALUE}", max(norms[VALUE], TINY), np.asarray(step.norm), ours, base
        for name, limit in self.limits.get(f"clipped{after}", {}).items():
            if name in step.after and not (rule.by_entry and name.startswith(SKETCH)):
                gradient, own = step.gradients[name], name.removeprefix(SKETCH)
                ours, base = (each(own, gradient, step.sizes) for each in (rule, usual))
                yield f"clipped{after}/{name}", max(limit, TINY), step.after[name], ours, base

    def _read(self, run: PackRun) -> Iterator[Clipped]:
        values, random = self.own.values, np.random.default_rng(SEED)
        for step in run.steps:
            gradients = values.part(run.name, step.name, "gradients")
            if gradients is None:
                continue
            norm, after = values.part(run.name, step.name, "norm"), values.part(run.name, step.name, "clipped") or {}
            apart = self.apart(run.name, step.name) or {}
            some = {name: _some(random, array) for name, array in gradients.items()}
            yield Clipped(
                _sizes(gradients, apart, values.pack),
                None if norm is None else float(norm[VALUE]),
                {name: gradients[name].ravel()[entries] for name, entries in some.items()},
                {name: after[name].ravel()[entries] for name, entries in some.items() if name in after},
            )


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0.0))


def _known_apart(rule: Clipping, step: Clipped) -> bool:
    return "apart" not in rule.norm or bool(step.sizes.apart)


def _known_by_entry(rule: Clipping, step: Clipped) -> bool:
    return not rule.by_entry or any(not name.startswith(SKETCH) for name in step.gradients)


SMALLEST = 1e-9
"""A clip below every norm: what is left of the gradients is linear in it."""


def _sizes(gradients: Arrays, apart: Arrays, pack: Pack) -> Sizes:
    """The sizes of all gradients: by their sketches, if there are any."""
    sketches = {name: array for name, array in gradients.items() if name.startswith(SKETCH)}
    if sketches:
        squares = {name.removeprefix(SKETCH): float(array[BLOCKS]) ** 2 for name, array in sketches.items()}
        largest = max(float(array[BLOCKS + 1]) for array in sketches.values())
        entries = sum(prod(shape) for shape in pack.wanted.parts["gradients"].values())
    else:
        squares = {name: float(np.square(array).sum()) for name, array in gradients.items()}
        largest = max(float(np.abs(array).max(initial=0.0)) for array in gradients.values())
        entries = sum(array.size for array in gradients.values())
    return Sizes(
        squares, largest, entries, {name: float(array.sum()) for name, array in apart.items() if name in squares}
    )


def _some(random: np.random.Generator, gradient: np.ndarray) -> np.ndarray:
    if gradient.size <= SAMPLE:
        return np.arange(gradient.size)
    largest = np.argpartition(np.abs(gradient).ravel(), -SAMPLE // 2)[-SAMPLE // 2 :]
    return np.unique(np.concatenate([largest, random.choice(gradient.size, SAMPLE // 2, replace=False)]))
