"""torch's AdamW and Adam on JAX's arrays. `clip` and `update` are traced; the recipe reaches them as arguments and not
as constants, so that recipes share programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from backends.keras.optimizer import adam_scalars, clip_factor
from shared.recipe import Recipe

Arrays = dict[str, Any]
"""jax.Arrays by name."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """Parameters and Adam's moments, by HuggingFace's names."""

    weights: Arrays
    first: Arrays
    second: Arrays


def clip_at(recipe: Recipe, dtype: np.dtype) -> np.ndarray | None:
    """The bound that `clip` takes."""
    return None if recipe.clip is None else np.array(recipe.clip, dtype)


def settings(recipe: Recipe, learning_rate: float, step: int, dtype: np.dtype) -> dict[str, Any]:
    """Arguments of `clip` and `update` at step 1, 2, ..."""
    rate, epsilon = adam_scalars(recipe, learning_rate, step, "float64")
    decoupled = recipe.optimizer == "adamw"
    shrink, penalty = 1 - learning_rate * recipe.decay * decoupled, recipe.decay * (not decoupled)
    step_settings = np.array([rate, epsilon, 1 - recipe.beta1, 1 - recipe.beta2, shrink, penalty], dtype)
    return {"clip": clip_at(recipe, dtype), "step": step_settings}


def clip(gradients: Arrays, bound: Any) -> tuple[Any, Arrays]:
    """The global norm, and the gradients clipped at `bound`, None for no clipping."""
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in gradients.values()))
    factor = 1.0 if bound is None else clip_factor(norm, bound)
    return norm, {name: factor * gradient for name, gradient in gradients.items()}


def update(state: State, gradients: Arrays, decays: Callable[[str], bool], settings: Any) -> State:
    """The state after a step. `decays` says of a name whether weight decay acts on it."""
    new = State({}, {}, {})
    rate, epsilon, to_first, to_second, shrink, penalty = settings
    for name, gradient in gradients.items():
        weight, m, v = state.weights[name], state.first[name], state.second[name]
        if decays(name):
            gradient, weight = gradient + penalty * weight, shrink * weight
        # By 1 - beta alone: float32 moves 1 - 0.999 by 1.3e-5 of itself if it is taken of a rounded 0.999.
        m += to_first * (gradient - m)
        v += to_second * (jnp.square(gradient) - v)
        new.weights[name] = weight - rate * m / (jnp.sqrt(v) + epsilon)
        new.first[name], new.second[name] = m, v
    return new
