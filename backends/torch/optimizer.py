"""torch's fused AdamW and Adam with the recipe's switches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from backends.torch.word_rows import RowEmbedding
from shared.recipe import Recipe
from shared.rules.clipping import CLIP_EPS

KEPT = "/kept"
"""Added to the name of the word embedding's table: the share of it that decay has left, if it is updated by rows."""

PARTS = ("step", "exp_avg", "exp_avg_sq")
"""torch's state of each parameter."""


@dataclass
class Optimizer:
    """torch's fused AdamW or Adam.

    With c1 = 1 - beta1^t and c2 = 1 - beta2^t its step t is

        w -= rate * decay * w + (rate / c1) * m / (sqrt(v / c2) + eps)

    (Adam adds decay * w to the gradient instead). So another place of eps, or no bias correction, means other values of
    rate, eps and decay at each step. A step whose float16 gradients overflow changes no weight, but counts.
    """

    parameters: dict[str, torch.Tensor]
    recipe: Recipe
    scaler: torch.amp.GradScaler
    """Scales the loss in float16; does nothing in other precisions."""
    words: RowEmbedding | None = None
    """The word embedding if it is updated by rows. The share of its other rows that decay leaves is a parameter of one
    entry, 1 at first, whose gradient is zero: its steps do nothing but decay it, and float16 skips them with the
    others."""
    steps: int = 0
    optimizer: Any = field(init=False)

    def __post_init__(self) -> None:
        r = self.recipe
        if self.words is not None:
            self.parameters = self.parameters | {self.words.rows.name + KEPT: self.words.kept}
        decayed = {name: r.decays(name.removesuffix(KEPT)) for name in self.parameters}
        groups = [
            {"params": [p for name, p in self.parameters.items() if decayed[name] == decays], "weight_decay": decay}
            for decays, decay in ((True, r.decay), (False, 0.0))
        ]
        kind = torch.optim.AdamW if r.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = kind([g for g in groups if g["params"]], betas=(r.beta1, r.beta2), fused=True)
        for group in self.optimizer.param_groups:
            group["recipe_decay"] = group["weight_decay"]

    def norm_and_divisor(self, clip: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradients' global norm, and the number of at least 1 by which torch.nn.utils.clip_grad_norm_ would divide
        them."""
        norm = torch.nn.utils.get_total_norm(self._gradients(), foreach=True)
        return norm, ((norm + CLIP_EPS) / clip).clamp_(min=1.0)

    def clip(self, clip: float) -> None:
        """Has the gradients clipped. In float32 the fused step does it as it reads them, which saves a pass over
        memory."""
        _, divisor = self.norm_and_divisor(clip)
        if divisor.dtype == torch.float32 and not self.scaler.is_enabled():  # it takes no other; a scaler has its own
            self.optimizer.grad_scale = divisor
        else:
            self.divide(divisor)

    def divide(self, divisor: torch.Tensor) -> None:
        """Divides the gradients."""
        torch._foreach_div_(self._gradients(), divisor)

    def _gradients(self) -> list[torch.Tensor]:
        return [p.grad for p in self.parameters.values() if p.grad is not None]

    def step(self, learning_rate: float) -> None:
        r = self.recipe
        self.steps += 1
        c1, root_c2 = 1 - r.beta1**self.steps, math.sqrt(1 - r.beta2**self.steps)
        # Without correction: rate * m / (sqrt(v) + eps) = (rate * factor / c1) * m / (sqrt(v / c2) + eps / root_c2)
        factor = 1.0 if r.bias_correction else c1 / root_c2
        eps = r.eps if r.bias_correction and r.eps_place == "after" else r.eps / root_c2
        for group in self.optimizer.param_groups:
            group["lr"], group["eps"] = learning_rate * factor, eps
            if r.optimizer == "adamw":
                group["weight_decay"] = group["recipe_decay"] / factor
        if self.words is not None:
            self.words.kept.grad = torch.zeros_like(self.words.kept)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def state(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yields parameters, torch's own state of each, the count of steps and the scaler's state (see
        `shared.contract.Model.state`)."""
        yield "steps", np.array(self.steps)
        for name, value in self.scaler.state_dict().items():
            yield f"scaler/{name}", np.array(value)
        for name, parameter in self.parameters.items():
            yield f"weights/{name}", parameter.numpy(force=True)
            for part in PARTS:
                yield f"{part}/{name}", self.optimizer.state[parameter][part].numpy(force=True)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes up a state that `state` gave."""
        self.steps = int(state["steps"])
        self.scaler.load_state_dict({name: state[f"scaler/{name}"].item() for name in self.scaler.state_dict()})
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(torch.from_numpy(state[f"weights/{name}"]))
                self.optimizer.state[parameter] = {
                    part: torch.from_numpy(state[f"{part}/{name}"]).to(parameter.device) for part in PARTS
                }
