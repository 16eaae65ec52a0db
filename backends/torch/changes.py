"""Mistakes that ports are known to make, each as a change of the reference.

They show what a pack is able to show: a mistake that moves nothing on a pack cannot be seen with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from shared.pack import Arrays
from shared.recipe import Recipe


@dataclass(frozen=True)
class Change:
    """One mistake. Each function is None if it leaves that part of the reference alone."""

    network: Callable[[Any], None] | None = None
    """Changes the classifier in place."""
    batch: Callable[[Arrays], Arrays] | None = None
    """Gives other inputs to the network."""
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    """Computes another loss of logits and labels."""
    clip: Callable[[list[torch.nn.Parameter], float], torch.Tensor] | None = None
    """Clips gradients in place otherwise, and returns the global norm before."""
    recipe: Callable[[Recipe], Recipe] | None = None
    """Sets the optimizer otherwise."""


def _tanh_gelu(model: Any) -> None:
    _swap_activations(model, lambda x: functional.gelu(x, approximate="tanh"))


def _relu(model: Any) -> None:
    _swap_activations(model, functional.relu)


class _Function(torch.nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def _swap_activations(model: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Puts the function in the place of each exact GELU, which transformers keeps as a module of its own."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ in ("GELUActivation", "GELU"):
                setattr(module, name, _Function(function))


def _layer_norm_eps(model: Any) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5


def _clip_each(parameters: list[torch.nn.Parameter], clip: float) -> torch.Tensor:
    norm = torch.nn.utils.clip_grad_norm_(parameters, float("inf"))
    for parameter in parameters:
        torch.nn.utils.clip_grad_norm_([parameter], clip)
    return norm


def _clip_none(parameters: list[torch.nn.Parameter], clip: float) -> torch.Tensor:
    return torch.nn.utils.clip_grad_norm_(parameters, float("inf"))


def _recipe(**fields: Any) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, **fields)


def _no_mask(batch: Arrays) -> Arrays:
    return batch | {"attention_mask": np.ones_like(batch["attention_mask"])}


def _one_segment(batch: Arrays) -> Arrays:
    return batch | {"token_type_ids": np.zeros_like(batch["token_type_ids"])}


CHANGES = {
    "GELU is its tanh approximation": Change(network=_tanh_gelu),
    "GELU is a ReLU": Change(network=_relu),
    "LayerNorm's epsilon is 1e-5": Change(network=_layer_norm_eps),
    "padding is not masked": Change(batch=_no_mask),
    "token types are dropped": Change(batch=_one_segment),
    "the loss is a sum": Change(loss=lambda x, y: functional.cross_entropy(x, y, reduction="sum")),
    "gradients are not clipped": Change(clip=_clip_none),
    "each tensor is clipped by itself": Change(clip=_clip_each),
    "Adam corrects no bias": Change(recipe=_recipe(bias_correction=False)),
    "epsilon is added before bias correction": Change(recipe=_recipe(eps_place="before")),
    "every parameter decays": Change(recipe=_recipe(decay_exempt=())),
    "nothing decays": Change(recipe=_recipe(decay=0.0)),
    "decay is added to the gradient": Change(recipe=_recipe(optimizer="adam")),
    "epsilon is 1e-8": Change(recipe=_recipe(eps=1e-8)),
    "beta2 is 0.99": Change(recipe=_recipe(beta2=0.99)),
}
"""Changes by what they are, in plain words."""
