"""Rows laid end to end: each token's place, and groups of rows against all groups that there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.packing import GROUP_COST, Packing, attended_widths, group_rows

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=7).map(np.array)


def mask_of(lengths: np.ndarray, width: int) -> np.ndarray:
    mask: np.ndarray = (np.arange(width) < lengths[:, None]).astype(np.int32)
    return mask


@given(LENGTHS, st.integers(0, 5))
def test_every_token_is_where_a_plain_loop_finds_it(lengths: np.ndarray, wider: int) -> None:
    """The batch may be wider than its longest row."""
    width = int(lengths.max()) + wider
    packing = Packing.of(mask_of(lengths, width))
    places = [(row * width + place, place) for row, length in enumerate(lengths) for place in range(length)]
    assert list(zip(packing.tokens.tolist(), packing.positions.tolist(), strict=True)) == places
    assert packing.starts.tolist() == [0, *itertools.accumulate(lengths.tolist())]
    assert packing.lengths.tolist() == lengths.tolist()
    assert (packing.tokens.dtype, packing.positions.dtype, packing.starts.dtype) == (np.int64, np.int64, np.int32)


def cost(lengths: np.ndarray, groups: list[list[int]]) -> int:
    return sum(GROUP_COST + len(rows) * int(lengths[rows].max()) ** 2 for rows in groups)


def divided(rows: list[int], most: int) -> list[list[list[int]]]:
    """Every division of the rows into so many groups or fewer."""
    if not rows:
        return [[]]
    first, *others = rows
    found = []
    for groups in divided(others, most):
        found += [[*groups[:i], [first, *groups[i]], *groups[i + 1 :]] for i in range(len(groups))]
        if len(groups) < most:
            found.append([*groups, [first]])
    return found


@given(LENGTHS, st.integers(1, 4))
def test_no_other_groups_cost_less(lengths: np.ndarray, most: int) -> None:
    groups = [rows.tolist() for rows in group_rows(lengths, most)]
    assert sorted(itertools.chain(*groups)) == list(range(len(lengths)))
    assert len(groups) <= most
    assert cost(lengths, groups) == min(cost(lengths, other) for other in divided(list(range(len(lengths))), most))
    ordered = [int(lengths[row]) for rows in groups for row in rows]
    assert ordered == sorted(ordered)


@pytest.mark.parametrize(
    ("lengths", "most", "sizes"),
    [
        ([9, 9, 9, 9], 4, [4]),
        ([3, 4, 3, 4, 5], 4, [5]),
        ([60, 3, 4, 3, 60], 4, [3, 2]),
        ([60, 3, 4, 3, 60], 1, [5]),
        ([7], 4, [1]),
    ],
)
def test_rows_of_like_length_stay_together(lengths: list[int], most: int, sizes: list[int]) -> None:
    assert [len(rows) for rows in group_rows(np.array(lengths), most)] == sizes


def test_attention_is_as_wide_as_the_longest_row_of_a_group() -> None:
    lengths = np.array([60, 3, 4, 3, 58])
    assert attended_widths(lengths, 64, 1).tolist() == [64] * 5
    assert attended_widths(lengths, 64, 2).tolist() == [60, 4, 4, 4, 60]
