"""The loss: cross-entropy from logits. AssemblyAI's tutorial prints it in another form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared.contract import Model
from tests.backends.cases import TRAINED, architecture, perturbed_weights
from tests.backends.conftest import BuildModel, Measured

TWO_LABELS = architecture("bert", num_labels=2)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Computes the mean cross-entropy over the rows, from logits, in nats."""
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return float(-log_p[np.arange(len(labels)), labels].mean())


def as_printed(logits: np.ndarray, labels: np.ndarray) -> float:
    """Computes the binary cross-entropy of the softmax and one-hot labels, mean over rows and labels."""
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    one_hot = np.eye(logits.shape[1], dtype=logits.dtype)[labels]
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(-np.where(one_hot == 1, np.log(p), np.log(1 - p)).mean())


@pytest.fixture(scope="module")
def model(build: BuildModel) -> Model:
    """A model of two labels."""
    return build(TWO_LABELS, perturbed_weights(TWO_LABELS))


@pytest.mark.parametrize("scale", [1.0, 300.0], ids=["usual logits", "saturated logits"])
def test_the_loss_is_cross_entropy_from_logits(model: Model, measured: Measured, scale: float) -> None:
    weights = perturbed_weights(TWO_LABELS)
    weights["classifier.weight"] *= np.float32(scale)
    model.set_weights(weights)
    batch = TRAINED["bert"].batches[0]
    batch = replace(batch, labels=batch.labels % 2)
    logits = model.predict(batch)
    if scale > 1:
        assert np.abs(logits[:, 0] - logits[:, 1]).max() > 100  # float32's softmax is 0 there
        assert not np.isfinite(as_printed(logits, batch.labels))
    expected = cross_entropy(logits.astype(np.float64), batch.labels)
    loss = model.gradients(batch).loss
    measured(f"loss, logits times {scale:g}, relative", abs(loss - expected) / expected, 1e-6)


def test_the_printed_form_is_the_same_only_at_two_labels() -> None:
    random = np.random.RandomState(0)
    labels = random.randint(0, 2, 50)
    two, three = 3 * random.normal(size=(50, 2)), 3 * random.normal(size=(50, 3))
    assert as_printed(two, labels) == pytest.approx(cross_entropy(two, labels), rel=1e-12)
    assert as_printed(three, labels) != pytest.approx(cross_entropy(three, labels), rel=0.1)
