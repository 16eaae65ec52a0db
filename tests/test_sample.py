"""Samples: their batches are the epoch's own, and their mean cost is the epoch's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed.sample import PASSES, choose_steps, make_sample
from benchmarks.speed.variants import Padding
from shared.batching import make_batch, training_order
from shared.encoding import Encoded, read_encoded, trained_ids
from shared.flops import training_flops
from shared.recipe import Recipe
from tests.checkpoints import TOY

RECIPE = Recipe(max_len=40, batch_size=4, seed=3)


@pytest.fixture
def train() -> Encoded:
    """350 rows whose lengths have a long tail, like those of sentences."""
    random = np.random.RandomState(0)
    lengths = np.minimum(40, 3 + random.geometric(0.12, 350))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = random.randint(1, 10, offsets[-1]).astype(np.int32)
    types = random.randint(0, 2, offsets[-1]).astype(np.uint8)
    return Encoded(ids, types, offsets, random.randint(0, 2, 350).astype(np.int64), pad_id=0)


@pytest.mark.parametrize("padding", ["max_length", "longest", "bucket", "none"])
def test_a_sample_has_the_epochs_own_batches_in_order(train: Encoded, tmp_path: Path, padding: Padding) -> None:
    recipe = replace(RECIPE, padding=padding)
    sample = make_sample(train, TOY, recipe, 10, tmp_path / "sample")
    (epoch, *others) = training_order(recipe, train.lengths)
    wanted = [make_batch(train, rows, recipe) for rows in epoch]
    data = read_encoded(sample.data)
    passes = list(training_order(sample.recipe, data["train"].lengths))
    assert len(passes) == PASSES
    places = []
    for order in passes:
        made = [make_batch(data["train"], rows, sample.recipe) for rows in order]
        places.append([next(n for n, w in enumerate(wanted) if _same(w, batch)) for batch in made])
    assert places[0] == places[1] == sorted(set(places[0])), "the same each pass, in the epoch's order, each once"
    assert len(places[0]) == 10
    assert len(others) == RECIPE.epochs - 1


@pytest.mark.parametrize("padding", ["max_length", "longest", "bucket"])
@pytest.mark.parametrize("multiple", [1, 8])
def test_a_sample_counts_the_tokens_that_are_computed_on(
    train: Encoded, tmp_path: Path, padding: Padding, multiple: int
) -> None:
    recipe = replace(RECIPE, padding=padding)
    sample = make_sample(train, TOY, recipe, 10, tmp_path / "sample", multiple)
    data = read_encoded(sample.data)["train"]
    order = next(training_order(sample.recipe, data.lengths))
    widths = [make_batch(data, rows, sample.recipe, multiple).input_ids.shape[1] for rows in order]
    assert sample.work.padded_tokens == RECIPE.batch_size * sum(widths)
    assert sample.work.all_flops == training_flops(TOY, np.repeat(widths, RECIPE.batch_size))
    if multiple == 8 and padding != "max_length":
        assert all(width % 8 == 0 for width in widths)


def test_a_sample_without_padding_counts_real_tokens(train: Encoded, tmp_path: Path) -> None:
    """Attention alone counts at the width of its group, which falls as there are more groups."""
    recipe = replace(RECIPE, padding="none")
    one, four = (make_sample(train, TOY, recipe, 10, tmp_path / str(n), attention_groups=n) for n in (1, 4))
    for sample in (one, four):
        assert sample.recipe.padding == "none"
        assert (sample.work.padded_tokens, sample.epoch.padded_tokens) == (sample.work.tokens, len(train.ids))
    assert one.epoch.real_flops == four.epoch.real_flops < four.epoch.all_flops <= one.epoch.all_flops


def _same(one: object, other: object) -> bool:
    return all(np.array_equal(array, vars(other)[name]) for name, array in vars(one).items())


@pytest.mark.parametrize("padding", ["longest", "bucket", "none"])
@pytest.mark.parametrize("steps", [8, 12, 30])
def test_a_samples_mean_cost_is_the_epochs(train: Encoded, tmp_path: Path, padding: Padding, steps: int) -> None:
    """The costliest batch is in it."""
    sample = make_sample(train, TOY, replace(RECIPE, padding=padding), steps, tmp_path / "sample")
    mean, epoch_mean = (work.all_flops / work.steps for work in (sample.work, sample.epoch))
    assert abs(mean / epoch_mean - 1) < 0.05
    data = read_encoded(sample.data)["train"]
    assert data.lengths.max() == train.lengths.max()
    assert len(data) == steps * RECIPE.batch_size


def test_seconds_are_scaled_by_operations(train: Encoded, tmp_path: Path) -> None:
    sample = make_sample(train, TOY, RECIPE, 5, tmp_path / "sample")
    assert sample.epoch.steps == 88, "87 whole batches of 4 and one of 2"
    row = training_flops(TOY, np.array([40]))
    assert sample.work == replace(sample.work, steps=5, rows=20, padded_tokens=800, all_flops=20 * row)
    assert sample.epoch.all_flops == 350 * row
    assert sample.scale == 350 / 20


def test_a_sample_counts_the_tokens_of_its_rows(train: Encoded, tmp_path: Path) -> None:
    sample = make_sample(train, TOY, RECIPE, 1000, tmp_path / "sample")
    data = read_encoded(sample.data)["train"]
    assert sample.work.tokens == len(data.ids) == data.lengths.sum()
    assert len(data) == 87 * 4, "the short last batch is left out"


def test_steps_of_one_cost_are_spread_over_the_epoch() -> None:
    chosen = choose_steps(np.ones(100), 11)
    assert chosen[-1] == 99
    assert len(chosen) == 11
    assert np.diff([0, *chosen]).max() <= 10


def test_time_that_is_affine_in_cost_keeps_its_mean() -> None:
    costs = np.random.RandomState(1).geometric(0.1, 267).astype(float)
    chosen = choose_steps(costs, 12)
    seconds = 0.02 + 0.01 * costs
    assert seconds[chosen].mean() == pytest.approx(seconds.mean(), rel=0.03)
    assert costs.argmax() in chosen or costs[chosen].max() == costs.max()
    first = seconds[:12].mean()
    assert abs(first / seconds.mean() - 1) > 0.03, "the first twelve would not do"


def test_no_more_steps_are_taken_than_there_are() -> None:
    np.testing.assert_array_equal(choose_steps(np.array([3.0, 1.0, 2.0]), 12), [0, 1, 2])


def test_a_sample_counts_the_words_of_the_whole_split(train: Encoded, tmp_path: Path) -> None:
    """An update by rows moves these; the sample's own batches have fewer."""
    train.ids[train.ids == 7] = 6
    train.ids[-1] = 7
    sample = make_sample(train, TOY, RECIPE, 2, tmp_path / "sample")
    data = read_encoded(sample.data)
    assert 7 not in data["train"].ids
    assert list(trained_ids(data, TOY.vocab_size)) == list(range(1, 10))
    assert sample.touched == 9
