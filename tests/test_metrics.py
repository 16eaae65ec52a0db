"""Metrics, compared with scikit-learn, scipy and the formulas that define them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logsumexp, softmax
from scipy.stats import pearsonr
from sklearn.metrics import f1_score, log_loss, matthews_corrcoef, precision_recall_fscore_support

from shared.answer import Details
from shared.files import from_json, to_json
from shared.metrics import (
    METRICS,
    batch_accuracy,
    batch_mcc,
    cross_entropy,
    details,
    majority_score,
    probabilities,
    score,
)

TWO_COLUMNS = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        arrays(np.int64, n, elements=st.integers(0, 1)), arrays(np.int64, n, elements=st.integers(0, 1))
    )
)

SOME_LABELS = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        arrays(np.int64, n, elements=st.integers(0, 5)), arrays(np.int64, n, elements=st.integers(0, 5))
    )
)


@given(TWO_COLUMNS)
def test_accuracy_is_the_share_of_equal_entries(columns: tuple[np.ndarray, np.ndarray]) -> None:
    labels, predictions = columns
    assert METRICS["accuracy"](labels, predictions) == pytest.approx(np.mean(labels == predictions))


@given(TWO_COLUMNS)
def test_mcc_of_two_labels_is_pearsons_correlation(columns: tuple[np.ndarray, np.ndarray]) -> None:
    labels, predictions = columns
    constant = len(set(labels)) == 1 or len(set(predictions)) == 1
    expected = 0.0 if constant else pearsonr(labels, predictions).statistic
    assert METRICS["mcc"](labels, predictions) == pytest.approx(expected, abs=1e-9)


@given(TWO_COLUMNS)
def test_f1_of_two_labels_is_that_of_label_one(columns: tuple[np.ndarray, np.ndarray]) -> None:
    """It is the harmonic mean of precision and recall."""
    labels, predictions = columns
    hits = np.sum((labels == 1) & (predictions == 1))
    expected = 2 * hits / (np.sum(labels == 1) + np.sum(predictions == 1)) if hits else 0.0
    assert METRICS["f1"](labels, predictions) == pytest.approx(expected)


@given(TWO_COLUMNS)
def test_f1_counts_a_spare_label_as_a_miss(columns: tuple[np.ndarray, np.ndarray]) -> None:
    """A head may have more labels than its task."""
    labels, predictions = columns
    spare = np.where(predictions == 0, 2, predictions)
    assert METRICS["f1"](labels, spare) == METRICS["f1"](labels, predictions)
    assert METRICS["f1"](np.array([0, 1, 1, 0]), np.array([2, 1, 2, 1])) == pytest.approx(0.5)


def test_macro_f1_weighs_each_label_the_same() -> None:
    labels = np.array([0, 0, 0, 0, 1, 2])
    predictions = np.array([0, 0, 0, 1, 1, 0])
    # Label 0: precision 3/4, recall 3/4. Label 1: precision 1/2, recall 1. Label 2: never predicted.
    assert METRICS["macro_f1"](labels, predictions) == pytest.approx((3 / 4 + 2 / 3 + 0) / 3)


@given(SOME_LABELS)
def test_f1_of_several_labels_takes_each_against_the_rest(columns: tuple[np.ndarray, np.ndarray]) -> None:
    labels, predictions = columns
    there = np.unique(np.concatenate(columns))
    hits = np.array([np.sum((labels == k) & (predictions == k)) for k in there])
    rows = np.array([np.sum(labels == k) + np.sum(predictions == k) for k in there])
    assert METRICS["macro_f1"](labels, predictions) == pytest.approx(np.mean(2 * hits / rows))
    assert METRICS["micro_f1"](labels, predictions) == pytest.approx(2 * hits.sum() / rows.sum())
    assert METRICS["micro_f1"](labels, predictions) == pytest.approx(METRICS["accuracy"](labels, predictions))


@given(SOME_LABELS)
def test_several_labels_are_scored_as_scikit_learn_scores_them(columns: tuple[np.ndarray, np.ndarray]) -> None:
    labels, predictions = columns
    assert METRICS["macro_f1"](labels, predictions) == f1_score(labels, predictions, average="macro", zero_division=0)
    assert METRICS["micro_f1"](labels, predictions) == f1_score(labels, predictions, average="micro", zero_division=0)
    if len(np.unique(labels)) > 1:
        assert METRICS["mcc"](labels, predictions) == matthews_corrcoef(labels, predictions)


@pytest.mark.parametrize("constant", [0, 2])
def test_mcc_of_three_labels_is_zero_if_a_side_is_constant(constant: int) -> None:
    column, same = np.array([0, 1, 2, 2, 1]), np.full(5, constant)
    assert METRICS["mcc"](column, same) == METRICS["mcc"](same, column) == METRICS["mcc"](same, same) == 0.0


def test_mcc_of_three_labels_is_gorodkins() -> None:
    random = np.random.RandomState(3)
    labels, predictions = random.randint(0, 3, 200), random.randint(0, 3, 200)
    predictions[:90] = labels[:90]
    one_hot, guessed = np.eye(3)[labels], np.eye(3)[predictions]

    def covariance(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean((x - x.mean(0)) * (y - y.mean(0)), axis=0).sum())

    expected = covariance(one_hot, guessed) / np.sqrt(covariance(one_hot, one_hot) * covariance(guessed, guessed))
    assert METRICS["mcc"](labels, predictions) == pytest.approx(expected)


@given(
    logits=arrays(np.float32, (7, 3), elements=st.floats(-80, 80, width=32)),
    labels=arrays(np.int64, 7, elements=st.integers(0, 2)),
)
def test_cross_entropy_is_logsumexp_less_the_labels_logit(logits: np.ndarray, labels: np.ndarray) -> None:
    exact = logits.astype(np.float64)
    expected = np.mean(logsumexp(exact, axis=1) - exact[np.arange(7), labels])
    assert cross_entropy(logits, labels) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_cross_entropy_is_scikit_learns_log_loss() -> None:
    random = np.random.RandomState(0)
    logits, labels = random.normal(0, 3, (50, 4)), random.randint(0, 4, 50)
    assert cross_entropy(logits, labels) == pytest.approx(log_loss(labels, softmax(logits, axis=1), labels=range(4)))


def test_cross_entropy_neither_overflows_nor_loses_small_losses() -> None:
    assert cross_entropy(np.array([[1e4, -1e4]], np.float32), np.array([1])) == 2e4
    assert cross_entropy(np.array([[30.0, 0.0]], np.float32), np.array([0])) == pytest.approx(np.exp(-30.0), rel=1e-2)


@pytest.mark.parametrize("label", [-1, 2])
def test_cross_entropy_refuses_rows_without_a_label(label: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        cross_entropy(np.zeros((1, 2)), np.array([label]))


@given(arrays(np.float32, (7, 3), elements=st.floats(-1000, 1000, width=32)))
def test_probabilities_are_the_softmax_in_float64(logits: np.ndarray) -> None:
    expected = softmax(logits.astype(np.float64), axis=1)
    found = probabilities(logits)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


def test_a_score_has_the_loss_and_the_metrics_named() -> None:
    """Predictions are the labels with the largest logits."""
    logits = np.array([[0.1, 0.9], [2.0, -1.0], [0.0, 3.0], [1.0, 0.0]], np.float32)
    labels = np.array([1, 0, 0, 0])
    scores = score(("mcc", "accuracy"), logits, labels)
    assert list(scores) == ["loss", "mcc", "accuracy"]
    assert scores["accuracy"] == 0.75
    assert scores["mcc"] == pytest.approx(pearsonr(labels, [1, 0, 1, 0]).statistic)
    assert scores["loss"] == pytest.approx(cross_entropy(logits, labels))


def test_the_majority_score_is_the_commonest_labels_share() -> None:
    assert majority_score(np.array([1, 1, 0, 2, 1])) == 0.6


def test_batch_accuracy_weighs_short_batches_as_whole_ones() -> None:
    labels, predictions = np.array([0, 1, 0, 1, 1]), np.array([0, 1, 0, 0, 0])
    assert batch_accuracy(labels, predictions, 4) == (3 / 4 + 0) / 2
    assert batch_accuracy(labels, predictions, 5) == batch_accuracy(labels, predictions, 99) == 3 / 5
    assert batch_accuracy(labels, predictions, 1) == 3 / 5


@given(SOME_LABELS, st.integers(1, 70))
def test_mcc_of_each_batch_is_that_of_its_rows(columns: tuple[np.ndarray, np.ndarray], batch_size: int) -> None:
    labels, predictions = columns
    starts = range(0, len(labels), batch_size)
    expected = [METRICS["mcc"](*(column[start : start + batch_size] for column in columns)) for start in starts]
    assert batch_mcc(labels, predictions, batch_size) == expected


def test_details_are_those_of_scikit_learn() -> None:
    """They have every label, even one that does not occur."""
    random = np.random.RandomState(0)
    labels, predictions, names = random.randint(0, 3, 50), random.randint(0, 3, 50), ("a", "b", "c", "unused 3")
    found = from_json(to_json(details(labels, predictions, names, 32)), Details)
    counted = [[int(((labels == i) & (predictions == j)).sum()) for j in range(4)] for i in range(4)]
    assert found.confusion == counted
    precision, recall, f1_scores, support = precision_recall_fscore_support(
        labels, predictions, labels=range(4), zero_division=0.0
    )
    for n, name in enumerate(names):
        wanted = {"precision": precision[n], "recall": recall[n], "f1-score": f1_scores[n], "support": support[n]}
        assert found.report[name] == pytest.approx(wanted)
    halves = [(labels[:32], predictions[:32]), (labels[32:], predictions[32:])]
    assert found.batch_mcc == pytest.approx([matthews_corrcoef(*half) for half in halves])
    assert found.batch_accuracy == pytest.approx(np.mean([np.mean(a == b) for a, b in halves]))
