"""Each switch of the recipe's optimizer against its published formula in float64, fed the model's own gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shared.architecture import Weights
from shared.recipe import Recipe
from tests.backends.cases import STEEP, architecture, perturbed_weights, random_batch
from tests.backends.conftest import BuildModel, Measured

USUAL = replace(STEEP, clip=0.4, decay=0.5)
RATES = [1e-3, 2e-3, 5e-4]
NETWORK = architecture("bert", layers=1)
BATCHES = [random_batch(NETWORK, rows=8, width=16, seed=seed) for seed in range(3)]
BOUND = 1e-5

VARIANTS: dict[str, dict[str, Any]] = {
    "as AdamW of torch": {},
    "eps before bias correction": {"eps_place": "before"},
    "no bias correction": {"bias_correction": False},
    "no bias correction, eps before": {"bias_correction": False, "eps_place": "before"},
    "adam": {"optimizer": "adam"},
    "adam without bias correction": {"optimizer": "adam", "bias_correction": False},
    "adam, eps before bias correction": {"optimizer": "adam", "eps_place": "before"},
    "no clipping": {"clip": None},
    "a clip above the norm": {"clip": 1e3},
    "no decay": {"decay": 0.0},
    "only biases exempt from decay": {"decay_exempt": ("bias",)},
    "other betas": {"beta1": 0.7, "beta2": 0.9},
    "a large eps": {"eps": 1e-3},
}


class Formula:
    """Adam (Kingma & Ba 2015, algorithm 1, and the end of its section 2 for eps before the correction) with decay as
    L2 penalty or decoupled (Loshchilov & Hutter 2019, algorithm 2), after clipping by global norm (Pascanu et al. 2013,
    with torch's 1e-6 beside the norm)."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.steps = 0
        self.first: Weights = {}
        self.second: Weights = {}

    def step(self, weights: Weights, gradients: Weights, rate: float) -> Weights:
        """The weights after one step, float64."""
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


def distance(one: Weights, other: Weights) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


@pytest.mark.parametrize("variant", VARIANTS)
def test_three_steps_follow_the_formula(build: BuildModel, measured: Measured, variant: str) -> None:
    recipe = replace(USUAL, **VARIANTS[variant])
    model = build(NETWORK, perturbed_weights(NETWORK), recipe)
    formula, default = Formula(recipe), Formula(USUAL)
    worst = effect = 0.0
    for batch, rate in zip(BATCHES, RATES, strict=True):
        before = model.weights()
        gradients = model.gradients(batch).raw
        model.train_step(batch, rate)
        wanted = formula.step(before, gradients, rate)
        worst = max(worst, distance(model.weights(), wanted))
        effect = max(effect, distance(default.step(before, gradients, rate), wanted))
    measured(f"3 steps, {variant}, weights", worst, BOUND)
    assert effect >= 10 * BOUND or not VARIANTS[variant], "the test could not tell this variant from the default"
