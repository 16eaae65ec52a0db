"""Mistakes that ports make with right gradients before they clip them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from shared.pack import Arrays


@dataclass(frozen=True)
class Kept:
    """A port's gradients of the step before; empty at the first step, or if not recorded."""

    gradients: Arrays
    clipped: Arrays


@dataclass(frozen=True)
class Gradients:
    """Right gradients, unless the fields say otherwise."""

    scale: float = 1.0
    words: float = 1.0
    """Factor of the word embeddings' gradient."""
    frozen: Literal["nothing", "embeddings", "encoder"] = "nothing"
    adds: Literal["nothing", "clipped", "gradients"] = "nothing"
    """The part of the step before that is added."""

    def __call__(self, gradients: Arrays, before: Kept) -> Arrays:
        """The port's gradients, by the right ones."""
        added = {"nothing": {}, "clipped": before.clipped, "gradients": before.gradients}[self.adds]
        found: Arrays = {}
        for name, gradient in gradients.items():
            factor = 0.0 if self._is_frozen(name) else self.scale
            if "word_embeddings" in name:
                factor *= self.words
            found[name] = gradient * factor + _cut(added.get(name), gradient)
        return found

    def _is_frozen(self, name: str) -> bool:
        if self.frozen == "encoder":
            return "embeddings." in name or "encoder." in name or "layer." in name or "pooler." in name
        return self.frozen == "embeddings" and "embeddings" in name and "LayerNorm" not in name


def _cut(added: np.ndarray | None, gradient: np.ndarray) -> np.ndarray | float:
    return added if added is not None and added.shape == gradient.shape else 0.0


CHANGES: dict[str, Callable[[Gradients, float], Gradients]] = {
    "words-frozen": lambda rule, _: replace(rule, words=0.0),
    "embeddings-frozen": lambda rule, _: replace(rule, frozen="embeddings"),
    "encoder-frozen": lambda rule, _: replace(rule, frozen="encoder"),
    "gradients-scaled": lambda rule, number: replace(rule, scale=number),
    "words-gradient-scaled": lambda rule, number: replace(rule, words=number),
    "gradients-kept": lambda rule, _: replace(rule, adds="clipped"),
    "gradients-summed": lambda rule, _: replace(rule, adds="gradients"),
}
"""Known mistakes by id: each takes a rule and the fitted number."""
