"""Costs of differences from the recipe: effects on loss and scores, paired by seed."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from scipy import stats

CONFIDENCE = 0.95


class Effect(Struct, frozen=True, kw_only=True):
    """The effect of mistakes on one quantity. Numbers that too few seeds give, or that are not finite, are None."""

    quantity: str
    without: float | None
    """Mean over the seeds without the mistakes."""
    made: float | None
    """Mean with them."""
    effect: float | None
    """The mean difference, with minus without."""
    low: float | None = None
    high: float | None = None
    """Ends of its 95 % interval, by Student's t over paired differences."""
    p: float | None = None
    """The paired t-test's p-value against no effect."""

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


class DifferenceCost(Struct, frozen=True, kw_only=True):
    """The cost of one difference from the recipe, or of all at once."""

    ids: list[str]
    says: str
    effects: list[Effect]


class Cost(Struct, frozen=True, kw_only=True):
    """The cost of the differences that a check found."""

    task: str
    model: str
    rows: dict[str, int]
    epochs: int
    learning_rate: float
    seeds: list[int]
    """Seeds with which all trainings are done."""
    asked: int
    """Seeds that were asked for."""
    differences: list[DifferenceCost]
    left_out: list[str]
    """Differences that were not trained, and why."""
    trained: str
    """The pack's own model, or why another one."""


def paired_effect(quantity: str, without: list[float], made: list[float]) -> Effect:
    """The effect by paired values, one for each seed."""
    first, second = np.asarray(without, float), np.asarray(made, float)
    differences = second - first
    if not len(differences) or not np.isfinite(differences).all():
        means = [
            float(values.mean()) if len(values) and np.isfinite(values).all() else None for values in (first, second)
        ]
        return Effect(quantity=quantity, without=means[0], made=means[1], effect=None)
    mean = float(differences.mean())
    found = Effect(quantity=quantity, without=float(first.mean()), made=float(second.mean()), effect=mean)
    if len(differences) < 2:
        return found
    if np.ptp(differences) == 0:  # of such differences a t-test has no spread
        return Effect(
            quantity=quantity,
            without=found.without,
            made=found.made,
            effect=mean,
            low=mean,
            high=mean,
            p=1.0 if mean == 0 else 0.0,
        )
    test = stats.ttest_1samp(differences, 0.0)
    interval = test.confidence_interval(CONFIDENCE)
    return Effect(
        quantity=quantity,
        without=found.without,
        made=found.made,
        effect=mean,
        low=float(interval.low),
        high=float(interval.high),
        p=float(test.pvalue),
    )
