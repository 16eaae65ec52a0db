"""Tries mistakes of the optimizer and the rate on a port's own weights and gradients, in numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from benchmarks.port.own_values import OwnValues
from benchmarks.port.values import first_moving
from shared.fitting import fit_linear, search
from shared.hypotheses import Hypothesis
from shared.pack import Arrays, PackRun
from shared.rules.optimizer import CHANGES, Moments, Rule
from shared.search import Term, Terms, Trial

SAMPLE = 1024
"""Entries of each array that a search looks at; what it finds is then held to all of them."""
FEW = 4
"""Matrices that a search looks at if a step depends on whole arrays, beside the arrays of few entries."""
SEED = 15
TINY = 1e-300

Limits = dict[str, dict[str, float]]
"""Bounds by rung and array."""


@dataclass(frozen=True)
class Moved:
    """Changes by one step, of some entries or all."""

    before: np.ndarray | None
    gradient: np.ndarray
    after: np.ndarray | None
    squares: np.ndarray | None
    """The gradient's squares if those of repeated rows are summed apart; None if unknown."""


@dataclass(frozen=True)
class Sample:
    """Some entries of each array, end to end, through the steps of a run."""

    names: list[str]
    starts: np.ndarray
    sizes: list[int]
    steps: list[Moved]

    def squares(self, step: Moved, rule: Rule) -> np.ndarray | None:
        """The gradient's squares, as the rule takes them; None if as they are."""
        if step.squares is None or rule.apart == "none":
            return None
        apart = np.repeat([rule.takes_apart(name) for name in self.names], self.sizes)
        return np.where(apart, step.squares, np.square(step.gradient))

    def decay(self, rule: Rule) -> np.ndarray:
        """The decay of each entry."""
        return np.repeat([rule.decay if rule.decayed(name) else 0.0 for name in self.names], self.sizes)


