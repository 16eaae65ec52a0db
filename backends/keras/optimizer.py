"""torch's AdamW and Adam on TensorFlow's fused operation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from shared.job import Precision
from shared.recipe import Recipe


def adam_scalars(
    recipe: Recipe, learning_rate: float, step: int, precision: Precision = "float32"
) -> tuple[float, float]:
    """The rate and epsilon at step 1, 2, ... with which `w -= rate * m / (sqrt(v) + epsilon)`, what TensorFlow's fused
    Adam computes when told that beta^t is 0, is the recipe's step: Algorithm 1 of Kingma and Ba (2015) as torch has it,
    or with their section 2's reordering where epsilon stands before the correction.

    The fused operation rounds beta to the parameters' precision; float32 moves 1 - 0.999 by 1.3e-5 of itself. Hence the
    moments are normalised here by the sum of the weights that it really gives to past gradients, and by no rounded
    power.
    """
    rounded = np.dtype(precision).type
    m_sum, v_sum = (1 - float(rounded(beta)) ** step for beta in (recipe.beta1, recipe.beta2))
    rate, epsilon = learning_rate * math.sqrt(v_sum) / m_sum, recipe.eps * math.sqrt(v_sum)
    if not recipe.bias_correction:
        rate *= (1 - recipe.beta1**step) / math.sqrt(1 - recipe.beta2**step)
    if not recipe.bias_correction or recipe.eps_place == "before":
        epsilon /= math.sqrt(1 - recipe.beta2**step)
    return rate, epsilon


def clip_factor(norm: Any, clip: float) -> Any:
    """What torch.nn.utils.clip_grad_norm_ multiplies gradients of this norm by, with its 1e-6."""
    return tf.minimum(clip / (norm + 1e-6), 1.0)
