"""torch's AdamW and Adam on MXNet's fused operators."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import mxnet as mx
import numpy as np
from mxnet.gluon import Parameter

from shared.job import Precision
from shared.recipe import Recipe


@dataclass
class Optimizer:
    """`torch.optim.AdamW` or `Adam`, with the recipe's switches, on MXNet's fused `mp_adamw_update`."""

    recipe: Recipe
    parameters: dict[str, Parameter]
    precision: Precision
    steps: int = 0
    moments: dict[str, tuple[mx.nd.NDArray, mx.nd.NDArray]] = field(default_factory=dict)
    """First and second moment of each parameter, in its shape."""

    def __post_init__(self) -> None:
        for name, parameter in self.parameters.items():
            self.moments[name] = (mx.nd.zeros_like(parameter.data()), mx.nd.zeros_like(parameter.data()))

    def step(self, learning_rate: float) -> None:
        """Clips the gradients in the parameters and updates the parameters.

        The operator computes w -= eta * (lr * m / (sqrt(v) + epsilon) + wd * w) with the uncorrected m and v. So bias
        correction (Kingma and Ba 2015, end of section 2) goes into lr, and into epsilon too if epsilon is added after
        the correction.
        """
        recipe = self.recipe
        self.steps += 1
        lr, epsilon = 1.0, recipe.eps
        if recipe.bias_correction:
            # The operator has its betas in float32, so the correction must round them too: 1 - 0.999 differs by 1.3e-5.
            first, second = (1 - float(np.float32(beta)) ** self.steps for beta in (recipe.beta1, recipe.beta2))
            lr = math.sqrt(second) / first
            if recipe.eps_place == "after":
                epsilon *= math.sqrt(second)
        _, scale = self.norm_and_factor()
        # The operator takes a factor, but only in float32.
        one = mx.nd.ones(1, ctx=scale.context)
        for name, parameter in self.parameters.items():
            weight, gradient, decay, factor = parameter.data(), parameter.grad(), 0.0, scale
            added = recipe.decay if recipe.decays(name) and recipe.optimizer == "adam" else 0.0
            if added or self.precision == "float64":
                gradient, factor = mx.nd.broadcast_mul(gradient, scale.reshape([1] * gradient.ndim)), one
            if added:
                gradient = gradient + added * weight
            elif recipe.decays(name):
                decay = recipe.decay
            # Both compute the same bits. The first takes one pass, with the weight as its own copy in float32; the
            # other can do float64.
            single = self.precision == "float32"
            update = mx.nd.contrib.mp_adamw_update if single else mx.nd.contrib.adamw_update
            update(
                weight,
                gradient,
                *self.moments[name],
                *([weight] if single else []),
                factor,
                lr=lr,
                eta=learning_rate,
                beta1=recipe.beta1,
                beta2=recipe.beta2,
                epsilon=epsilon,
                wd=decay,
                out=weight,
            )

    def norm_and_factor(self) -> tuple[mx.nd.NDArray, mx.nd.NDArray]:
        """Computes the gradients' global norm, [1], and the factor that clips them, [1], as
        `torch.nn.utils.clip_grad_norm_` does."""
        gradients = [parameter.grad().reshape(-1) for parameter in self.parameters.values()]
        norm = mx.nd.sqrt(mx.nd.add_n(*(mx.nd.dot(gradient, gradient) for gradient in gradients)))
        if self.recipe.clip is None:
            return norm, mx.nd.ones_like(norm)
        factor = mx.nd.minimum(self.recipe.clip / (norm + 1e-6), 1.0)
        # If the factor is not finite, the operators skip the step without an error. With 1 in its place, the
        # gradients make the weights NaN, as they do in torch.
        finite = norm - norm == 0  # MXNet reads no "inf" once a number of its thread has overflowed
        return norm, mx.nd.where(finite, factor, mx.nd.ones_like(factor))
