"""The optimizer's published formulas, in numpy and float64."""

from __future__ import annotations

import numpy as np

from shared.architecture import Weights
from shared.recipe import Recipe


class Formula:
    """Adam (Kingma & Ba 2015, algorithm 1, and the end of its section 2 for eps before the correction). Decay is an L2
    penalty or decoupled (Loshchilov & Hutter 2019, algorithm 2). Clipping by global norm comes first (Pascanu et al.
    2013, with torch's 1e-6 added to the norm)."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.steps = 0
        self.first: Weights = {}
        self.second: Weights = {}

    def step(self, weights: Weights, gradients: Weights, rate: float) -> Weights:
        """Returns the weights after one step, float64."""
        r = self.recipe
        self.steps += 1
        gradients = {name: g.astype(np.float64) for name, g in gradients.items()}
        if r.clip is not None:
            norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
            gradients = {name: g * min(1.0, r.clip / (norm + 1e-6)) for name, g in gradients.items()}
        correction1 = 1 - r.beta1**self.steps if r.bias_correction else 1.0
        correction2 = 1 - r.beta2**self.steps if r.bias_correction else 1.0
        after: Weights = {}
        for name, weight in weights.items():
            w, g = weight.astype(np.float64), gradients[name]
            decay = r.decay if r.decays(name) else 0.0
            if r.optimizer == "adam":
                g = g + decay * w
            m = self.first[name] = r.beta1 * self.first.get(name, 0.0) + (1 - r.beta1) * g
            v = self.second[name] = r.beta2 * self.second.get(name, 0.0) + (1 - r.beta2) * g**2
            if r.eps_place == "after":
                update = (m / correction1) / (np.sqrt(v / correction2) + r.eps)
            else:
                update = np.sqrt(correction2) / correction1 * m / (np.sqrt(v) + r.eps)
            if r.optimizer == "adamw":
                update = update + decay * w
            after[name] = w - rate * update
        return after
