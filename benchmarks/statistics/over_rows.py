"""Comparisons of two variants on the same rows, by what each predicts, for one seed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import bdtr

from benchmarks.statistics.intervals import CONFIDENCE, Interval
from shared.records import Record, Split

RESAMPLES = 4999


class Discordant(NamedTuple):
    """Rows on which one of two variants is right and the other wrong."""

    only_first: int
    only_second: int
    rows: int
    """All rows."""

    @property
    def difference(self) -> float:
        """Accuracy of the second less that of the first."""
        return (self.only_second - self.only_first) / self.rows


def discordant(first: Record, second: Record, split: Split) -> Discordant | None:
    """The rows that only one of two records has right. A record keeps its predictions, and not the true labels: of two
    labels, one is right on each row on which predictions differ, and the accuracies tell how often whose. None if the
    split is not scored, or the task has more labels."""
    scores = [record.scores(split) or {} for record in (first, second)]
    if not all({"accuracy", "f1"} <= one.keys() for one in scores):  # F1 is a metric of tasks of two labels alone
        return None
    ours, theirs = (np.array(record.answer.predictions.get(split, [])) for record in (first, second))
    if not len(ours) or ours.shape != theirs.shape or max(ours.max(), theirs.max()) > 1:  # a head may have spare labels
        return None
    differ = int(np.sum(ours != theirs))
    gained = round((scores[1]["accuracy"] - scores[0]["accuracy"]) * len(ours))
    return Discordant((differ - gained) // 2, (differ + gained) // 2, len(ours))


def mcnemar_p(found: Discordant) -> float:
    """McNemar's exact test of equal accuracies, two-sided: given the rows that only one has right, each falls to either
    with a chance of one half (McNemar 1947, Psychometrika 12:153-157)."""
    fewer, both = min(found.only_first, found.only_second), found.only_first + found.only_second
    return min(1.0, 2 * float(bdtr(fewer, both, 0.5)))


def row_interval(found: Discordant) -> Interval | None:
    """The interval of the difference of accuracies by a paired bootstrap over rows, percentile (Efron 1979, Ann. Stat.
    7:1-26). The same counts always give the same interval. None if both are right on the same rows."""
    if not found.only_first + found.only_second:
        return None
    shares = np.array([found.only_first, found.only_second, 0]) / found.rows
    shares[2] = max(0.0, 1 - shares.sum())
    drawn = np.random.default_rng(0).multinomial(found.rows, shares, RESAMPLES)
    differences = (drawn[:, 1] - drawn[:, 0]) / found.rows
    low, high = np.percentile(differences, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return Interval(float(low), float(high))
