"""The recorder takes what a framework has: models, tensors, gradients. Tests are those of the framework of the backend
that CONCORD_TEST_BACKEND names."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import BACKENDS
from recorder.concord_recorder import Pack, Recorder, RecorderError, Run, as_array
from shared.architecture import Weights
from tests.packs import HIDDEN, ROWS, TOKENS, VOCABULARY, WIDTH, write_pack

BACKEND = os.environ.get("CONCORD_TEST_BACKEND", "")
VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
IDS = np.arange(ROWS * TOKENS).reshape(ROWS, TOKENS) % VOCABULARY


@pytest.fixture
def train(tmp_path: Path) -> Run:
    return next(run for run in Pack(write_pack(tmp_path / "pack")).all_runs if run.name == "train")


@pytest.fixture
def record(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "recording")


def recorded(record: Recorder, place: str) -> Weights:
    with np.load(Path(record.folder) / f"{place}.npz") as file:
        return dict(file)


def same(array: np.ndarray, expected: Any = VALUES) -> None:
    assert array.dtype == np.float32
    assert np.array_equal(array, expected)


if BACKEND == "torch":
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel, DistilBertConfig, DistilBertModel

    from recorder import concord_torch

    SIZES = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }

    def test_tensors_of_torch() -> None:
        tensor = torch.tensor(VALUES, requires_grad=True)
        same(as_array(tensor * 1, "x"))
        same(as_array(tensor.bfloat16(), "x"))
        same(as_array(tensor.half().T, "x"), VALUES.T)
        same(as_array(torch.nn.Parameter(tensor.detach()), "x"))
        same(as_array(tensor.detach().to_sparse(), "x"))
        same(as_array(torch.tensor(VALUES).requires_grad_().to(torch.float8_e4m3fn), "x"))
        assert as_array(tensor.double(), "x").dtype == np.float64
        assert as_array(torch.tensor([1, 2]), "x").dtype == np.int64
        copy = as_array(tensor, "x")
        with torch.no_grad():
            tensor += 1
        same(copy)

    def test_a_module_of_torch(train: Run, record: Recorder) -> None:
        model = torch.nn.Sequential(torch.nn.Embedding(4, 3, sparse=True), torch.nn.Linear(3, 1))
        names = ["0.weight", "1.weight", "1.bias"]
        record(train, parameters=model)
        model(torch.tensor([1, 1, 2])).sum().backward()
        record(train.steps[0], gradients=model)
        assert list(recorded(record, "train/0/parameters")) == list(recorded(record, "train/1/gradients")) == names
        rows = recorded(record, "train/1/gradients")["0.weight"]
        weight = model[1].weight.detach().numpy()[0]
        assert np.allclose(rows, np.outer([0, 2, 1, 0], weight))
        losses = model(torch.tensor([1, 1, 2])).sum()
        record(
            train.steps[1],
            gradients=torch.autograd.grad(losses, [model[0].weight, *model[1].parameters()]),
            loss=losses,
        )
        assert list(recorded(record, "train/2/gradients")) == names
        record(train.steps[0], parameters=torch.compile(model))
        record(train.steps[1], parameters=torch.compile(model).state_dict())
        assert list(recorded(record, "train/1/parameters")) == list(recorded(record, "train/2/parameters")) == names

    def test_the_watcher_of_torch_sees_what_transformers_gives(train: Run, record: Recorder) -> None:
        config = BertConfig(**SIZES, hidden_dropout_prob=0, attention_probs_dropout_prob=0)
        model = BertForSequenceClassification(config)
        watch = concord_torch.Watch(model)
        output = model(torch.tensor(IDS), output_hidden_states=True)
        states = {"embeddings": output.hidden_states[0], "layers": list(output.hidden_states[1:])}
        assert set(watch.hidden) == set(HIDDEN)
        record(train.steps[0], hidden=watch.hidden)
        record(train.steps[1], hidden=states)
        seen, told = recorded(record, "train/1/hidden"), recorded(record, "train/2/hidden")
        assert all(np.array_equal(seen[name], told[name]) for name in told)
        assert np.array_equal(seen["pooled"], model.bert(torch.tensor(IDS)).pooler_output.detach().numpy())
        kept = dict(watch.hidden)
        watch.remove()
        model(torch.tensor(IDS + 1) % VOCABULARY)
        assert all(watch.hidden[name] is kept[name] for name in kept)
        other = concord_torch.Watch(
            DistilBertModel(DistilBertConfig(vocab_size=VOCABULARY, dim=WIDTH, n_heads=2, n_layers=2, hidden_dim=16))
        )
        assert not other.hidden
        with pytest.raises(RecorderError, match=r"pooled: no path matches nowhere; paths are "):
            concord_torch.Watch(model, pooled="nowhere")

    def test_an_output_of_transformers_is_hidden_states(train: Run, record: Recorder) -> None:
        model = BertModel(BertConfig(**SIZES))
        record(train.steps[0], hidden=model(torch.tensor(IDS), output_hidden_states=True))
        assert set(recorded(record, "train/1/hidden")) == set(HIDDEN)


if BACKEND in ("keras", "keras-jax"):
    # The adapter chooses the engine.
    importlib.import_module(BACKENDS[BACKEND].adapter)
    import keras

    from recorder import concord_keras

    @pytest.fixture(autouse=True)
    def kerass_own_types() -> None:
        """Makes layers of float32. The adapter sets the types of a process, as an earlier test may have done."""
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")

    def keras_model() -> Any:
        inputs = keras.Input((TOKENS,), dtype="int32")
        states = keras.layers.Embedding(VOCABULARY, WIDTH, name="embeddings")(inputs)
        for n in range(2):
            states = keras.layers.Dense(WIDTH, activation="tanh", name=f"layer_{n}")(states)
        pooled = keras.layers.Dense(WIDTH, name="pooler")(states[:, 0])
        return keras.Model(inputs, keras.layers.Dense(2, name="classifier")(pooled))

    NAMES = [
        "embeddings/embeddings",
        *(f"{layer}/{kind}" for layer in ("layer_0", "layer_1", "pooler", "classifier") for kind in ("kernel", "bias")),
    ]

    def test_a_model_of_keras_and_its_optimizer_are_watched(train: Run, record: Recorder) -> None:
        model = keras_model()
        model.compile(keras.optimizers.SGD(0.5), "mse", run_eagerly=True, jit_compile=False)
        watch = concord_keras.Watch(model, model.optimizer)
        record(train, parameters=model)
        loss = model.train_on_batch(IDS, np.ones((ROWS, 2), np.float32))
        record(train.steps[0], hidden=watch.hidden, gradients=watch.gradients, loss=loss, parameters=model)
        before, after = recorded(record, "train/0/parameters"), recorded(record, "train/1/parameters")
        gradients, hidden = recorded(record, "train/1/gradients"), recorded(record, "train/1/hidden")
        assert list(before) == list(gradients) == NAMES
        assert {name: list(array.shape) for name, array in hidden.items()} == HIDDEN
        for name in NAMES:
            assert np.allclose(before[name] - 0.5 * gradients[name], after[name], atol=1e-6), name
        assert np.array_equal(hidden["embeddings"], before["embeddings/embeddings"][IDS])

    def test_gradients_of_a_compiled_step_are_refused() -> None:
        model = keras_model()
        model.compile(keras.optimizers.SGD(0.5), "mse")
        concord_keras.Watch(None, model.optimizer)
        with pytest.raises(RecorderError, match=r"no values inside a compiled function; compile\(run_eagerly=True"):
            model.train_on_batch(IDS, np.ones((ROWS, 2), np.float32))

    def test_a_second_model_of_keras_has_the_first_ones_names(train: Run, record: Recorder) -> None:
        def model() -> Any:
            made = keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(2)])
            made.build((None, 4))
            return made

        pack = train.pack
        record(next(run for run in pack.runs if run.name == "eval"), parameters=model())
        record(train, parameters=model())
        first, second = recorded(record, "eval/0/parameters"), recorded(record, "train/0/parameters")
        assert list(first) == list(second)
        assert len(first) == 4


if BACKEND == "keras":
    import tensorflow as tf

    def test_tensors_of_tensorflow() -> None:
        same(as_array(tf.constant(VALUES), "x"))
        same(as_array(tf.cast(VALUES, tf.bfloat16), "x"))
        same(as_array(tf.Variable(VALUES), "x"))
        slices = tf.IndexedSlices(tf.constant(VALUES), tf.constant([1, 1]), tf.constant([3, 3]))
        same(as_array(slices, "x"), [[0, 0, 0], VALUES[0] + VALUES[1], [0, 0, 0]])

    def test_gradients_of_a_tape(train: Run, record: Recorder) -> None:
        """As a list in the order of the variables, and as pairs; those of an embedding are by row."""
        model = keras_model()
        record(train, parameters=model)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(IDS))
        gradients = tape.gradient(loss, model.trainable_variables)
        assert isinstance(gradients[0], tf.IndexedSlices)
        record(train.steps[0], gradients=gradients)
        record(train.steps[1], gradients=list(zip(gradients, model.trainable_variables, strict=True)))
        first, second = recorded(record, "train/1/gradients"), recorded(record, "train/2/gradients")
        assert list(first) == list(second) == NAMES
        assert all(np.array_equal(first[name], second[name]) for name in NAMES)
        same(first[NAMES[0]], tf.convert_to_tensor(gradients[0]).numpy())

    def test_results_of_a_session(train: Run, record: Recorder) -> None:
        """TensorFlow 1's way: values of a graph, and slices as session.run gives them."""
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            table = tf.compat.v1.get_variable("bert/table", initializer=VALUES, use_resource=False)
            loss = tf.reduce_sum(tf.gather(table, [1, 1]))
            slices = tf.gradients(loss, [table])[0]
            session.run(tf.compat.v1.global_variables_initializer())
            record(train, parameters=[(variable.name, session.run(variable)) for variable in [table]])
            with pytest.raises(RecorderError, match=r"train/1: loss: .* does not become an array"):
                record(train.steps[0], loss=loss)
            record(train.steps[0], gradients={"bert/table:0": session.run(slices)}, loss=session.run(loss))
        assert list(recorded(record, "train/0/parameters")) == ["bert/table"]
        same(recorded(record, "train/1/gradients")["bert/table"], [[0, 0, 0], [2, 2, 2]])


