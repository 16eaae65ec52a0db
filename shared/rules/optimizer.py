"""The optimizer's step: torch.optim.AdamW or Adam, and the known mistakes of ports as other values of its fields.

A test holds the step to torch, and each mistake to a formula of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from shared.pack import PackRun, Settings

FACTORED_EPS = 1e-30
"""Adafactor adds this to squares."""


@dataclass(frozen=True)
class Rule:
    """All that a step follows from but weights and gradients."""

    beta1: float
    beta2: float
    eps: float
    decay: float
    decayed: Callable[[str], bool]
    """Whether the parameter of this name decays."""
    rates: tuple[float, ...]
    """Rate of each step."""
    peak: float
    method: Literal["adam", "amsgrad", "sgd", "lamb", "adafactor"] = "adam"
    eps_place: Literal["after", "before", "inside"] = "after"
    correction: Literal["both", "none", "step 1", "ahead"] = "both"
    decay_place: Literal["weights", "gradient", "without rate", "corrected", "of peak", "after"] = "weights"
    keeps: bool = True
    """Moments go on from step to step. If not, each step is a first one."""
    apart: Literal["none", "all", "tokens"] = "none"
    """Embeddings of which the second moment takes squares of the gradients of repeated rows, summed after they are
    squared; `tokens` for all but those of positions."""

    @classmethod
    def of(cls, run: PackRun) -> Rule:
        """The rule that a run of a pack asks for."""
        s, decayed = run.settings, frozenset(run.settings.decayed)
        return cls(
            beta1=s.beta1,
            beta2=s.beta2,
            eps=s.eps,
            decay=s.decay,
            decayed=decayed.__contains__,
            rates=tuple(step.learning_rate for step in run.steps),
            peak=s.learning_rate,
            eps_place=s.eps_place,
            correction="both" if s.bias_correction else "none",
            decay_place="gradient" if s.optimizer == "adam" else "weights",
        )

    def takes_apart(self, name: str) -> bool:
        """Whether the second moment of an embedding of this name takes squares of repeated rows apart."""
        return self.apart == "all" or (self.apart == "tokens" and "position" not in name)

    @property
    def whole(self) -> bool:
        """Whether an entry's step depends on others of its array, which then must be whole."""
        return self.method in ("lamb", "adafactor")


@dataclass
class Moments:
    """State that an optimizer keeps of one array."""

    rule: Rule
    steps: int = 0
    kept: dict[str, np.ndarray] = field(default_factory=dict)

    def step(
        self,
        weight: np.ndarray | None,
        gradient: np.ndarray,
        decay: float | np.ndarray,
        squares: np.ndarray | None = None,
    ) -> np.ndarray | None:
        """The array after the next step from this weight, with this gradient; None without a weight, if the moments
        alone go on. `decay` is the array's, or each entry's; `squares` are the gradient's squares if those of repeated
        rows are summed apart, as the rule may ask."""
        r, rate = self.rule, self.rule.rates[self.steps]
        self.steps += 1
        at_zero = np.zeros_like(gradient) if weight is None else weight
        if r.decay_place == "gradient" or r.method == "sgd":
            gradient = gradient + decay * at_zero
        update = _UPDATE[r.method](self, gradient, np.square(gradient) if squares is None else squares)
        if weight is None:
            return None
        if r.decay_place == "gradient" or r.method == "sgd":
            return weight - rate * update
        if r.method == "lamb":
            update = update + decay * weight
            sizes = np.linalg.norm(weight), np.linalg.norm(update)
            return weight - rate * update * (sizes[0] / sizes[1] if min(sizes) > 0 else 1.0)
        if r.decay_place == "after":
            return (weight - rate * update) * (1 - rate * decay)
        return weight - rate * update - self._share(rate) * decay * weight

    def _share(self, rate: float) -> float:
        """The share of its decay that a weight loses."""
        place = self.rule.decay_place
        if place == "without rate":
            return 1.0
        if place == "of peak":
            return self.rule.peak
        if place == "corrected":
            c1, c2 = self._corrections()
            return rate * float(np.sqrt(c2)) / c1
        return rate

    def _corrections(self) -> tuple[float, float]:
        step = {"step 1": 1, "ahead": self.steps + 1}.get(self.rule.correction, self.steps) if self.rule.keeps else 1
        return 1 - self.rule.beta1**step, 1 - self.rule.beta2**step

    def _mean(self, name: str, new: np.ndarray, beta: float) -> np.ndarray:
        before = self.kept.get(name) if self.rule.keeps else None
        self.kept[name] = (1 - beta) * new if before is None else beta * before + (1 - beta) * new
        return self.kept[name]

    def _adam(self, gradient: np.ndarray, squares: np.ndarray) -> np.ndarray:
        r = self.rule
        first, second = self._mean("first", gradient, r.beta1), self._mean("second", squares, r.beta2)
        if r.method == "amsgrad":
            second = self.kept["largest"] = np.maximum(self.kept.get("largest", 0.0), second)
        if r.correction == "none":
            root = np.sqrt(second + r.eps) if r.eps_place == "inside" else np.sqrt(second) + r.eps
            return np.asarray(first / root)
        c1, c2 = self._corrections()
        if r.eps_place == "after":
            return np.asarray((first / c1) / (np.sqrt(second / c2) + r.eps))
        if r.eps_place == "inside":
            return np.asarray((first / c1) / np.sqrt(second / c2 + r.eps))
        return np.asarray((first / c1) * np.sqrt(c2) / (np.sqrt(second) + r.eps))

    def _sgd(self, gradient: np.ndarray, _: np.ndarray) -> np.ndarray:
        before = self.kept.get("first")
        self.kept["first"] = gradient if before is None else self.rule.beta1 * before + gradient
        return self.kept["first"]

    def _adafactor(self, gradient: np.ndarray, squares: np.ndarray) -> np.ndarray:
        """As transformers' Adafactor with a rate of its own: no first moment, no scaling by the parameter."""
        beta = 1 - self.steps**-0.8
        squares = squares + FACTORED_EPS
        if gradient.ndim < 2:
            update = gradient / np.sqrt(self._mean("second", squares, beta))
        else:
            rows = self._mean("rows", squares.mean(-1), beta)
            columns = self._mean("columns", squares.mean(-2), beta)
            scale = np.sqrt(rows / rows.mean(-1, keepdims=True))[..., None] * np.sqrt(columns)[..., None, :]
            update = gradient / scale
        return np.asarray(update / max(1.0, float(np.sqrt(np.square(update).mean()))))


