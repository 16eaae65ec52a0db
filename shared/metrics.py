"""Scores of predictions against labels. Functions import scikit-learn themselves: it takes longer to import than
everything else that a worker needs before its framework."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from shared.answer import Details, Scores


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Share of rows predicted correctly."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, predictions))


def mcc(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Matthews correlation, from -1 to 1, for any number of labels (Gorodkin 2004). 0 if either side is constant. The
    same number as scikit-learn's, which takes a millisecond for what a batch needs microseconds for."""
    _, numbered = np.unique(np.concatenate([labels, predictions]), return_inverse=True)
    counts = _confusion(numbered[: len(labels)], numbered[len(labels) :], numbered.max() + 1).astype(np.float64)
    true, predicted, rows = counts.sum(axis=1), counts.sum(axis=0), float(len(labels))
    spread = (rows**2 - predicted @ predicted) * (rows**2 - true @ true)
    return float((counts.trace() * rows - true @ predicted) / np.sqrt(spread)) if spread else 0.0


def _confusion(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Counts of rows, int64 [label, prediction]; both are int64 [n], from 0 to `classes` - 1."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """F1 of label 1, for tasks of two labels (GLUE's metric for MRPC). 0 if label 1 neither occurs nor is predicted. A
    head may have spare labels: to predict one is to miss label 1, if it is the row's."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels == 1, predictions == 1, zero_division=0.0))


def macro_f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Unweighted mean of the labels' F1, over the labels that occur or are predicted."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average="macro", zero_division=0.0))


def micro_f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """F1 of the hits and misses of all labels together. As each row has one label here, it equals the accuracy."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average="micro", zero_division=0.0))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "mcc": mcc,
    "f1": f1,
    "macro_f1": macro_f1,
    "micro_f1": micro_f1,
}
"""Metrics by name, each a function of labels and predictions, both int64 [n]."""


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over rows of -log softmax(logits)[label], in nats, computed in float64. `logits` [n, k] of any float type,
    `labels` int64 [n]. Raises ValueError if a label is not from 0 to k - 1."""
    if not ((labels >= 0) & (labels < logits.shape[1])).all():
        raise ValueError(f"labels must be from 0 to {logits.shape[1] - 1}")
    shifted = _shifted(logits)
    of_labels = shifted[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - of_labels))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of each row, float64 [n, k], computed in float64. `logits` [n, k] of any float type."""
    exponentials: np.ndarray = np.exp(_shifted(logits))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probability of each label by itself, float64 [n, k], computed in float64. `logits` [n, k] of any float type."""
    smaller = np.exp(-np.abs(logits.astype(np.float64)))  # never above 1, so that nothing overflows
    return np.where(logits >= 0, 1.0, smaller) / (1.0 + smaller)


def _shifted(logits: np.ndarray) -> np.ndarray:
    """Converts to float64 and makes each row's largest number 0, so that exp cannot overflow."""
    return logits.astype(np.float64) - logits.max(axis=1, keepdims=True)


def score(task_metrics: Iterable[str], logits: np.ndarray, labels: np.ndarray) -> Scores:
    """Computes `loss`, the mean cross-entropy (nats), and each metric named. `logits` [n, k], `labels` int64 [n]. The
    prediction is the label with the largest logit, the lowest label if several are equal."""
    predictions = logits.argmax(axis=1)
    return {"loss": cross_entropy(logits, labels)} | {name: METRICS[name](labels, predictions) for name in task_metrics}


def majority_score(labels: np.ndarray) -> float:
    """Share of the commonest label, int64 [n]: the accuracy of always guessing it."""
    return float(np.bincount(labels).max() / len(labels))


def batch_accuracy(labels: np.ndarray, predictions: np.ndarray, batch_size: int) -> float:
    """Plain mean of the accuracies of batches of `batch_size` rows, which many tutorials print. It weighs the rows of a
    short last batch more. Labels and predictions are int64 [n], in the split's own order."""
    rows, hits, _ = _batches(labels, predictions, batch_size)
    return float(np.mean(hits / rows))


def batch_mcc(labels: np.ndarray, predictions: np.ndarray, batch_size: int) -> list[float]:
    """`mcc` of each batch of `batch_size` rows, to the last bit. Labels and predictions are int64 [n], from 0."""
    rows, hits, batches = _batches(labels, predictions, batch_size)
    classes = int(max(labels.max(), predictions.max())) + 1

    def counted(numbers: np.ndarray) -> np.ndarray:
        counts = np.bincount(batches * classes + numbers, minlength=len(rows) * classes)
        return counts.reshape(len(rows), classes).astype(np.float64)

    true, predicted = counted(labels), counted(predictions)
    spread = (rows**2 - (predicted**2).sum(axis=1)) * (rows**2 - (true**2).sum(axis=1))
    shared = hits * rows - (true * predicted).sum(axis=1)
    found: list[float] = np.divide(shared, np.sqrt(spread), out=np.zeros_like(spread), where=spread != 0).tolist()
    return found


def details(labels: np.ndarray, predictions: np.ndarray, names: tuple[str, ...], batch_size: int) -> Details:
    """Computes more scores of labels and predictions, both int64 [n] in the split's own order, under the labels'
    names."""
    confusion = _confusion(labels, predictions, len(names))
    return Details(
        confusion=confusion.tolist(),
        report=_report(confusion.astype(np.float64), names),
        batch_mcc=batch_mcc(labels, predictions, batch_size),
        batch_accuracy=batch_accuracy(labels, predictions, batch_size),
        labels=labels.tolist(),
    )


def _report(confusion: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    """scikit-learn's classification_report of a confusion matrix, with 0 for what is not defined, to the last bit. It
    takes ten milliseconds for this, half of what a cell costs its command."""
    hits, true, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)

    columns = [share(hits, predicted), share(hits, true), share(2 * hits, true + predicted)]
    report: dict[str, Any] = {
        name: _line([*(column[n] for column in columns), true[n]]) for n, name in enumerate(names)
    }
    report["accuracy"] = float(hits.sum() / confusion.sum())
    report["macro avg"] = _line([*(np.average(column) for column in columns), true.sum()])
    report["weighted avg"] = _line([*(np.average(column, weights=true) for column in columns), true.sum()])
    return report


def _line(values: list[Any]) -> dict[str, float]:
    return dict(zip(("precision", "recall", "f1-score", "support"), map(float, values), strict=True))


def _batches(labels: np.ndarray, predictions: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each batch's number of rows and of hits, float64 [batches], and each row's batch, int64 [n]."""
    batches = np.arange(len(labels)) // batch_size
    return (
        np.bincount(batches).astype(np.float64),
        np.bincount(batches, weights=labels == predictions),
        batches,
    )
