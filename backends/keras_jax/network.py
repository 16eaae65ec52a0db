"""The keras backend's network as pure functions of its parameters, and the programs that XLA makes of them.

Keras' variables hold no values here: each program takes the parameters as arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import keras

from backends.keras.forward import Padded, Rows
from backends.keras.network import build_network, parameters
from backends.keras_jax.optimizer import Arrays, State, clip, update
from shared.architecture import Architecture
from shared.job import Precision


@dataclass(frozen=True)
class Packed:
    """See `backends.keras.forward.Rows`. The arrays are those of `backends.keras.laid.Laid`, filled up."""

    ids: Any
    types: Any
    mask: Any
    numbers: Any
    places: Any
    tokens: Any
    starts: Any
    redraws = False

    def positions(self, table: Any, words: Any) -> Any:
        return _taken(table, self.numbers)

    def apart(self, tokens: Any) -> Any:
        return _taken(tokens, self.tokens)

    def joined(self, rows: Any) -> Any:
        return _taken(rows.reshape(-1, rows.shape[-1]), self.places)

    def first(self, tokens: Any) -> Any:
        return _taken(tokens, self.starts)


def _taken(array: Any, places: Any) -> Any:
    """Rows of the array. All places are in it."""
    return array.at[places].get(mode="promise_in_bounds")


for kind in (Padded, Packed):
    jax.tree_util.register_dataclass(kind)


class Network:
    """A keras-hub network under a classifier. Its programs are compiled for each shape of their arguments:

    predict(weights, rows) -> logits [b, labels]
    states(weights, rows, keys) -> the tensors that HiddenStates names; dropout is on if there are keys
    gradients(weights, rows, labels, bound) -> loss, gradients, their norm, and the gradients clipped at `bound`
    train(state, rows, labels, keys, bound, settings, decayed) -> the next state, loss, and the number of correct rows

    `rows` are a batch's arrays, `labels` int32 [b] with -1 for rows of no weight, `keys` uint32
    [layers of dropout, 2]. `train` reuses the memory of the state that it is given.
    """

    def __init__(self, architecture: Architecture) -> None:
        with keras.StatelessScope(initialize_variables=False):  # variables without values
            self.keras_network, self._stack, layers = build_network(architecture)
        self.parameters = parameters(architecture, layers)
        self.streams = self.keras_network.non_trainable_variables  # one for each layer of dropout
        self._pad_id = architecture.pad_id
        self.predict = jax.jit(partial(self._call, self._stack.logits))
        self.states = jax.jit(partial(self._call, self._stack.states))
        self.gradients = jax.jit(self._gradients)
        self.train = jax.jit(self._train, donate_argnums=0, static_argnames="decayed")

    def _call(self, call: Callable[[Rows, bool], Any], weights: Arrays, rows: Rows, keys: Any = None) -> Any:
        values = [(p.variable, weights[p.name]) for p in self.parameters]
        if keys is not None:
            values += zip(self.streams, keys, strict=True)
        with keras.StatelessScope(values, initialize_variables=False):
            return call(rows, keys is not None)

    def _loss_and_gradients(self, weights: Arrays, rows: Rows, labels: Any, keys: Any) -> tuple[Any, Any, Arrays]:
        real = labels >= 0

        def loss(weights: Arrays) -> tuple[Any, Any]:
            logits = self._call(self._stack.logits, weights, rows, keys)
            of_label = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)[:, 0]
            return -jnp.sum(of_label, where=real) / jnp.sum(real), logits

        (value, logits), gradients = jax.value_and_grad(loss, has_aux=True)(weights)
        return value, logits, self._without_pad(gradients)

    def _without_pad(self, gradients: Arrays) -> Arrays:
        """Removes the pad token's gradient: transformers gives that embedding none, even if a text holds the token."""
        words = next(name for name in gradients if "word_embeddings" in name)
        return gradients | {words: gradients[words].at[self._pad_id].set(0)}

    def _clip(self, gradients: Arrays, bound: Any) -> tuple[Any, Arrays]:
        return clip(gradients, bound)

    def _update(self, state: State, gradients: Arrays, decayed: frozenset[str], settings: Any) -> State:
        return update(state, gradients, decayed, settings)

    def _gradients(self, weights: Arrays, rows: Rows, labels: Any, bound: Any) -> tuple[Any, Arrays, Any, Arrays]:
        loss, _, gradients = self._loss_and_gradients(weights, rows, labels, keys=None)
        return loss, gradients, *self._clip(gradients, bound)

    def _train(
        self, state: State, rows: Rows, labels: Any, keys: Any, bound: Any, settings: Any, decayed: frozenset[str]
    ) -> tuple[State, Any, Any]:
        loss, logits, gradients = self._loss_and_gradients(state.weights, rows, labels, keys)
        _, gradients = self._clip(gradients, bound)
        correct = jnp.sum(jnp.argmax(logits, axis=-1) == labels)
        return self._update(state, gradients, decayed, settings), loss, correct


@lru_cache(maxsize=4)
def shared_network(architecture: Architecture, precision: Precision) -> Network:
    """The network of all models of one architecture and precision in this process: they share its programs."""
    return Network(architecture)
