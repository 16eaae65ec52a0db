"""Comparisons of two variants on the same rows, by what each predicts, for one seed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr

from benchmarks.statistics.intervals import CONFIDENCE, Interval
from shared.limits import COMPARED_LABELS
from shared.records import Record, Split

RESAMPLES = 999


class Discordant(NamedTuple):
    """Rows on which one of two variants is right and the other wrong."""

    only_first: int
    only_second: int
    rows: int
    """All rows."""

    @property
    def counts(self) -> np.ndarray:
        """Counts as `joint_counts` gives them, of right (0) and wrong (1), where right is the one true label."""
        counts = np.zeros((2, 2, 2), int)
        counts[0] = [[self.rows - self.only_first - self.only_second, self.only_first], [self.only_second, 0]]
        return counts


def joint_counts(first: Record, second: Record, split: Split) -> np.ndarray | None:
    """Counts of rows by true label, prediction of the first and of the second: int64 [k, k, k]. None if the split is
    not scored, the records are older than those that keep the true labels, or there are more than COMPARED_LABELS."""
    details = first.answer.details.get(split)
    if details is None or not details.labels:
        return None
    columns = [details.labels, *(one.answer.predictions.get(split, []) for one in (first, second))]
    if len(set(map(len, columns))) > 1 or not 0 <= min(map(min, columns)) <= max(map(max, columns)) < COMPARED_LABELS:
        return None
    places = np.array(columns)
    counts = np.zeros((int(places.max()) + 1,) * 3, int)
    np.add.at(counts, tuple(places), 1)
    return counts


def discordant(first: Record, second: Record, split: Split) -> Discordant | None:
    """The rows that only one of two records has right. It follows without the true labels if there are two: one is
    right on each row on which predictions differ, and the accuracies tell how often whose. None if the split is not
    scored, or the records keep no true labels and there are more."""
    counts = joint_counts(first, second, split)
    if counts is not None:
        right = np.eye(len(counts), dtype=bool)
        ours, theirs = right[:, :, None], right[:, None, :]
        return Discordant(int(counts[ours & ~theirs].sum()), int(counts[~ours & theirs].sum()), int(counts.sum()))
    scores = [record.scores(split) or {} for record in (first, second)]
    if not all({"accuracy", "f1"} <= one.keys() for one in scores):  # F1 is a metric of tasks of two labels alone
        return None
    predictions = [np.array(record.answer.predictions.get(split, [])) for record in (first, second)]
    if not 0 < len(predictions[0]) == len(predictions[1]) or np.max(predictions) > 1:  # a head may have spare labels
        return None
    differ = int(np.sum(predictions[0] != predictions[1]))
    gained = round((scores[1]["accuracy"] - scores[0]["accuracy"]) * len(predictions[0]))
    return Discordant((differ - gained) // 2, (differ + gained) // 2, len(predictions[0]))


def mcnemar_p(found: Discordant) -> float:
    """McNemar's exact test of equal accuracies, two-sided: given the rows that only one has right, each falls to either
    with a chance of one half (McNemar 1947, Psychometrika 12:153-157)."""
    fewer, both = min(found.only_first, found.only_second), found.only_first + found.only_second
    return min(1.0, 2 * float(bdtr(fewer, both, 0.5)))


def row_intervals(counts: np.ndarray, metrics: Iterable[str]) -> dict[str, Interval]:
    """The interval of the difference of each metric, second minus first, by a paired bootstrap over rows, percentile
    (Efron 1979, Ann. Stat. 7:1-26). `counts` as of `joint_counts`; the same ones always give the same intervals. A
    metric that is not one of SCORES, or whose difference is the same in every resample, has none."""
    k = len(counts)
    kept = np.argwhere(counts)
    numbers = counts[tuple(kept.T)]
    drawn = np.random.default_rng(0).multinomial(numbers.sum(), numbers / numbers.sum(), RESAMPLES).astype(float)
    ours, theirs = (_summed(drawn, kept[:, 0] * k + kept[:, n], k * k).reshape(-1, k, k) for n in (1, 2))
    found = {}
    for metric in metrics:
        if metric in SCORES:
            differences = SCORES[metric](theirs) - SCORES[metric](ours)
            low, high = np.percentile(differences, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
            if np.ptp(differences) > 0:
                found[metric] = Interval(float(low), float(high))
    return found


def _summed(drawn: np.ndarray, places: np.ndarray, size: int) -> np.ndarray:
    """Sums columns of float [n, m] into `size` columns, each into that of its place."""
    into = np.zeros((len(places), size))
    into[np.arange(len(places)), places] = 1
    summed: np.ndarray = drawn @ into
    return summed


def _accuracy(confusions: np.ndarray) -> np.ndarray:
    right: np.ndarray = np.trace(confusions, axis1=1, axis2=2)
    return right / confusions.sum((1, 2))


def _mcc(confusions: np.ndarray) -> np.ndarray:
    """Gorodkin 2004; 0 if either side is constant."""
    rows, right = confusions.sum((1, 2)), np.trace(confusions, axis1=1, axis2=2)
    true, predicted = confusions.sum(2), confusions.sum(1)
    spread = (rows**2 - (true**2).sum(1)) * (rows**2 - (predicted**2).sum(1))
    found: np.ndarray = (right * rows - (true * predicted).sum(1)) / np.sqrt(np.where(spread > 0, spread, np.inf))
    return found


def _f1_of_each(confusions: np.ndarray) -> np.ndarray:
    """F1 of each label, float [n, k]; NaN for one that neither occurs nor is predicted."""
    either = confusions.sum(2) + confusions.sum(1)
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    return np.where(either > 0, 2 * hits / np.where(either > 0, either, 1), np.nan)


SCORES = {
    "accuracy": _accuracy,
    "mcc": _mcc,
    "f1": lambda confusions: np.nan_to_num(_f1_of_each(confusions)[:, 1]),
    "macro_f1": lambda confusions: np.nanmean(_f1_of_each(confusions), axis=1),
}
"""Metrics of many confusion matrices, float [n, k, k] by true label and prediction: those of shared.metrics, which take
one by one."""
