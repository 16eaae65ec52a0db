"""Keras' and keras-hub's standard parts on JAX, in place of the adapter's."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
from keras.src.optimizers.base_optimizer import clip_by_global_norm, global_norm

from backends.keras.network import unrepair
from backends.keras_jax.adapter import JaxModel
from backends.keras_jax.network import Network
from backends.keras_jax.optimizer import Arrays, State
from backends.keras_jax.process import prepare
from backends.parts import check_mode
from shared.contract import Build, Model

OPTIMIZER = {"adamw", "decay"}
"""Parts that are Keras' AdamW."""


def load(build: Build, parts: Collection[str]) -> Model:
    """Builds the model with the parts of these names in `backends.parts.PARTS` (see `shared.contract.Load`). Raises
    InputError for other precisions than float32 and float64, and for `compile`."""
    check_mode(build)
    return StockModel(build, prepare(build), frozenset(parts))


class StockNetwork(Network):
    """The adapter's network with some of Keras' own parts."""

    def __init__(self, build: Build, parts: frozenset[str]) -> None:
        super().__init__(build.architecture)
        recipe = build.recipe
        self._parts, self._clips = parts, recipe.clip is not None
        with keras.StatelessScope(initialize_variables=False):
            unrepair(self.keras_network, parts)
        self._optimizer = keras.optimizers.AdamW(
            weight_decay=recipe.decay, beta_1=recipe.beta1, beta_2=recipe.beta2, epsilon=recipe.eps
        )
        if "decay" not in parts:
            self._optimizer.exclude_from_weight_decay(
                var_list=[p.variable for p in self.parameters if not recipe.decays(p.name)]
            )
        self._optimizer.build([p.variable for p in self.parameters])

    def _without_pad(self, gradients: Arrays) -> Arrays:
        return gradients if "pad" in self._parts else super()._without_pad(gradients)

    def _clip(self, gradients: Arrays, bound: Any) -> tuple[Any, Arrays]:
        if "clipping" not in self._parts or not self._clips:
            return super()._clip(gradients, bound)
        clipped = clip_by_global_norm(list(gradients.values()), bound)
        return global_norm(list(gradients.values())), dict(zip(gradients, clipped, strict=True))

    def _update(self, state: State, gradients: Arrays, decayed: frozenset[str], settings: Any) -> State:
        if not self._parts & OPTIMIZER:
            return super()._update(state, gradients, decayed, settings)
        optimizer, names = self._optimizer, [p.name for p in self.parameters]
        held = {
            "weights": [p.variable for p in self.parameters],
            "first": optimizer._momentums,
            "second": optimizer._velocities,
        }
        rate, taken = settings
        values = [(optimizer.iterations, taken.astype(int)), (optimizer._learning_rate, rate)]
        for kind, variables in held.items():
            values += [(v, getattr(state, kind)[name]) for v, name in zip(variables, names, strict=True)]
        with keras.StatelessScope(values, initialize_variables=False) as scope:
            optimizer.apply([gradients[name] for name in names], held["weights"])
            return State(
                **{
                    kind: {name: scope.get_current_value(v) for v, name in zip(variables, names, strict=True)}
                    for kind, variables in held.items()
                }
            )


class StockModel(JaxModel):
    """The adapter's model of such a network."""

    def __init__(self, build: Build, device: Any, parts: frozenset[str]) -> None:
        super().__init__(build, device, StockNetwork(build, parts))
        self._own_optimizer = not parts & OPTIMIZER

    def _settings(self, learning_rate: float) -> list[float]:
        return super()._settings(learning_rate) if self._own_optimizer else [learning_rate, self._steps - 1]
