"""Keras' and keras-hub's standard parts on JAX, in the adapter's place."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import keras
import numpy as np
from keras.src.optimizers.base_optimizer import clip_by_global_norm, global_norm

from backends.keras.network import unrepair
from backends.keras_jax.adapter import JaxModel
from backends.keras_jax.optimizer import Arrays, State, clip, clip_at, update
from backends.keras_jax.process import prepare
from backends.parts import check_mode
from shared.contract import Build, Model

OPTIMIZER = {"adamw", "decay"}
"""Parts that are Keras' AdamW."""


def load(build: Build, parts: Collection[str]) -> Model:
    """See `shared.contract.Load`; `parts` are names of `backends.parts.PARTS`. Raises InputError for other precisions
    than float32 and float64, and for `compile`."""
    check_mode(build)
    return StockModel(build, prepare(build), frozenset(parts))


class StockModel(JaxModel):
    """The adapter's model with some of Keras' own parts."""

    def __init__(self, build: Build, device: Any, parts: frozenset[str]) -> None:
        super().__init__(build, device)
        recipe = build.recipe
        self._parts = parts
        with keras.StatelessScope(initialize_variables=False):
            unrepair(self._network, parts)
        self._optimizer = keras.optimizers.AdamW(
            weight_decay=recipe.decay, beta_1=recipe.beta1, beta_2=recipe.beta2, epsilon=recipe.eps
        )
        if "decay" not in parts:
            self._optimizer.exclude_from_weight_decay(
                var_list=[p.variable for p in self._parameters if not recipe.decays(p.name)]
            )
        self._optimizer.build([p.variable for p in self._parameters])

    def _settings(self, learning_rate: float) -> dict[str, Any]:
        if not self._parts & OPTIMIZER:
            return super()._settings(learning_rate)
        step = {"rate": np.array(learning_rate, self._dtype), "taken": np.array(self._steps - 1, np.int32)}
        return {"clip": clip_at(self._recipe, self._dtype), "step": step}

    def _without_pad(self, gradients: Arrays) -> Arrays:
        return gradients if "pad" in self._parts else super()._without_pad(gradients)

    def _clip(self, gradients: Arrays, bound: Any) -> tuple[Any, Arrays]:
        if "clipping" not in self._parts or bound is None:
            return clip(gradients, bound)
        clipped = clip_by_global_norm(list(gradients.values()), bound)
        return global_norm(list(gradients.values())), dict(zip(gradients, clipped, strict=True))

    def _update(self, state: State, gradients: Arrays, decays: Callable[[str], bool], settings: Any) -> State:
        if not self._parts & OPTIMIZER:
            return update(state, gradients, decays, settings)
        optimizer, names = self._optimizer, [p.name for p in self._parameters]
        held = {
            "weights": [p.variable for p in self._parameters],
            "first": optimizer._momentums,
            "second": optimizer._velocities,
        }
        values = [(optimizer.iterations, settings["taken"]), (optimizer._learning_rate, settings["rate"])]
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
