"""torch's AdamW and Adam on TensorFlow's fused operation."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from shared.job import Precision
from shared.recipe import Recipe


def adam_scalars(
    recipe: Recipe, learning_rate: float, step: int, precision: Precision = "float32"
) -> tuple[float, float]:
    """Computes the rate and epsilon of step 1, 2, ... that make TensorFlow's fused Adam take the recipe's step.

    Told that beta^t is 0, the fused operation computes `w -= rate * m / (sqrt(v) + epsilon)`. The recipe's step is
    Algorithm 1 of Kingma and Ba (2015) as torch has it, or their section 2's reordering if epsilon is added before the
    correction.

    The fused operation rounds beta to the parameters' precision; float32 changes 1 - 0.999 by 1.3e-5 of itself. So the
    moments are normalised here by the sum of the weights that the operation really gives to past gradients.
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
    """The factor of torch.nn.utils.clip_grad_norm_ for gradients of this norm, with its 1e-6."""
    return keras.ops.minimum(clip / (norm + 1e-6), 1.0)
