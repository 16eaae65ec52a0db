"""The promises of shared/contract.py, for the backend that CONCORD_TEST_BACKEND names."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from backends.devices import peak_resident_memory
from shared.architecture import Dropout, Weights
from shared.contract import Build, Load, Model
from shared.errors import InputError
from shared.recipe import Recipe
from tests.backends.cases import (
    TRAINED,
    USUAL,
    architecture,
    perturbed_weights,
    random_batch,
    trained_with_dropout,
)
from tests.backends.conftest import ROOT, THREADS, BuildModel, Measured, Untrained

Kind = Literal["bert", "distilbert"]
KINDS = ["bert", "distilbert"]
RATE = 1e-3


def equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def some_model(build: BuildModel, kind: Kind = "bert", recipe: Recipe | None = None) -> Model:
    return build(TRAINED[kind].architecture, TRAINED[kind].weights, recipe)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_gradients_fit_the_architecture(untrained: Untrained, kind: Kind) -> None:
    """In names, shapes and type."""
    model = untrained(kind)
    shapes = TRAINED[kind].architecture.shapes()
    gradients = model.gradients(TRAINED[kind].batches[0])
    for arrays in (model.weights(), gradients.raw, gradients.clipped):
        assert {name: array.shape for name, array in arrays.items()} == shapes
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_hidden_states_have_the_documented_shapes(untrained: Untrained, kind: Kind) -> None:
    model, a = untrained(kind), TRAINED[kind].architecture
    batch = random_batch(a, rows=5, width=13, seed=1)
    states = model.hidden_states(batch)
    assert model.predict(batch).shape == (5, a.num_labels)
    assert states.logits.shape == (5, a.num_labels)
    assert states.embeddings.shape == (5, 13, a.width)
    assert [layer.shape for layer in states.layers] == [(5, 13, a.width)] * a.layers
    assert states.pooled.shape == (5, a.width)
    for array in (model.predict(batch), states.logits, states.embeddings, *states.layers, states.pooled):
        assert array.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
def test_weights_go_in_and_come_out_bit_equal(build: BuildModel, kind: Kind) -> None:
    case = TRAINED[kind]
    model = some_model(build, kind)
    assert equal(model.weights(), case.weights)
    model.train_step(case.batches[0], RATE)()
    trained = model.weights()
    assert not equal(trained, case.weights)
    others = {name: -values for name, values in case.weights.items()}
    model.set_weights(others)
    assert equal(model.weights(), others)
    model.set_weights(trained)
    assert equal(model.weights(), trained)


def test_set_weights_acts_on_what_is_computed(build: BuildModel) -> None:
    case = TRAINED["bert"]
    model = some_model(build)
    before = model.predict(case.batches[0])
    model.train_step(case.batches[0], RATE)()
    assert not np.array_equal(model.predict(case.batches[0]), before)
    model.set_weights(case.weights)
    assert np.array_equal(model.predict(case.batches[0]), before)


def test_training_changes_no_array_given_or_returned(build: BuildModel) -> None:
    case = TRAINED["bert"]
    given = {name: values.copy() for name, values in case.weights.items()}
    model = build(case.architecture, given)
    taken = model.weights()
    model.train_step(case.batches[0], RATE)()
    model.set_weights(given)
    model.train_step(case.batches[0], RATE)()
    assert equal(given, case.weights)
    assert equal(taken, case.weights)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_keeps_no_array_that_it_was_given(build: BuildModel, kind: Kind) -> None:
    case = TRAINED[kind]
    given = {name: values.copy() for name, values in case.weights.items()}
    references = [weakref.ref(values) for values in given.values()]
    model = build(case.architecture, given)
    del given
    gc.collect()
    assert not any(reference() is not None for reference in references)
    assert equal(model.weights(), case.weights)


def test_weights_that_cannot_be_written_to_are_taken(build: BuildModel) -> None:
    case = TRAINED["bert"]
    read_only = {name: values.copy() for name, values in case.weights.items()}
    for values in read_only.values():
        values.flags.writeable = False
    model = build(case.architecture, read_only)
    model.train_step(case.batches[0], RATE)()
    model.set_weights(read_only)
    assert equal(model.weights(), read_only)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_returns_the_scores_of_the_weights_before_it(build: BuildModel, kind: Kind) -> None:
    case = TRAINED[kind]
    model = some_model(build, kind)
    for batch in case.batches[:3]:
        loss = model.gradients(batch).loss
        correct = int((model.predict(batch).argmax(-1) == batch.labels).sum())
        step_loss, step_correct = model.train_step(batch, RATE)()
        assert step_loss == pytest.approx(loss, abs=1e-6)
        assert step_correct == correct
        assert type(step_loss) is float
        assert type(step_correct) is int


def test_losses_may_be_asked_for_later_and_in_any_order(build: BuildModel) -> None:
    batches = TRAINED["bert"].batches[:4]
    model = some_model(build)
    at_once = [model.train_step(batch, RATE)() for batch in batches]
    model = some_model(build)
    lazy = [model.train_step(batch, RATE) for batch in batches]
    later = {i: lazy[i]() for i in (2, 0, 3, 1)}
    assert [later[i] for i in range(4)] == at_once
    assert len(set(at_once)) == 4
    assert lazy[2]() == at_once[2]


def test_the_mean_loss_is_taken_over_the_rows_of_the_batch(build: BuildModel) -> None:
    a = TRAINED["bert"].architecture
    model = some_model(build)
    for rows, width in ((8, 24), (3, 24), (1, 7), (8, a.max_positions), (5, 3)):
        batch = random_batch(a, rows, width, seed=rows)
        logits = model.predict(batch).astype(np.float64)
        log_sum = np.log(np.exp(logits).sum(-1))
        expected = (log_sum - logits[np.arange(rows), batch.labels]).mean()
        assert model.gradients(batch).loss == pytest.approx(expected, abs=2e-6)
        assert model.train_step(batch, RATE)()[0] == pytest.approx(expected, abs=2e-6)


def test_rows_without_labels_are_predicted(untrained: Untrained) -> None:
    batch, model = TRAINED["bert"].batches[0], untrained("bert")
    unlabelled = replace(batch, labels=np.full_like(batch.labels, -1))
    assert np.array_equal(model.predict(unlabelled), model.predict(batch))


def test_at_rate_zero_a_step_changes_no_weight(build: BuildModel) -> None:
    case = TRAINED["bert"]
    model = some_model(build, recipe=replace(USUAL, decay=0.1))
    model.train_step(case.batches[0], 0.0)()
    assert equal(model.weights(), case.weights)


@pytest.mark.parametrize("kind", KINDS)
def test_looking_does_not_change_the_training(build: BuildModel, kind: Kind) -> None:
    case = TRAINED[kind]
    undisturbed, watched = some_model(build, kind), some_model(build, kind)
    for batch in case.batches[:3]:
        undisturbed.train_step(batch, RATE)
        before = watched.weights()
        watched.gradients(case.batches[3])
        watched.predict(case.batches[4])
        watched.hidden_states(case.batches[5])
        watched.hidden_states(case.batches[6], dropout=True)
        watched.peak_memory()
        watched.synchronize()
        assert equal(watched.weights(), before)
        watched.train_step(batch, RATE)
    assert equal(watched.weights(), undisturbed.weights())


def test_a_seed_decides_every_bit_of_the_weights(load: Load) -> None:
    """The same seed gives bit-equal weights, and another does not."""
    first = trained_with_dropout(load, seed=3, threads=THREADS)
    assert equal(trained_with_dropout(load, seed=3, threads=THREADS), first)
    assert not equal(trained_with_dropout(load, seed=4, threads=THREADS), first)


def test_two_processes_give_bit_equal_weights(tmp_path: Path) -> None:
    """Each has two threads and the same seed."""
    program = (
        "import importlib, os, sys, numpy\n"
        "from backends import BACKENDS\n"
        "from tests.backends.cases import trained_with_dropout\n"
        "adapter = importlib.import_module(BACKENDS[os.environ['CONCORD_TEST_BACKEND']].adapter)\n"
        "numpy.savez(sys.argv[1], **trained_with_dropout(adapter.load, seed=3, threads=2))\n"
    )
    files = tmp_path / "first.npz", tmp_path / "second.npz"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(file)], cwd=ROOT, env=environment) for file in files
    ]
    assert [process.wait() for process in processes] == [0, 0]
    with np.load(files[0]) as first, np.load(files[1]) as second:
        assert equal(dict(first), dict(second))


def test_each_dropout_pass_draws_other_numbers(build: BuildModel) -> None:
    a = replace(TRAINED["bert"].architecture, dropout=Dropout())
    model = build(a, TRAINED["bert"].weights)
    batch = TRAINED["bert"].batches[0]
    one, other = (model.hidden_states(batch, dropout=True).logits for _ in range(2))
    assert not np.array_equal(one, other)
    assert np.array_equal(model.predict(batch), model.predict(batch))


def test_peak_memory_is_that_of_this_process(untrained: Untrained) -> None:
    model = untrained("bert")
    before = peak_resident_memory()
    peak = model.peak_memory()
    assert isinstance(peak, int)
    assert before <= peak <= peak_resident_memory()


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_matter(untrained: Untrained, measured: Measured, kind: Kind) -> None:
    case, model = TRAINED[kind], untrained(kind)
    short = random_batch(case.architecture, rows=8, width=64, seed=2)
    padding = ((0, 0), (0, 64))
    padded = replace(
        short,
        input_ids=np.pad(short.input_ids, padding, constant_values=case.architecture.pad_id),
        token_type_ids=np.pad(short.token_type_ids, padding),
        attention_mask=np.pad(short.attention_mask, padding),
    )
    unmasked = replace(padded, attention_mask=np.ones_like(padded.attention_mask))
    logits = model.predict(short)
    measured(f"{kind}, logits at length 128 against 64", np.abs(model.predict(padded) - logits).max(), 1e-5)
    assert np.abs(model.predict(unmasked) - logits).max() > 1e-2  # so it is the mask that makes them equal


def test_a_gpu_that_is_not_there_is_refused(load: Load) -> None:
    case = TRAINED["bert"]
    with pytest.raises(InputError, match="cuda:99") as refusal:
        load(Build(case.architecture, case.weights, Recipe(), "cuda:99", THREADS))
    assert "\n" not in str(refusal.value)


def test_an_unknown_device_is_refused(load: Load) -> None:
    case = TRAINED["bert"]
    with pytest.raises(InputError, match="toaster"):
        load(Build(case.architecture, case.weights, Recipe(), "toaster", THREADS))


def test_two_models_live_side_by_side(build: BuildModel) -> None:
    a = architecture("bert", layers=1)
    weights = perturbed_weights(a)
    batches = [random_batch(a, 4, 10, seed) for seed in (1, 2)]
    alone = build(a, weights)
    for batch in batches:
        alone.train_step(batch, RATE)
    one, other = build(a, weights), build(a, weights)
    for batch in batches:
        one.train_step(batch, RATE)
        other.train_step(batches[0], RATE)
    assert equal(one.weights(), alone.weights())
