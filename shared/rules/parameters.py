"""Mistakes that ports make with the parameters as they load them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np


def _to_float16(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32).astype(np.float16).astype(np.float32)


def _to_bfloat16(array: np.ndarray) -> np.ndarray:
    """The array rounded to bfloat16, to the even neighbour if between two."""
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "weights-float16": _to_float16,
    "weights-bfloat16": _to_bfloat16,
}
"""Known mistakes by id: each gives the array as float32 values that the lower precision can hold."""


def change_weights(weights: dict[str, np.ndarray], ids: Iterable[str]) -> dict[str, np.ndarray]:
    """The weights as the mistakes of these ids load them; ids of other kinds change nothing."""
    for known in ids:
        if known in CHANGES:
            weights = {name: CHANGES[known](array) for name, array in weights.items()}
    return weights
