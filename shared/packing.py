"""Rows laid end to end, without padding: what an adapter needs of a batch if the recipe's padding is `none`.

Linear layers, LayerNorm, dropout and activations then see tokens alone, [t, width]. Attention alone sees rows. They may
be grouped by length for it, so that a short row is not computed at a long one's width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GROUP_COST = 2048
"""Products of two tokens that one more group costs as much as, roughly: its operators take time however small it is."""

NEVER = 2**60
"""A cost above any that there is."""


@dataclass(frozen=True)
class Packing:
    """The places of a batch's `t` real tokens, row after row."""

    tokens: np.ndarray
    """Place of each real token in the flattened [b, s], int64 [t], ascending."""
    positions: np.ndarray
    """Its position in its row, int64 [t]."""
    starts: np.ndarray
    """Where each row starts among the tokens, and the end: int32 [b + 1]."""

    @classmethod
    def of(cls, attention_mask: np.ndarray) -> Packing:
        """Packs rows with this mask, int [b, s]: 1 for real tokens, which come first."""
        tokens = np.flatnonzero(attention_mask)
        lengths = attention_mask.sum(1)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        return cls(tokens, tokens % attention_mask.shape[1], starts.astype(np.int32))

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int32 [b]."""
        found: np.ndarray = np.diff(self.starts)
        return found


def group_rows(lengths: np.ndarray, most: int) -> list[np.ndarray]:
    """Divides rows of these lengths (int [b], `b` at least 1) into `most` groups or fewer: row numbers, int64, each row
    in one group. A group computes the square of its longest row for each of its rows, and each group costs GROUP_COST
    too: the sum is the least there is. Groups, and rows in them, go from short to long."""
    order = np.argsort(lengths, kind="stable")
    longest, starts = np.unique(lengths[order], return_index=True)
    bounds = np.append(starts, len(order))
    rows = bounds[None, 1:] - bounds[:-1, None]
    # Entry i, j: one group of the rows of the i-th length to the j-th.
    costs = np.where(rows > 0, rows * longest.astype(np.int64) ** 2 + GROUP_COST, NEVER)
    best, cuts = costs[0], [np.zeros(len(longest), np.int64)]
    for _ in range(1, min(most, len(longest))):
        split = np.append(0, best[:-1])[:, None] + costs
        best, cuts = split.min(0), [*cuts, split.argmin(0)]
    stop, groups = len(longest), []
    for cut in reversed(cuts):
        if stop:
            start = cut[stop - 1]
            groups.append(order[bounds[start] : bounds[stop]])
            stop = start
    return groups[::-1]


def attended_widths(lengths: np.ndarray, width: int, groups: int) -> np.ndarray:
    """The width that attention is computed at for each row of a batch, int64 [b]: the batch's width if there is one
    group, else that of the longest row of its group."""
    widths = np.full(len(lengths), width, np.int64)
    if groups > 1:
        for rows in group_rows(lengths, groups):
            widths[rows] = lengths[rows].max()
    return widths
