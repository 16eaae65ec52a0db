"""torch's AdamW and Adam on JAX's arrays.

`clip` and `update` are traced. The recipe's numbers reach them as arguments, not as constants: recipes share programs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

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


def clip_at(recipe: Recipe) -> float:
    """The bound that `clip` takes."""
    return float("inf") if recipe.clip is None else recipe.clip


def settings(recipe: Recipe, learning_rate: float, step: int) -> list[float]:
    """The numbers that `update` takes at step 1, 2, ..."""
    rate, epsilon = adam_scalars(recipe, learning_rate, step, "float64")
    decoupled = recipe.optimizer == "adamw"
    shrink, penalty = 1 - learning_rate * recipe.decay * decoupled, recipe.decay * (not decoupled)
    return [rate, epsilon, 1 - recipe.beta1, 1 - recipe.beta2, shrink, penalty]


def clip(gradients: Arrays, bound: Any) -> tuple[Any, Arrays]:
    """Computes the global norm, and the gradients clipped at `bound`."""
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in gradients.values()))
    factor = clip_factor(norm, bound)
    return norm, {name: factor * gradient for name, gradient in gradients.items()}


def update(state: State, gradients: Arrays, decayed: Collection[str], settings: Any) -> State:
    """Takes a step. Weight decay acts on the parameters named in `decayed`."""
    new = State({}, {}, {})
    rate, epsilon, to_first, to_second, shrink, penalty = settings
    for name, gradient in gradients.items():
        weight, m, v = state.weights[name], state.first[name], state.second[name]
        if name in decayed:
            gradient, weight = gradient + penalty * weight, shrink * weight
        # By 1 - beta alone: float32 moves 1 - 0.999 by 1.3e-5 of itself if it is taken of a rounded 0.999.
        m += to_first * (gradient - m)
        v += to_second * (jnp.square(gradient) - v)
        new.weights[name] = weight - rate * m / (jnp.sqrt(v) + epsilon)
        new.first[name], new.second[name] = m, v
    return new
