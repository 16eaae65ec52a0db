"""The word embedding updated by rows: beside the dense update and beside formulas in float64, for 50 steps and every
switch of the optimizer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.architecture import Weights
from shared.batching import Batch
from shared.contract import Build, Load, Model
from shared.errors import InputError
from shared.job import Precision
from shared.recipe import Recipe
from tests.backends.cases import architecture, perturbed_weights, random_batch
from tests.backends.conftest import THREADS, Measured
from tests.backends.formula import Formula
from tests.backends.test_optimizer import USUAL, VARIANTS

BACKEND = os.environ.get("CONCORD_TEST_BACKEND", "")
STEPS = 50
RATE = 1e-3
NETWORK = architecture("bert", layers=1, width=32, feed_forward=64)
TABLE = NETWORK.word_table
TOUCHED = np.arange(3, 60)
REST = np.setdiff1d(np.arange(NETWORK.vocab_size), [*TOUCHED, NETWORK.pad_id])
SWITCHES = {name: changes for name, changes in VARIANTS.items() if "adam" not in name or name == "as AdamW of torch"}
SWITCHES |= {
    "adam without decay": {"optimizer": "adam", "decay": 0.0},
    "adam, words exempt": {"optimizer": "adam", "decay_exempt": ("embeddings",)},
    "words exempt from decay": {"decay_exempt": ("word_embeddings",)},
}
DECAYS = ("as AdamW of torch", "a clip above the norm", "adam without decay", "words exempt from decay")
"""Those that rows outside of the block can differ by, for frameworks whose graphs take long to make."""


def batches(number: int, width: int = 12) -> Iterator[Batch]:
    """Batches of the touched words alone."""
    for seed in range(number):
        batch = random_batch(NETWORK, rows=8, width=width, seed=seed)
        words = TOUCHED[batch.input_ids % len(TOUCHED)].astype(np.int32)
        yield replace(batch, input_ids=np.where(batch.attention_mask == 1, words, np.int32(NETWORK.pad_id)))


def model(load: Load, recipe: Recipe = USUAL, by_rows: bool = True, precision: Precision = "float32") -> Model:
    touched = TOUCHED if by_rows else None
    return load(Build(NETWORK, perturbed_weights(NETWORK), recipe, "cpu", THREADS, precision, touched=touched))


def rates() -> np.ndarray:
    """Another one at each step."""
    return RATE * (1 + np.arange(STEPS) % 7) / 7


def trained(load: Load, recipe: Recipe, by_rows: bool) -> Weights:
    one = model(load, recipe, by_rows)
    for batch, rate in zip(batches(STEPS), rates(), strict=True):
        one.train_step(batch, float(rate))
    return one.weights()


def untouched_exactly(recipe: Recipe) -> np.ndarray:
    """The rows that no step touches after all steps, float64 [rows, width]: each decays and does nothing else."""
    table = perturbed_weights(NETWORK)[TABLE].astype(np.float64)[REST]
    decay = recipe.decay if recipe.decays(TABLE) and recipe.optimizer == "adamw" else 0.0
    exact: np.ndarray = table * np.prod(1 - rates() * decay)
    return exact


@pytest.mark.parametrize("switch", SWITCHES if BACKEND in ("torch", "gluon") else DECAYS)
def test_50_steps_by_rows_stay_beside_the_dense_ones(load: Load, measured: Measured, switch: str) -> None:
    """Rows that no step touches are rounded once. The dense update rounds them at every step, and is never nearer."""
    recipe = replace(USUAL, **SWITCHES[switch])
    rows, dense = trained(load, recipe, True), trained(load, recipe, False)
    exact = untouched_exactly(recipe)
    ours, theirs = (np.abs(weights[TABLE][REST] - exact) for weights in (rows, dense))
    assert (ours <= np.spacing(np.abs(exact).astype(np.float32)) / 2).all(), "not rounded once"
    assert (ours <= theirs).all()
    apart = np.abs(rows[TABLE][REST] - dense[TABLE][REST]) / (np.spacing(np.abs(rows[TABLE][REST])) / 2)
    measured(f"{STEPS} steps by rows, {switch}, untouched rows by dense ones, in half ulps", apart.max(), STEPS + 1)
    others = max(
        float(np.abs(np.delete(rows[name], REST, 0) - np.delete(dense[name], REST, 0)).max())
        if name == TABLE
        else float(np.abs(rows[name] - dense[name]).max())
        for name in rows
    )
    measured(f"{STEPS} steps by rows, {switch}, all else by dense", others, 2e-5)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("switch", SWITCHES)
def test_each_step_by_rows_follows_the_formula(load: Load, measured: Measured, switch: str) -> None:
    """The formula takes the whole table, and gradients that are zero in the rows that no step touches."""
    recipe = replace(USUAL, **SWITCHES[switch])
    one, formula, worst = model(load, recipe), Formula(recipe), 0.0
    for batch, rate in zip(batches(5), rates(), strict=False):
        before = one.weights()
        wanted = formula.step(before, one.gradients(batch).raw, float(rate))
        one.train_step(batch, float(rate))
        after = one.weights()
        worst = max(worst, *(float(np.abs(after[name] - wanted[name]).max()) for name in after))
    measured(f"5 steps by rows, {switch}, weights", worst, 1e-5)


def test_gradients_are_the_whole_tables(load: Load) -> None:
    """They are zero in all other rows, and clipped like the others."""
    (batch,) = batches(1)
    rows, dense = (model(load, by_rows=by_rows).gradients(batch) for by_rows in (True, False))
    for mine, theirs in ((rows.raw, dense.raw), (rows.clipped, dense.clipped)):
        assert {name: g.shape for name, g in mine.items()} == NETWORK.shapes()
        assert not mine[TABLE][[*REST, NETWORK.pad_id]].any()
        assert all(np.allclose(mine[name], theirs[name], rtol=1e-5, atol=1e-8) for name in theirs)
    assert rows.norm == pytest.approx(dense.norm, rel=1e-6)
    assert np.abs(rows.clipped[TABLE]).max() < np.abs(rows.raw[TABLE]).max()


def test_words_that_no_step_touches_are_evaluated_as_decayed(load: Load) -> None:
    """All logits, states too, are those of a model of the same weights."""
    one = model(load, replace(USUAL, decay=3.0))
    for batch, rate in zip(batches(20), rates(), strict=False):
        one.train_step(batch, float(rate))
    assert np.abs(one.weights()[TABLE][REST] / perturbed_weights(NETWORK)[TABLE][REST]).max() < 0.98
    fresh = load(Build(NETWORK, one.weights(), USUAL, "cpu", THREADS))
    unseen = random_batch(NETWORK, rows=8, width=20, seed=9)
    assert np.isin(unseen.input_ids, REST).any()
    assert np.isin(unseen.input_ids, TOUCHED).any()
    assert np.array_equal(one.predict(unseen), fresh.predict(unseen))
    mine, theirs = one.hidden_states(unseen), fresh.hidden_states(unseen)
    real = unseen.attention_mask == 1
    assert np.array_equal(mine.embeddings[real], theirs.embeddings[real])
    (again,) = batches(1)
    one.train_step(again, RATE)
    assert not np.array_equal(one.predict(unseen), fresh.predict(unseen))


def test_weights_that_are_set_decay_from_there(load: Load) -> None:
    one, given = model(load), {name: -array for name, array in perturbed_weights(NETWORK).items()}
    (batch,) = batches(1)
    one.train_step(batch, RATE)
    one.set_weights(given)
    assert all(np.array_equal(array, given[name]) for name, array in one.weights().items())
    one.train_step(batch, RATE)
    exact = given[TABLE].astype(np.float64)[REST] * (1 - RATE * USUAL.decay)
    assert np.array_equal(one.weights()[TABLE][REST], exact.astype(np.float32))


def test_in_float64_rows_and_dense_are_one(load: Load, measured: Measured) -> None:
    rows, dense = (model(load, by_rows=by_rows, precision="float64") for by_rows in (True, False))
    for batch in batches(10):
        rows.train_step(batch, RATE)
        dense.train_step(batch, RATE)
    mine, theirs = rows.weights(), dense.weights()
    assert mine[TABLE].dtype == np.float64
    worst = max(float(np.abs(mine[name] - theirs[name]).max()) for name in mine)
    # MXNet's operator has rate and decay in float32, and so decays by another factor.
    measured("10 steps by rows in float64, by dense", worst, 1e-9 if BACKEND == "gluon" else 1e-12)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_word_that_the_build_lacks_cannot_be_trained_on(load: Load, kind: Any) -> None:
    a = architecture(kind, layers=1)
    one = load(Build(a, perturbed_weights(a), USUAL, "cpu", THREADS, touched=TOUCHED))
    batch = random_batch(a, rows=4, width=10, seed=1)
    batch.input_ids[1, 0] = 77
    batch.input_ids[batch.input_ids != 77] = TOUCHED[0]
    for ask in (lambda: one.train_step(batch, RATE), lambda: one.gradients(batch)):
        with pytest.raises(ValueError, match="token id 77, which"):
            ask()
    assert one.predict(batch).shape == (4, a.num_labels)


def test_decay_in_the_gradient_is_refused_by_name(load: Load) -> None:
    with pytest.raises(InputError) as refusal:
        model(load, replace(USUAL, optimizer="adam"))
    assert str(refusal.value) == (
        "--embedding-update rows: with optimizer adam, decay 0.5 is a part of every row's gradient, so that every row "
        "moves at every step; pass --embedding-update dense, --optimizer adamw or --decay 0"
    )


if BACKEND == "torch":

    def test_a_step_that_float16_skips_decays_no_row() -> None:
        """The optimizer alone, as torch's CPU has no network in float16: gradients overflow in the second of three
        steps."""
        import torch

        from backends.torch.optimizer import Optimizer
        from backends.torch.word_rows import RowEmbedding
        from backends.word_rows import WordRows

        rows = WordRows.of(Build(NETWORK, {}, USUAL, touched=TOUCHED))
        assert rows is not None
        first = perturbed_weights(NETWORK)[TABLE]
        words = RowEmbedding(rows, torch.tensor(first))
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
        optimizer = Optimizer({TABLE: words.weight}, USUAL, scaler, words)
        for largest in (1.0, float("inf"), 1.0):
            words.weight.grad = torch.full_like(words.weight, largest)
            scaler.scale(torch.ones(1))
            scaler.unscale_(optimizer.optimizer)
            optimizer.step(RATE)
        kept = (1 - RATE * USUAL.decay) ** 2
        assert words.kept.item() == pytest.approx(kept, rel=1e-15)
        assert np.array_equal(words.table()[REST], (first[REST].astype(np.float64) * words.kept.item()).astype("f4"))
        assert np.isfinite(words.table()).all()

    def test_compiled_a_model_by_rows_predicts_the_same(
        load: Load, measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
        build = Build(NETWORK, perturbed_weights(NETWORK), USUAL, "cpu", THREADS, touched=TOUCHED)
        plain, compiled = load(build), load(replace(build, compile=True))
        unseen = random_batch(NETWORK, rows=8, width=12, seed=9)
        measured("compiled by rows, logits", np.abs(compiled.predict(unseen) - plain.predict(unseen)).max(), 1e-5)
