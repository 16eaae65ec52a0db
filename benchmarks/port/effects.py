"""Costs of differences from the recipe: effects on loss and scores, paired by seed."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from benchmarks.statistics.intervals import mean_interval
from benchmarks.statistics.paired import LEVEL, difference_p


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
    """Ends of its 95 % interval, by Student's t over paired differences; None if all differences are the same."""
    p: float | None = None
    """The paired t-test's p-value against no effect."""

    @property
    def clear(self) -> bool:
        """Whether the test shows that there is one."""
        return self.p is not None and self.p < LEVEL


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
    low, high = mean_interval(differences) or (None, None)
    return Effect(
        quantity=quantity,
        without=float(first.mean()),
        made=float(second.mean()),
        effect=float(differences.mean()),
        low=low,
        high=high,
        p=difference_p(differences) if len(differences) > 1 else None,
    )
