"""The gradients' norm and what clipping leaves of them: torch.nn.utils.clip_grad_norm_, and known mistakes of ports.

A test holds the rule to torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

CLIP_EPS = 1e-6
"""clip_grad_norm_ adds this to the norm before it divides."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the gradients of one step, all entries."""

    squares: dict[str, float]
    """The sum of the squares of each array."""
    largest: float
    """The largest entry."""
    entries: int
    apart: dict[str, float]
    """The sum of squares of each embedding's gradients, those of repeated rows squared apart; empty if unknown."""


@dataclass(frozen=True)
class Clipping:
    """How gradients are clipped."""

    clip: float | None
    kind: Literal["global", "none", "each", "value", "always", "average"] = "global"
    norm: Literal["all", "apart", "words apart", "tokens apart", "after", "no words", "largest", "squared"] = "all"

    @property
    def by_entry(self) -> bool:
        """Whether an array is not scaled as a whole, so that no sketch tells what becomes of it."""
        return self.kind == "value"

    def norm_of(self, sizes: Sizes) -> float:
        """The norm that is recorded, and that clips unless it is the one after clipping."""
        if self.norm == "after":
            return self._after(sizes)
        return self._before(sizes)

    def _before(self, sizes: Sizes) -> float:
        squares = sizes.squares
        if self.norm == "apart":
            squares = squares | sizes.apart
        if self.norm == "words apart":
            squares = squares | {name: square for name, square in sizes.apart.items() if "word_embeddings" in name}
        if self.norm == "tokens apart":
            squares = squares | {name: square for name, square in sizes.apart.items() if "position" not in name}
        if self.norm == "no words":
            squares = {name: square for name, square in squares.items() if "word_embeddings" not in name}
        norm = float(np.sqrt(sum(squares.values())))
        return {"largest": sizes.largest, "squared": norm**2}.get(self.norm, norm)

    def _after(self, sizes: Sizes) -> float:
        norm = float(np.sqrt(sum(sizes.squares.values())))
        return norm if self.clip is None or self.kind == "none" else min(norm, self.clip)

    def __call__(self, name: str, gradient: np.ndarray, sizes: Sizes) -> np.ndarray:
        """Clips the array's gradient, or some of its entries."""
        if self.clip is None or self.kind == "none":
            return gradient
        if self.kind == "value":
            return np.clip(gradient, -self.clip, self.clip)
        if self.kind == "each":
            return gradient * min(1.0, self.clip / (float(np.sqrt(sizes.squares[name])) + CLIP_EPS))
        norm = self._before(sizes)
        if self.kind == "average":
            norm /= sizes.entries
        factor = self.clip / (norm + CLIP_EPS)
        return gradient * (factor if self.kind == "always" else min(1.0, factor))


CHANGES: dict[str, Callable[[Clipping, float], Clipping]] = {
    "clip-none": lambda rule, _: replace(rule, kind="none"),
    "clip-each": lambda rule, _: replace(rule, kind="each"),
    "clip-value": lambda rule, _: replace(rule, kind="value"),
    "clip-always": lambda rule, _: replace(rule, kind="always"),
    "clip-average": lambda rule, _: replace(rule, kind="average"),
    "clip-other": lambda rule, number: replace(rule, clip=number),
    "norm-repeats": lambda rule, _: replace(rule, norm="apart"),
    "norm-repeats-words": lambda rule, _: replace(rule, norm="words apart"),
    "norm-repeats-tokens": lambda rule, _: replace(rule, norm="tokens apart"),
    "norm-after": lambda rule, _: replace(rule, norm="after"),
    "norm-no-words": lambda rule, _: replace(rule, norm="no words"),
    "norm-largest": lambda rule, _: replace(rule, norm="largest"),
    "norm-squared": lambda rule, _: replace(rule, norm="squared"),
}
"""Known mistakes by id: each takes a rule and the fitted number."""
