"""Each dropout rate acts at its own place, as in transformers: share of zeros, variance, scale of the kept entries.

tests/backends/dropout.py has the weights that reveal each place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
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
"""Bound in standard deviations. A test would fail by chance less than once in a million runs; besides, seeds are
fixed."""


def measure(build: BuildModel, kind: Kind, place: Place, rates: Dropout) -> tuple[np.ndarray, np.ndarray]:
    """Returns the tensor at the place with dropout at these rates, and without dropout."""
    model = build(network(kind, rates), revealing_weights(kind, place))
    return (
        dropped_tensor(place, model.hidden_states(batch(), dropout=True)),
        dropped_tensor(place, model.hidden_states(batch())),
    )


def check_rate(dropped: np.ndarray, whole: np.ndarray, rate: float) -> None:
    """Checks that every entry is either gone, or kept and scaled by 1 / (1 - rate), and that the rate is the share of
    entries that are gone."""
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
    if kind == "distilbert" or place == "attention":  # attention shows in its output, which must be whole
        rates = replace(rates, attention_output=0.0)
    if place == "attention":  # the tokens' embeddings tell its entries apart, so they must be whole
        rates = replace(rates, embeddings=0.0)
    dropped, whole = measure(build, kind, place, rates)
    check_rate(dropped, whole, getattr(rates, place))


def test_attentions_output_drops_out_at_its_own_rate(build: BuildModel) -> None:
    dropped, whole = measure(build, "bert", "attention", replace(NO_DROPOUT, attention_output=0.3))
    check_rate(dropped, whole, 0.3)


@pytest.fixture(scope="module")
def whole_loss(build: BuildModel) -> Callable[[Kind], float]:
    """Returns the loss of a kind of network without dropout."""
    return cache(lambda kind: build(network(kind), perturbed_weights(network(kind))).gradients(batch()).loss)


@pytest.mark.parametrize(("kind", "place"), EVERYWHERE)
def test_each_training_step_drops_other_entries(
    build: BuildModel, whole_loss: Callable[[Kind], float], kind: Kind, place: Place
) -> None:
    a = network(kind, replace(NO_DROPOUT, **{place: 0.5}))
    model, whole = build(a, perturbed_weights(a)), whole_loss(kind)
    first, second = (model.train_step(batch(), 0.0)()[0] for _ in range(2))
    assert min(abs(first - whole), abs(second - whole), abs(first - second)) > 1e-5  # without dropout: below 1e-6


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
