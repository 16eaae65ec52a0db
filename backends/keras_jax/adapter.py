"""JAX's adapter: the keras backend's network on JAX, one jitted program a step, its state donated.

Keras' variables hold no values here: each program takes the parameters as arguments and gives new ones. XLA compiles a
program for each shape. So batches come in repeated widths, and a short batch is filled up with rows of no weight.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from backends import BACKENDS
from backends.devices import peak_resident_memory
from backends.keras.network import build_network, parameters
from backends.keras_jax.optimizer import Arrays, State, clip, clip_at, settings, update
from backends.keras_jax.process import COMPILER, prepare
from shared.answer import Programs
from shared.architecture import Weights
from shared.batching import Batch
from shared.contract import Build, Gradients, HiddenStates, Lazy
from shared.job import stored


def load(build: Build) -> JaxModel:
    """The model of shared/contract.py. JAX takes its threads before its first operation and keeps them: a second call
    in one process with others raises RuntimeError.

    Raises InputError for a GPU that JAX does not see, a precision that it does not have there, and for `compile`: JAX
    compiles in any case.
    """
    return JaxModel(build, prepare(build))


class JaxModel:
    """A keras-hub network with an Adam of its own, as shared/contract.py wants it."""

    _clip, _update = staticmethod(clip), staticmethod(update)
    width_multiple = BACKENDS["keras-jax"].width_multiple(compile=False)

    def __init__(self, build: Build, device: Any) -> None:
        with keras.StatelessScope(initialize_variables=False):  # variables without values
            self._network, layers = build_network(build.architecture)
        self._parameters = parameters(build.architecture, layers)
        self._streams = self._network.non_trainable_variables  # one of each layer of dropout
        seeds = np.random.RandomState(build.recipe.seed)
        self._seeds = seeds.randint(2**32, size=len(self._streams), dtype=np.uint32)
        self._recipe, self._pad_id, self._device = build.recipe, build.architecture.pad_id, device
        self._dtype = np.dtype(stored(build.precision))
        self._steps = self._draws = 0
        first, second = ({p.name: self._put(np.zeros(p.variable.shape)) for p in self._parameters} for _ in "mv")
        self._state = State({}, first, second)
        self.set_weights(build.weights)
        self._train = jax.jit(self._train_program, donate_argnums=0)
        self._gradients = jax.jit(self._gradients_program)
        self._predict = jax.jit(lambda weights, rows: self._call(weights, rows)["logits"])
        self._states = jax.jit(self._call)

    def train_step(self, batch: Batch, learning_rate: float) -> Lazy:
        self._steps += 1
        arguments = self._rows(batch), self._labels(batch), self._keys(), self._settings(learning_rate)
        self._state, loss, correct = self._train(self._state, *arguments)
        return lambda: (float(loss), int(correct))

    def predict(self, batch: Batch) -> np.ndarray:
        return self._array(self._predict(self._state.weights, self._rows(batch)), batch)

    def gradients(self, batch: Batch) -> Gradients:
        arguments = self._rows(batch), self._labels(batch), clip_at(self._recipe, self._dtype)
        loss, raw, norm, clipped = self._gradients(self._state.weights, *arguments)
        return Gradients(float(loss), self._named(raw), float(norm), self._named(clipped))

    def hidden_states(self, batch: Batch, dropout: bool = False) -> HiddenStates:
        states = self._states(self._state.weights, self._rows(batch), self._keys() if dropout else None)
        return HiddenStates(**jax.tree.map(lambda array: self._array(array, batch), states))

    def weights(self) -> Weights:
        return self._named(self._state.weights)

    def set_weights(self, weights: Weights) -> None:
        new = {p.name: self._put(p.to_keras(weights[p.name])) for p in self._parameters}
        self._state = replace(self._state, weights=new)

    def synchronize(self) -> None:
        jax.block_until_ready(self._state)

    def peak_memory(self) -> int:
        if self._device.platform == "cpu":
            return peak_resident_memory()
        return int(self._device.memory_stats()["peak_bytes_in_use"])

    def programs(self) -> Programs:
        return COMPILER.programs()

    def _put(self, array: np.ndarray) -> Any:
        """A copy on the device, which may be donated."""
        return jax.device_put(np.array(array, self._dtype), self._device)

    def _array(self, array: Any, batch: Batch) -> np.ndarray:
        """The part of a result that belongs to the batch's own rows."""
        own: np.ndarray = np.asarray(array)[: len(batch.labels)].astype(self._dtype)
        return own

    def _named(self, arrays: Arrays) -> Weights:
        return {p.name: p.from_keras(np.asarray(arrays[p.name])) for p in self._parameters}

    def _missing(self, batch: Batch) -> int:
        """Rows that fill the batch up to the recipe's size, or a multiple of it."""
        return -len(batch.labels) % self._recipe.batch_size

    def _rows(self, batch: Batch) -> Arrays:
        names = {"token_ids": "input_ids", "segment_ids": "token_type_ids", "padding_mask": "attention_mask"}
        filling = ((0, self._missing(batch)), (0, 0))
        return {name: np.pad(getattr(batch, names[name]), filling) for name in self._network.input}

    def _labels(self, batch: Batch) -> np.ndarray:
        """int32, -1 for rows of no weight."""
        return np.pad(batch.labels.astype(np.int32), (0, self._missing(batch)), constant_values=-1)

    def _keys(self) -> np.ndarray:
        """Each dropout layer's key for its next draw, uint32 [layers, 2]: its seed, and the number of the draw."""
        self._draws += 1
        return np.stack([self._seeds, np.full_like(self._seeds, self._draws)], axis=1)

    def _settings(self, learning_rate: float) -> dict[str, Any]:
        return settings(self._recipe, learning_rate, self._steps, self._dtype)

    # What follows is traced, and runs as XLA's programs.

    def _call(self, weights: Arrays, rows: Arrays, keys: Any = None) -> dict[str, Any]:
        values = [(p.variable, weights[p.name]) for p in self._parameters]
        if keys is not None:
            values += zip(self._streams, keys, strict=True)
        with keras.StatelessScope(values, initialize_variables=False):
            states: dict[str, Any] = self._network(rows, training=keys is not None)
        return states

    def _loss_and_gradients(self, weights: Arrays, rows: Arrays, labels: Any, keys: Any) -> tuple[Any, Any, Arrays]:
        real = labels >= 0

        def loss(weights: Arrays) -> tuple[Any, Any]:
            logits = self._call(weights, rows, keys)["logits"]
            of_label = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)[:, 0]
            return -jnp.sum(of_label, where=real) / jnp.sum(real), logits

        (value, logits), gradients = jax.value_and_grad(loss, has_aux=True)(weights)
        return value, logits, self._without_pad(gradients)

    def _without_pad(self, gradients: Arrays) -> Arrays:
        """transformers gives the pad token's embedding no gradient, even where a text holds that token."""
        words = next(name for name in gradients if "word_embeddings" in name)
        return gradients | {words: gradients[words].at[self._pad_id].set(0)}

    def _gradients_program(self, weights: Arrays, rows: Arrays, labels: Any, bound: Any) -> tuple[Any, ...]:
        loss, _, gradients = self._loss_and_gradients(weights, rows, labels, keys=None)
        return loss, gradients, *self._clip(gradients, bound)

    def _train_program(
        self, state: State, rows: Arrays, labels: Any, keys: Any, settings: Arrays
    ) -> tuple[State, Any, Any]:
        loss, logits, gradients = self._loss_and_gradients(state.weights, rows, labels, keys)
        _, gradients = self._clip(gradients, settings["clip"])
        correct = jnp.sum(jnp.argmax(logits, axis=-1) == labels)
        return self._update(state, gradients, self._recipe.decays, settings["step"]), loss, correct