@dataclass
class StepTries:
    """Tries on the runs `train` and `steep`. A run is a group."""

    own: OwnValues
    limits: Limits
    apart: Callable[[str, str], Arrays | None]
    """Squares of the embeddings' gradients, those of repeated rows apart, by run and step; None if unknown."""
    adopted: Terms = ()
    """Mistakes that are there in any case."""
    sampled: dict[str, Sample] = field(default_factory=dict)
    """Entries that a search looks at, by run."""
    base: dict[str, list[np.ndarray]] = field(default_factory=dict)
    """Entries after each step without a mistake, by run."""

    def __post_init__(self) -> None:
        for run in self.runs:
            self.sampled[run.name] = self._sample(run)
            self.base[run.name] = list(self._afters(run, self._rule(run, ())))

    @cached_property
    def runs(self) -> list[PackRun]:
        """Runs in which a step can be followed."""
        runs = (self.own.values.pack.run(name) for name in ("train", "steep"))
        return [run for run in runs if any(self._rung(run, step.name) in self.limits for step in run.steps)]

    def trial(self, terms: Terms) -> Trial | None:
        """The outcome of steps with these mistakes."""
        shares: dict[str, dict[str, float]] = {}
        moved: dict[str, float] = {}
        for run in self.runs:
            rule = self._rule(run, terms)
            if rule.apart != "none" and self.apart(run.name, "1") is None:
                return None
            if rule.whole:
                shares[run.name] = self.whole(run, terms, self._few(run))
                moved[run.name] = np.inf
                continue
            sample, base = self.sampled[run.name], self.base[run.name]
            shares[run.name], moved[run.name] = {}, 0.0
            for step, one, usual, after in zip(run.steps, sample.steps, base, self._afters(run, rule), strict=False):
                if rule.apart != "none" and one.squares is None:  # from here on the moments are unknown
                    break
                if one.before is None or one.after is None:
                    continue
                rung = self._rung(run, step.name)
                _raise(shares[run.name], self._shares(rung, sample, np.abs(one.after - after)))
                change = self._shares(rung, sample, np.abs(after - usual))
                moved[run.name] = max(moved[run.name], *change.values(), 0.0)
        return Trial(shares, moved)

    def whole(self, run: PackRun, terms: Terms, names: frozenset[str] | None = None) -> dict[str, float]:
        """Shares of a run by all entries of its arrays, or of those with these names."""
        rule, shares, moments = self._rule(run, terms), dict[str, float](), dict[str, Moments]()
        for step, before, gradients, after, apart in self._steps(run, names):
            limits, rung = self.limits.get(self._rung(run, step), {}), self._rung(run, step)
            if rule.apart != "none" and not apart:
                break
            for name, gradient in gradients.items():
                decay = rule.decay if rule.decayed(name) else 0.0
                own = moments.setdefault(name, Moments(rule))
                squares = apart.get(name) if rule.takes_apart(name) else None
                right = own.step(before.get(name), gradient, decay, squares)
                if right is None or name not in after or name not in limits:
                    continue
                error = float(np.abs(after[name] - right).max(initial=0.0)) / max(limits[name], TINY)
                _raise(shares, {f"{rung}/{name}": np.inf if np.isnan(error) else error})
        return shares

    def holds(self, terms: Terms, groups: dict[str, list[str]]) -> bool:
        """Whether the mistakes explain all entries. `groups` has the runs of those that are made in some alone."""
        for run in self.runs:
            made = tuple(term for term in terms if run.name in groups.get(term.id, [run.name]))
            if max(self.whole(run, made).values(), default=0.0) > 1:
                return False
        return True

    def numbers(self, others: Terms, hypothesis: Hypothesis, thorough: bool) -> Iterable[tuple[float, ...]]:
        """Numbers fitted on the arrays of even place, so that the others confirm them."""
        assert hypothesis.number is not None
        if hypothesis.number.linear:
            for run in self.runs:
                found = self._linear(others, hypothesis.id, run)
                if found is not None and hypothesis.number.low <= found <= hypothesis.number.high:
                    yield (found,)
            return
        for value in search(hypothesis, lambda x: self._misfit((*others, Term(hypothesis.id, (x,)))), thorough):
            yield (value,)

    def _linear(self, others: Terms, name: str, run: PackRun) -> float | None:
        sample = self.sampled[run.name]
        at_zero, at_one = (self._afters(run, self._rule(run, (*others, Term(name, (x,))))) for x in (0.0, 1.0))
        found: list[list[np.ndarray]] = []
        for step, one, zero, unit in zip(run.steps, sample.steps, at_zero, at_one, strict=False):
            limits = self.limits.get(self._rung(run, step.name), {})
            if one.after is not None and one.before is not None and limits:
                even = [limits.get(n, np.inf) if place % 2 == 0 else np.inf for place, n in enumerate(sample.names)]
                found.append([zero, unit, one.after, np.repeat(np.maximum(even, TINY), sample.sizes)])
        return fit_linear(*map(np.concatenate, zip(*found, strict=True))) if found else None

    def _misfit(self, terms: Terms) -> float:
        trial = self.trial(terms)
        if trial is None:
            return np.inf
        logs = []
        for shares in trial.shares.values():
            logs += [np.log(share + 0.01) for n, share in enumerate(shares.values()) if n % 2 == 0]
        return float(np.mean(logs)) if np.isfinite(logs).all() else np.inf

    def _rule(self, run: PackRun, terms: Terms) -> Rule:
        rule = Rule.of(run)
        for term in (*self.adopted, *terms):
            rule = CHANGES[term.id](rule, term.number, run.settings)
        return rule

    def _rung(self, run: PackRun, step: str) -> str:
        first = int(step) <= int(first_moving(run))
        return ("first step" if first else "last step") + (", steep" if run.name == "steep" else "")

    def _afters(self, run: PackRun, rule: Rule) -> Iterator[np.ndarray]:
        """The sample's entries after each step by the rule; zeros if no weights lie below."""
        sample = self.sampled[run.name]
        moments, decay = Moments(rule), sample.decay(rule)
        for one in sample.steps:
            after = moments.step(one.before, one.gradient, decay, sample.squares(one, rule))
            yield np.zeros_like(one.gradient) if after is None else after

    def _shares(self, rung: str, sample: Sample, errors: np.ndarray) -> dict[str, float]:
        if rung not in self.limits or not len(errors):
            return {}
        limits = self.limits[rung]
        worst = np.maximum.reduceat(np.nan_to_num(errors, nan=np.inf), sample.starts)
        both = zip(sample.names, worst, strict=True)
        return {f"{rung}/{name}": float(error) / max(limits[name], TINY) for name, error in both if name in limits}

    def _sample(self, run: PackRun) -> Sample:
        """Entries of each array, half of them with a gradient."""
        random = np.random.default_rng(SEED)
        chosen: dict[str, np.ndarray] = {}
        steps: list[Moved] = []
        for _, before, gradients, after, apart in self._steps(run):
            if not chosen:
                chosen = {name: _chosen(random, gradient) for name, gradient in gradients.items()}
            start, gradient, end, squares = (_entries(part, chosen) for part in (before, gradients, after, apart))
            if gradient is None:
                break
            steps.append(Moved(start, gradient, end, squares))
        sizes = [len(entries) for entries in chosen.values()]
        return Sample(list(chosen), np.cumsum([0, *sizes])[:-1].astype(int), sizes, steps)

    def _few(self, run: PackRun) -> frozenset[str]:
        """Names of the arrays of few entries, and of the smallest matrices."""
        gradients = self.own.clipped(run, run.steps[0].name) or {}
        matrices = sorted(
            (name for name, array in gradients.items() if array.ndim > 1), key=lambda n: gradients[n].size
        )
        return frozenset([*matrices[:FEW], *(name for name, array in gradients.items() if array.size <= SAMPLE)])

    def _steps(
        self, run: PackRun, names: frozenset[str] | None = None
    ) -> Iterator[tuple[str, Arrays, Arrays, Arrays, Arrays]]:
        """Each step: weights before, clipped gradients, weights after, and squares of the gradients, those of repeated
        rows summed apart. What was not recorded is empty. With names, gradients and squares of these alone."""
        before = self._part(run, "0", "parameters")
        for step in run.steps:
            gradients = self.own.clipped(run, step.name)
            if gradients is None:
                return
            if names is not None:
                gradients = {name: array for name, array in gradients.items() if name in names}
            after = self._part(run, step.name, "parameters")
            yield step.name, before, gradients, after, self._squares(run, step.name, gradients)
            before = after

    def _squares(self, run: PackRun, step: str, gradients: Arrays) -> Arrays:
        apart = self.apart(run.name, step)
        if apart is None:
            return {}
        raw, found = self._part(run, step, "gradients"), {name: np.square(array) for name, array in gradients.items()}
        for name in apart.keys() & gradients.keys():
            clipped = gradients[name]
            kept = apart[name][tuple(slice(size) for size in clipped.shape)]
            size = float(np.square(raw[name]).sum()) if name in raw else 0.0
            found[name] = kept * (float((clipped * raw[name]).sum()) / size) ** 2 if size else kept
        return found

    def _part(self, run: PackRun, step: str, part: str) -> Arrays:
        return self.own.values.part(run.name, step, part) or {}


def _raise(shares: dict[str, float], by: dict[str, float]) -> None:
    for key, share in by.items():
        shares[key] = max(shares.get(key, 0.0), share)


def _chosen(random: np.random.Generator, gradient: np.ndarray) -> np.ndarray:
    if gradient.size <= SAMPLE:
        return np.arange(gradient.size)
    active = np.flatnonzero(gradient)
    some = random.choice(active, min(SAMPLE // 2, len(active)), replace=False)
    return np.unique(np.concatenate([some, random.choice(gradient.size, SAMPLE - len(some), replace=False)]))


def _entries(arrays: Arrays, chosen: dict[str, np.ndarray]) -> np.ndarray | None:
    """The chosen entries, end to end; None if an array lacks them."""
    if any(name not in arrays or arrays[name].size <= entries[-1] for name, entries in chosen.items()):
        return None
    return np.concatenate([arrays[name].ravel()[entries] for name, entries in chosen.items()])