_UPDATE: dict[str, Callable[[Moments, np.ndarray, np.ndarray], np.ndarray]] = {
    "adam": Moments._adam,
    "amsgrad": Moments._adam,
    "lamb": Moments._adam,
    "sgd": Moments._sgd,
    "adafactor": Moments._adafactor,
}


def _end(rule: Rule, factor: float, settings: Settings) -> Rule:
    """The rule with a rate that falls otherwise after the warm-up."""
    warm = settings.warm_up_steps
    rates = (rate if n < warm else rule.peak + factor * (rate - rule.peak) for n, rate in enumerate(rule.rates))
    return replace(rule, rates=tuple(rates))


def _decays_too(rule: Rule, kinds: Callable[[str], bool]) -> Rule:
    before = rule.decayed
    return replace(rule, decayed=lambda name: before(name) or kinds(name))


def _norm(name: str) -> bool:
    return "LayerNorm" in name or "layer_norm" in name or "norm" in name.lower().split(".")[-2:-1]


Change = Callable[[Rule, float, Settings], Rule]

CHANGES: dict[str, Change] = {
    "no-bias-correction": lambda r, _, s: replace(r, correction="none"),
    "correction-of-step-1": lambda r, _, s: replace(r, correction="step 1"),
    "correction-ahead": lambda r, _, s: replace(r, correction="ahead"),
    "eps-before": lambda r, _, s: replace(r, eps_place="before"),
    "eps-inside": lambda r, _, s: replace(r, eps_place="inside"),
    "eps-other": lambda r, x, s: replace(r, eps=x),
    "beta1-other": lambda r, x, s: replace(r, beta1=x),
    "beta2-other": lambda r, x, s: replace(r, beta2=x),
    "decay-other": lambda r, x, s: replace(r, decay=x),
    "decay-none": lambda r, _, s: replace(r, decay=0.0),
    "decay-all": lambda r, _, s: _decays_too(r, lambda name: True),
    "decay-layer-norm": lambda r, _, s: _decays_too(r, _norm),
    "decay-biases": lambda r, _, s: _decays_too(r, lambda name: name.endswith("bias") and not _norm(name)),
    "decay-norm-weights": lambda r, _, s: _decays_too(r, lambda name: name.endswith("weight") and _norm(name)),
    "decay-gradient": lambda r, _, s: replace(r, decay_place="gradient"),
    "decay-without-rate": lambda r, _, s: replace(r, decay_place="without rate"),
    "decay-corrected": lambda r, _, s: replace(r, decay_place="corrected"),
    "decay-of-peak": lambda r, _, s: replace(r, decay_place="of peak"),
    "decay-after": lambda r, _, s: replace(r, decay_place="after"),
    "amsgrad": lambda r, _, s: replace(r, method="amsgrad"),
    "sgd-momentum": lambda r, _, s: replace(r, method="sgd"),
    "lamb": lambda r, _, s: replace(r, method="lamb"),
    "adafactor": lambda r, _, s: replace(r, method="adafactor"),
    "moments-reset": lambda r, _, s: replace(r, keeps=False),
    "repeats-squared": lambda r, _, s: replace(r, apart="all"),
    "repeats-squared-tokens": lambda r, _, s: replace(r, apart="tokens"),
    "rate-late": lambda r, _, s: replace(r, rates=(r.peak, *r.rates[:-1])),
    "rate-early": lambda r, _, s: replace(r, rates=(*r.rates[1:], 0.0)),
    "rate-of-peak": lambda r, _, s: replace(r, rates=(r.peak,) * len(r.rates)),
    "rate-end": lambda r, x, s: _end(r, x, s),
    "rate-scaled": lambda r, x, s: replace(r, rates=tuple(rate * x for rate in r.rates)),
}
"""Known mistakes by id: each takes a rule, the fitted number and the run's settings."""
