"""A batch's rows laid end to end, as both Keras backends take them. Imports no engine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from shared.packing import Packing


class Laid(NamedTuple):
    """Rows of `s` tokens, of which n are real. All arrays are int32."""

    ids: np.ndarray
    """Ids of the real tokens, row after row: [n]."""
    types: np.ndarray
    """[n]."""
    mask: np.ndarray
    """[b, s]: 1 for real tokens, 0 for padding."""
    numbers: np.ndarray
    """Position of each token in its row, [n]."""
    places: np.ndarray
    """Place of each token in the flattened [b, s], [n]."""
    tokens: np.ndarray
    """The token at each place, [b, s], and 0 at padding."""
    starts: np.ndarray
    """The first token of each row, [b], and n for a row without tokens at the end."""

    @classmethod
    def of(cls, ids: np.ndarray, types: np.ndarray, mask: np.ndarray) -> Laid:
        """Lays the rows of these arrays, int32 [b, s], end to end."""
        packing = Packing.of(mask)
        places = packing.tokens.astype(np.int32)
        tokens = np.zeros_like(mask)
        tokens.flat[places] = np.arange(len(places))
        numbers, starts = packing.positions.astype(np.int32), packing.starts[:-1]
        return cls(ids.ravel()[places], types.ravel()[places], mask, numbers, places, tokens, starts)

    def filled(self, multiple: int) -> Laid:
        """Fills the tokens up to a multiple, by tokens of no weight: they take place 0's attention, and no place has
        them. Rows without tokens start at the last one: nothing reads what follows of it."""
        missing = (0, -len(self.ids) % multiple)
        ids, types, numbers, places = (np.pad(a, missing) for a in (self.ids, self.types, self.numbers, self.places))
        starts = np.minimum(self.starts, len(self.ids) - 1)
        return Laid(ids, types, self.mask, numbers, places, self.tokens, starts)
