"""The loss of logits and labels, its slope, and the known mistakes of ports as other values of its fields.

A test holds both to torch.nn.functional.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Loss:
    """A loss: mean cross-entropy, nats, unless its fields say otherwise."""

    kind: Literal["cross-entropy", "binary", "binary sum", "softmax twice"] = "cross-entropy"
    sums: bool = False
    """A sum over rows in place of the mean."""
    smoothing: float = 0.0
    weights: tuple[float, ...] = ()
    """Weights of the classes, none if alike: rows' losses are multiplied by them, and divided by their sum in place of
    the number of rows."""

    def __call__(self, logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss of logits [b, num_labels] and labels [b], and its slope by the logits, [b, num_labels]."""
        target = np.eye(logits.shape[1])[labels]
        target = (1 - self.smoothing) * target + self.smoothing / logits.shape[1]
        rows, slope = _ROWS[self.kind](logits, target)
        each = np.asarray(self.weights)[labels] if self.weights else np.ones(len(labels))
        share = each / (1.0 if self.sums else each.sum())
        return float((share * rows).sum()), share[:, None] * slope


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def _cross_entropy(logits: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logs = _log_softmax(logits)
    return -(target * logs).sum(-1), np.exp(logs) - target


def _binary_sum(logits: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    losses = np.logaddexp(0, logits) - target * logits
    return losses.sum(-1), 1 / (1 + np.exp(-logits)) - target


def _binary(logits: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, slope = _binary_sum(logits, target)
    return rows / logits.shape[1], slope / logits.shape[1]


def _twice(logits: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    once = np.exp(_log_softmax(logits))
    rows, slope = _cross_entropy(once, target)
    return rows, once * (slope - (slope * once).sum(-1, keepdims=True))


_ROWS: dict[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "cross-entropy": _cross_entropy,
    "binary": _binary,
    "binary sum": _binary_sum,
    "softmax twice": _twice,
}

CHANGES: dict[str, Callable[[Loss, tuple[float, ...]], Loss]] = {
    "loss-sum": lambda loss, _: replace(loss, sums=True),
    "loss-binary": lambda loss, _: replace(loss, kind="binary"),
    "loss-binary-sum": lambda loss, _: replace(loss, kind="binary sum"),
    "loss-softmax-twice": lambda loss, _: replace(loss, kind="softmax twice"),
    "loss-smoothed": lambda loss, numbers: replace(loss, smoothing=numbers[0]),
    "loss-weighted": lambda loss, numbers: replace(loss, weights=numbers),
}
"""Known mistakes by id: each takes a loss and the fitted numbers."""


def fit_weights(losses: list[float], rows: list[np.ndarray], labels: list[np.ndarray], count: int) -> tuple[float, ...]:
    """The class weights, 1 on average, with which weighted means of the rows' losses are nearest to these losses.

    sum(w[y] * row) = loss * sum(w[y]) is linear in w and fixes it up to a factor.
    """
    system = np.array(
        [
            [(row - loss)[label == k].sum() for k in range(count)]
            for loss, row, label in zip(losses, rows, labels, strict=True)
        ]
    )
    weights = np.linalg.svd(system)[2][-1]
    return tuple(float(w) for w in weights / weights.mean()) if abs(weights.mean()) > 1e-9 else (1.0,) * count
