"""Each switch of the recipe's optimizer, compared with its published formula in float64 on the model's gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shared.architecture import Weights
from tests.backends.cases import STEEP, architecture, perturbed_weights, random_batch
from tests.backends.conftest import BuildModel, Measured
from tests.backends.formula import Formula

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