if BACKEND == "keras-jax":
    import jax
    import jax.numpy as jnp

    from recorder.concord_jax import hidden_of

    def test_arrays_of_jax(train: Run, record: Recorder) -> None:
        tree = {"layers": [{"w": jnp.asarray(VALUES), "b": jnp.ones(3, jnp.bfloat16)}], "scale": jnp.float32(2)}
        record(train, parameters=tree)
        gradients = jax.grad(lambda tree: (tree["layers"][0]["w"] ** 2).sum())(tree)
        record(train.steps[0], gradients=gradients)
        assert list(recorded(record, "train/0/parameters")) == ["layers/0/w", "layers/0/b", "scale"]
        same(recorded(record, "train/0/parameters")["layers/0/b"], [1, 1, 1])
        same(recorded(record, "train/1/gradients")["layers/0/w"], 2 * VALUES)

    def test_a_traced_array_is_refused() -> None:
        def step(values: Any) -> Any:
            as_array(values, "train/1: loss")
            return values

        with pytest.raises(RecorderError, match=r"train/1: loss: .*Tracer does not become an array"):
            jax.jit(step)(VALUES)

    def test_hidden_states_of_flax_are_found_in_its_intermediates() -> None:
        """A tree as flax.linen's capture_intermediates gives it; flax is in no environment here."""

        def module(value: float, **inner: Any) -> dict[str, Any]:
            return {"__call__": ((jnp.full((1,), value), None),), **inner}

        layers = {str(n): module(n + 1, attention=module(9)) for n in range(2)}
        tree = {"bert": module(9, embeddings=module(0), encoder=module(9, layer=module(9, **layers)), pooler=module(5))}
        found = hidden_of(tree)
        assert {name: float(array[0]) for name, array in found.items()} == {
            "embeddings": 0,
            "layers/0": 1,
            "layers/1": 2,
            "pooled": 5,
        }


if BACKEND == "gluon":
    import mxnet as mx

    def test_a_block_of_mxnet(train: Run, record: Recorder) -> None:
        block = mx.gluon.nn.HybridSequential()
        block.add(mx.gluon.nn.Embedding(4, 3), mx.gluon.nn.Dense(1, in_units=3))
        block.initialize(mx.init.Normal(1))
        record(train, parameters=block)
        with mx.autograd.record():
            loss = block(mx.nd.array([1, 1, 2])).sum()
        loss.backward()
        record(train.steps[0], gradients=block, loss=loss)
        parameters, gradients = recorded(record, "train/0/parameters"), recorded(record, "train/1/gradients")
        assert list(parameters) == list(gradients) == ["0.weight", "1.weight", "1.bias"]
        same(parameters["1.weight"], block[1].weight.data().asnumpy())
        assert np.allclose(gradients["0.weight"], np.outer([0, 2, 1, 0], parameters["1.weight"][0]))
