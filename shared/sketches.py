"""Sketches in place of a large model's parameters and gradients, as the recorder makes them."""

from __future__ import annotations

from collections.abc import Collection

from recorder.concord_recorder import BLOCKS, SKETCH, sketch
from shared.pack import Arrays

__all__ = ["BLOCKS", "SKETCH", "sketches_of", "unsketched"]


def sketches_of(arrays: Arrays, whole: Collection[str]) -> Arrays:
    """Sketches of the arrays, and the whole arrays of these names."""
    return {SKETCH + name: sketch(array, name) for name, array in arrays.items()} | {
        name: arrays[name] for name in whole if name in arrays
    }


def unsketched(arrays: Arrays) -> Arrays:
    """The arrays that are no sketches."""
    return {name: array for name, array in arrays.items() if not name.startswith(SKETCH)}
