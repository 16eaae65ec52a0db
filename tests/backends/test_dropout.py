"""Each dropout rate acts at its own place, as in transformers: share of zeros, variance, and the scale of what is kept.

tests/backends/dropout.py has the weights that reveal each place."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from shared.architecture import Dropout
from tests.backends.cases import NO_DROPOUT, perturbed_weights
from tests.backends.conftest import BuildModel, Reference
from tests.backends.dropout import PLACES, Place, batch, dropped_tensor, network, revealing_weights

Kind = Literal["bert", "distilbert"]
EVERYWHERE = [(kind, place) for kind, places in PLACES.items() for place in places]
SIGMAS = 5.0
"""A test fails by chance once in more than a million runs; the seeds are fixed besides."""


def measure(build: BuildModel, kind: Kind, place: Place, rates: Dropout) -> tuple[np.ndarray, np.ndarray]:
    """The tensor at the place with dropout at these rates, and without dropout."""
    model = build(network(kind, rates), revealing_weights(kind, place))
    return (
        dropped_tensor(place, model.hidden_states(batch(), dropout=True)),
        dropped_tensor(place, model.hidden_states(batch())),
    )


def check_rate(dropped: np.ndarray, whole: np.ndarray, rate: float) -> None:
    """Every entry is either gone or kept and scaled by 1 / (1 - rate), and the share that is gone is the rate."""
    ratio = dropped / whole
    gone = np.abs(ratio) < 0.25
    np.testing.assert_allclose(ratio[gone], 0, atol=1e-3)
    np.testing.assert_allclose(ratio[~gone], 1 / (1 - rate), rtol=1e-3)
    assert gone.mean() == pytest.approx(rate, abs=SIGMAS * np.sqrt(rate * (1 - rate) / gone.size))


@pytest.mark.parametrize(("kind", "place"), EVERYWHERE)
def test_share_of_zeros_and_variance_are_those_of_transformers(
    build: BuildModel, reference: Reference, kind: Kind, place: Place
) -> None:
    dropped, whole = measure(build, kind, place, replace(NO_DROPOUT, **{place: 0.5}))
    theirs = reference(f"{kind}, dropout")[place]
    assert dropped.shape == theirs.shape
    zeros, their_zeros = (np.abs(dropped) < 0.25 * np.abs(whole)).mean(), (theirs == 0).mean()
    noise = SIGMAS * np.sqrt(2 / theirs.size)
    assert zeros == pytest.approx(their_zeros, abs=0.5 * noise)
    assert dropped.var() == pytest.approx(theirs.var(), rel=noise)
    check_rate(dropped, whole, 0.5)


@pytest.mark.parametrize(("kind", "place"), EVERYWHERE)
def test_each_place_has_its_own_rate(build: BuildModel, kind: Kind, place: Place) -> None:
    rates = Dropout(embeddings=0.1, attention=0.2, attention_output=0.3, feed_forward_output=0.4, classifier=0.5)
    if kind == "distilbert" or place == "attention":  # Attention is seen through its output, which must be whole.
        rates = replace(rates, attention_output=0.0)
    if place == "attention":  # And it is told apart by what the tokens hold.
        rates = replace(rates, embeddings=0.0)
    dropped, whole = measure(build, kind, place, rates)
    check_rate(dropped, whole, getattr(rates, place))


def test_the_rate_of_the_attention_output_is_not_that_of_attention(build: BuildModel) -> None:
    dropped, whole = measure(build, "bert", "attention", replace(NO_DROPOUT, attention_output=0.3))
    check_rate(dropped, whole, 0.3)


@pytest.mark.parametrize(("kind", "place"), EVERYWHERE)
def test_each_place_is_dropped_anew_in_each_training_step(build: BuildModel, kind: Kind, place: Place) -> None:
    a = network(kind, replace(NO_DROPOUT, **{place: 0.5}))
    model = build(a, perturbed_weights(a))
    whole = model.gradients(batch()).loss
    first, second = (model.train_step(batch(), 0.0)()[0] for _ in range(2))
    assert min(abs(first - whole), abs(second - whole), abs(first - second)) > 1e-5  # Without dropout: below 1e-6.


@pytest.mark.parametrize("kind", PLACES)
def test_pooled_states_are_those_before_the_classifiers_dropout(build: BuildModel, kind: Kind) -> None:
    model = build(network(kind, replace(NO_DROPOUT, classifier=0.5)), revealing_weights(kind, "classifier"))
    dropped, whole = model.hidden_states(batch(), dropout=True), model.hidden_states(batch())
    np.testing.assert_allclose(dropped.pooled, whole.pooled, atol=1e-6)
    assert not np.allclose(dropped.logits, whole.logits)


@pytest.mark.parametrize("kind", PLACES)
def test_at_rate_zero_nothing_is_dropped(build: BuildModel, kind: Kind) -> None:
    model = build(network(kind), revealing_weights(kind, "attention"))
    one, other = model.hidden_states(batch(), dropout=True), model.hidden_states(batch())
    for mine, theirs in zip(
        (one.embeddings, *one.layers, one.pooled, one.logits),
        (other.embeddings, *other.layers, other.pooled, other.logits),
        strict=True,
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
