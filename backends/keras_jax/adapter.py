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
from backends.keras.forward import Padded, Rows
from backends.keras.laid import Laid
from backends.keras_jax.network import Network, Packed, shared_network
from backends.keras_jax.optimizer import Arrays, State, clip_at, settings
from backends.keras_jax.process import COMPILER, prepare
from backends.word_rows import RestRows
from shared.answer import Programs
from shared.architecture import Weights
from shared.batching import Batch
from shared.contract import Build, Gradients, HiddenStates, Lazy
from shared.job import stored

TOKENS_A_ROW = 4
"""Without padding a batch's tokens are filled up to a multiple of this times the batch size: two tokens a row more on
average, and few programs."""


def load(build: Build) -> JaxModel:
    """Builds the model (see `shared.contract.Load`).

    JAX takes its threads before its first operation and keeps them: a second call in one process with another number
    raises RuntimeError. Raises InputError for a GPU that JAX does not see, for a precision that the device lacks, and
    for `compile`, as JAX always compiles.
    """
    device = prepare(build)
    rest = RestRows.of(build)
    architecture = build.architecture if rest is None else rest.rows.small(build.architecture)
    return JaxModel(build, device, shared_network(architecture, build.precision), rest)


class JaxModel:
    """See `shared.contract.Model` and `Compiled`. A network's parameters and moments, and what counts its steps.

    If the word embedding is updated by rows, the network that trains has the block for its vocabulary, and another one,
    which takes no steps, the whole of it."""

    width_multiple = BACKENDS["keras-jax"].width_multiple(compile=False)

    def __init__(self, build: Build, device: Any, network: Network, rest: RestRows | None = None) -> None:
        self._network, self._device, self._recipe = network, device, build.recipe
        self._rest = rest
        self._evaluated = network if rest is None else shared_network(build.architecture, build.precision)
        self._whole: Arrays = {}  # the whole word embedding, while it is as the last step left it
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
        batch = self._placed(batch)
        if self._rest is not None:
            self._rest.step(learning_rate)
        self._whole = {}
        self._steps += 1
        numbers = np.array(self._settings(learning_rate), self._dtype)
        self._state, loss, correct = self._network.train(
            self._state, self._rows(batch), self._labels(batch), self._keys(), self._bound(), numbers, self._decayed
        )
        return lambda: (float(loss), int(correct))

    def predict(self, batch: Batch) -> np.ndarray:
        return self._array(self._evaluated.predict(self._whole_weights(), self._rows(batch)), batch)

    def gradients(self, batch: Batch) -> Gradients:
        batch = self._placed(batch)
        loss, raw, norm, clipped = self._network.gradients(
            self._state.weights, self._rows(batch), self._labels(batch), self._bound()
        )
        return Gradients(float(loss), self._spread(raw), float(norm), self._spread(clipped))

    def hidden_states(self, batch: Batch, dropout: bool = False) -> HiddenStates:
        keys = self._keys() if dropout else None
        states = self._evaluated.states(self._whole_weights(), self._rows(batch), keys)
        return HiddenStates(**jax.tree.map(lambda array: self._array(array, batch), states))

    def weights(self) -> Weights:
        found = self._named(self._state.weights)
        if self._rest is None:
            return found
        return found | {self._rest.rows.name: self._rest.whole(found[self._rest.rows.name])}

    def set_weights(self, weights: Weights) -> None:
        self._whole = {}
        if self._rest is not None:
            weights = weights | {self._rest.rows.name: self._rest.take(weights[self._rest.rows.name])}
        new = {p.name: self._put(p.to_keras(weights[p.name])) for p in self._network.parameters}
        self._state = replace(self._state, weights=new)

    def state(self) -> Iterator[tuple[str, np.ndarray]]:
        yield "steps", np.array([self._steps, self._draws])
        if self._rest is not None:
            yield from self._rest.state()
        for part in fields(State):
            for name, array in getattr(self._state, part.name).items():
                yield f"{part.name}/{name}", np.asarray(array)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._steps, self._draws = map(int, state["steps"])
        self._whole = {}
        if self._rest is not None:
            self._rest.restore(state)
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

    def _spread(self, gradients: Arrays) -> Weights:
        found = self._named(gradients)
        if self._rest is None:
            return found
        rows = self._rest.rows
        return found | {rows.name: rows.spread(found[rows.name])}

    def _placed(self, batch: Batch) -> Batch:
        """A batch to train on, by the network's ids."""
        return batch if self._rest is None else self._rest.rows.placed(batch)

    def _whole_weights(self) -> Arrays:
        """The parameters, with the whole word embedding."""
        if self._rest is not None and not self._whole:
            name = self._rest.rows.name
            self._whole = {name: self._put(self._rest.whole(np.asarray(self._state.weights[name])))}
        return self._state.weights | self._whole

    def _filling(self, batch: Batch) -> tuple[int, int]:
        """Rows up to a multiple of the recipe's batch size, and tokens up to one of `width_multiple` if the network has
        so many positions."""
        rows, width = batch.input_ids.shape
        return -rows % self._recipe.batch_size, min(-width % self.width_multiple, self._max_width - width)

    def _rows(self, batch: Batch) -> Rows:
        filling = [(0, missing) for missing in self._filling(batch)]
        ids, types, mask = (np.pad(a, filling) for a in (batch.input_ids, batch.token_type_ids, batch.attention_mask))
        if self._recipe.padding != "none":
            return Padded(ids, types, mask)
        return Packed(*Laid.of(ids, types, mask).filled(TOKENS_A_ROW * self._recipe.batch_size))

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
