"""Chooses the parameters of a large model that a second pass keeps whole."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from benchmarks.port.check import Checked
from shared.pack import Shapes
from shared.sketches import SKETCH

SMALL = 1_000_000
"""Entries of a parameter up to which it is kept whole for its kind."""


def failing_parameters(checked: Checked) -> tuple[str, ...]:
    """The parameter that is farthest beyond its bound at each rung that fails, as far as rungs are of parameters."""
    worst = (found.from_pack.worst for found in checked.rungs if found.from_pack and not found.from_pack.holds)
    return tuple(dict.fromkeys(name.removeprefix(SKETCH) for name in worst if name.startswith(SKETCH)))


def one_of_each_kind(parameters: Shapes) -> Iterator[str]:
    """The first parameter of each kind, by the last two parts of its name; a kind of large ones is left out. Mistakes
    of an optimizer go by the kind: biases, LayerNorms, embeddings."""
    kinds: dict[tuple[str, ...], str] = {}
    for name, shape in parameters.items():
        if prod(shape) <= SMALL:
            kinds.setdefault(tuple(name.split(".")[-2:]), name)
    yield from kinds.values()
