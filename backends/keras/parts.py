"""Standard parts of Keras and keras-hub in place of the adapter's."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from backends.keras import adapter  # first: it sets what TensorFlow and Keras read while they are imported

# isort: split
import keras
import tensorflow as tf
from keras.src.optimizers.base_optimizer import global_norm

from backends.keras.network import Parameter, unrepair
from backends.parts import check_mode
from shared.architecture import Weights
from shared.contract import Build, Model

OPTIMIZER = {"adamw", "rows", "decay"}
"""Parts that use Keras' AdamW."""
BY_ROW = {"clipping", "rows"}
"""Parts that take embeddings' gradients as TensorFlow makes them, by row."""


def load(build: Build, parts: Collection[str]) -> Model:
    """See `shared.contract.LoadParts`."""
    check_mode(build)
    adapter.prepare(build)
    return PartsModel(build, frozenset(parts))


class PartsModel(adapter.KerasModel):
    """The adapter's model with some of Keras' standard parts."""

    def __init__(self, build: Build, parts: frozenset[str]) -> None:
        super().__init__(build)
        recipe = build.recipe
        self._parts = parts
        unrepair(self._network, parts)
        self._variables = [p.variable for p in self._parameters]
        # Clipping is another optimizer's, as `gradients` shows what comes out of it.
        self._clipper = keras.optimizers.AdamW(global_clipnorm=recipe.clip)
        self._optimizer = keras.optimizers.AdamW(
            weight_decay=recipe.decay, beta_1=recipe.beta1, beta_2=recipe.beta2, epsilon=recipe.eps
        )
        if "decay" not in parts:
            exempt = [not recipe.decays(p.name) for p in self._parameters]
            self._optimizer.exclude_from_weight_decay(
                var_list=[variable for variable, spared in zip(self._variables, exempt, strict=True) if spared]
            )
        if parts & OPTIMIZER:
            self._optimizer.build(self._variables)

    def _scalars(self, learning_rate: float) -> tuple[float, float, float]:
        scalars = super()._scalars(learning_rate)
        return (learning_rate, *scalars[1:]) if self._parts & OPTIMIZER else scalars

    def _dense(self, gradient: Any, parameter: Parameter) -> Any:
        if not isinstance(gradient, tf.IndexedSlices):
            return gradient
        if "pad" not in self._parts:
            gradient = self._without_pad(gradient, parameter)
        return gradient if self._parts & BY_ROW else tf.convert_to_tensor(gradient)

    def _clip(self, gradients: list[Any]) -> tuple[Any, list[Any]]:
        if "clipping" in self._parts:
            norm = global_norm(gradients)
            return norm, self._clipper._clip_gradients(gradients)
        norm, clipped = super()._clip(_dense(gradients))
        if "rows" not in self._parts or self._recipe.clip is None:
            return norm, clipped if "rows" not in self._parts else gradients
        factor = adapter.clip_factor(norm, self._recipe.clip)
        return norm, [
            tf.IndexedSlices(factor * g.values, g.indices, g.dense_shape) if isinstance(g, tf.IndexedSlices) else dense
            for g, dense in zip(gradients, clipped, strict=True)
        ]

    def _update(self, gradients: list[Any], rate: Any, epsilon: Any, shrink: Any) -> None:
        if not self._parts & OPTIMIZER:
            super()._update(_dense(gradients), rate, epsilon, shrink)
            return
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply(gradients if "rows" in self._parts else _dense(gradients))

    def _named(self, gradients: list[Any]) -> Weights:
        return super()._named(_dense(gradients))


def _dense(gradients: list[Any]) -> list[Any]:
    return [tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g for g in gradients]
