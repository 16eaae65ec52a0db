"""The adapter of JAX with Keras: the keras backend's network, one jitted program a step, its state donated.

XLA compiles a program for each shape. So batches are filled up to repeated shapes, by rows of no weight and by padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import jax
import numpy as np

from backends import BACKENDS
from backends.devices import peak_resident_memory
from backends.keras_jax.network import Network, shared_network
from backends.keras_jax.optimizer import Arrays, State, clip_at, settings
from backends.keras_jax.process import COMPILER, prepare
from shared.answer import Programs
from shared.architecture import Weights
from shared.batching import Batch
from shared.contract import Build, Gradients, HiddenStates, Lazy
from shared.job import stored


def load(build: Build) -> JaxModel:
    """Builds the model (see `shared.contract.Load`).

    JAX takes its threads before its first operation and keeps them: a second call in one process with another number
    raises RuntimeError. Raises InputError for a GPU that JAX does not see, for a precision that the device lacks, and
    for `compile`, as JAX always compiles.
    """
    device = prepare(build)
    return JaxModel(build, device, shared_network(build.architecture, build.precision))


class JaxModel:
    """See `shared.contract.Model` and `Compiled`. A network's parameters and moments, and what counts its steps."""

    width_multiple = BACKENDS["keras-jax"].width_multiple(compile=False)

    def __init__(self, build: Build, device: Any, network: Network) -> None:
        self._network, self._device, self._recipe = network, device, build.recipe
        self._dtype = np.dtype(stored(build.precision))
        self._max_width = build.architecture.max_positions
        decaying = replace(build.recipe, decay=1.0)  # a decay of 0 has no program of its own
        self._decayed = frozenset(p.name for p in network.parameters if decaying.decays(p.name))
        seeds = np.random.RandomState(build.recipe.seed)
        self._seeds = seeds.randint(2**32, size=len(network.streams), dtype=np.uint32)
        self._steps = self._draws = 0
        first, second = ({p.name: self._put(np.zeros(p.variable.shape)) for p in network.parameters} for _ in "mv")
        self._state = State({}, first, second)
        self.set_weights(build.weights)

    def train_step(self, batch: Batch, learning_rate: float) -> Lazy:
        self._steps += 1
        numbers = np.array(self._settings(learning_rate), self._dtype)
        self._state, loss, correct = self._network.train(
            self._state, self._rows(batch), self._labels(batch), self._keys(), self._bound(), numbers, self._decayed
        )
        return lambda: (float(loss), int(correct))

    def predict(self, batch: Batch) -> np.ndarray:
        return self._array(self._network.predict(self._state.weights, self._rows(batch)), batch)

    def gradients(self, batch: Batch) -> Gradients:
        loss, raw, norm, clipped = self._network.gradients(
            self._state.weights, self._rows(batch), self._labels(batch), self._bound()
        )
        return Gradients(float(loss), self._named(raw), float(norm), self._named(clipped))

    def hidden_states(self, batch: Batch, dropout: bool = False) -> HiddenStates:
        keys = self._keys() if dropout else None
        states = self._network.states(self._state.weights, self._rows(batch), keys)
        return HiddenStates(**jax.tree.map(lambda array: self._array(array, batch), states))

    def weights(self) -> Weights:
        return self._named(self._state.weights)

    def set_weights(self, weights: Weights) -> None:
        new = {p.name: self._put(p.to_keras(weights[p.name])) for p in self._network.parameters}
        self._state = replace(self._state, weights=new)

    def state(self) -> Iterator[tuple[str, np.ndarray]]:
        yield "steps", np.array([self._steps, self._draws])
        for part in fields(State):
            for name, array in getattr(self._state, part.name).items():
                yield f"{part.name}/{name}", np.asarray(array)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._steps, self._draws = map(int, state["steps"])
        names = [p.name for p in self._network.parameters]
        parts = (part.name for part in fields(State))
        self._state = State(**{part: {name: self._put(state[f"{part}/{name}"]) for name in names} for part in parts})

    def synchronize(self) -> None:
        jax.block_until_ready(self._state)

    def peak_memory(self) -> int:
        if self._device.platform == "cpu":
            return peak_resident_memory()
        return int(self._device.memory_stats()["peak_bytes_in_use"])

    def programs(self) -> Programs:
        return COMPILER.programs()

    def _put(self, array: np.ndarray) -> Any:
        """Copies the array to the device. The copy may be donated."""
        return jax.device_put(np.array(array, self._dtype), self._device)

    def _array(self, array: Any, batch: Batch) -> np.ndarray:
        """Cuts what fills the batch up off a result [b, labels], [b, width] or [b, s, width]."""
        own = tuple(slice(size) for size in batch.input_ids.shape)[: array.ndim - 1]
        found: np.ndarray = np.asarray(array)[own].astype(self._dtype)
        return found

    def _named(self, arrays: Arrays) -> Weights:
        return {p.name: p.from_keras(np.asarray(arrays[p.name])) for p in self._network.parameters}

    def _filling(self, batch: Batch) -> tuple[int, int]:
        """Rows up to a multiple of the recipe's batch size, and tokens up to one of `width_multiple` if the network has
        so many positions."""
        rows, width = batch.input_ids.shape
        return -rows % self._recipe.batch_size, min(-width % self.width_multiple, self._max_width - width)

    def _rows(self, batch: Batch) -> Arrays:
        names = {"token_ids": "input_ids", "segment_ids": "token_type_ids", "padding_mask": "attention_mask"}
        filling = [(0, missing) for missing in self._filling(batch)]
        return {name: np.pad(getattr(batch, names[name]), filling) for name in self._network.keras_network.input}

    def _labels(self, batch: Batch) -> np.ndarray:
        return np.pad(batch.labels.astype(np.int32), (0, self._filling(batch)[0]), constant_values=-1)

    def _keys(self) -> np.ndarray:
        """Each dropout layer's key for its next draw: its seed, and the number of the draw."""
        self._draws += 1
        return np.stack([self._seeds, np.full_like(self._seeds, self._draws)], axis=1)

    def _bound(self) -> np.ndarray:
        return np.array(clip_at(self._recipe), self._dtype)

    def _settings(self, learning_rate: float) -> list[float]:
        return settings(self._recipe, learning_rate, self._steps)
