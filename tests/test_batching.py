"""Rows of each batch, and the arrays of a batch."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.batching import (
    BUCKET_WINDOW,
    Batch,
    computed_tokens,
    evaluation_order,
    make_batch,
    total_steps,
    training_order,
)
from shared.encoding import Encoded
from shared.recipe import Recipe

LENGTHS = st.lists(st.integers(3, 40), min_size=1, max_size=120).map(lambda lengths: np.array(lengths, dtype=np.int64))
RECIPES = st.builds(
    Recipe,
    batch_size=st.integers(1, 40),
    epochs=st.integers(1, 4),
    shuffle=st.booleans(),
    padding=st.sampled_from(["max_length", "longest", "bucket", "none"]),
    seed=st.integers(0, 2**32 - 1),
)


def encoded(lengths: Sequence[int], pad_id: int = 0) -> Encoded:
    """Makes rows of these lengths. No token is 0, and the second half of a row is its second segment."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    types = np.concatenate([np.arange(n) >= n // 2 for n in lengths]).astype(np.uint8)
    labels = np.arange(len(lengths), dtype=np.int64) % 2
    return Encoded(np.arange(1, offsets[-1] + 1, dtype=np.int32), types, offsets, labels, pad_id)


def epochs(recipe: Recipe, lengths: np.ndarray) -> list[list[list[int]]]:
    return [[batch.tolist() for batch in batches] for batches in training_order(recipe, lengths)]


def rows_of(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


def permutation(key: int, count: int) -> list[int]:
    """numpy.random.RandomState(key).permutation(count), written from its specification.

    The generator is the MT19937 of Matsumoto and Nishimura (1998) with their init_genrand. The shuffle is Fisher and
    Yates's, from the last element down; each position is drawn by rejection from the lowest bits that can hold it.
    """
    state = [key]
    for i in range(1, 624):
        state.append((1812433253 * (state[-1] ^ (state[-1] >> 30)) + i) & 0xFFFFFFFF)
    taken = 624

    def word() -> int:
        nonlocal taken
        if taken == 624:
            for i in range(624):
                y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7FFFFFFF)
                state[i] = state[(i + 397) % 624] ^ (y >> 1) ^ (0x9908B0DF if y & 1 else 0)
            taken = 0
        y = state[taken]
        taken += 1
        y ^= y >> 11
        y ^= (y << 7) & 0x9D2C5680
        y ^= (y << 15) & 0xEFC60000
        return y ^ (y >> 18)

    order = list(range(count))
    for last in range(count - 1, 0, -1):
        mask = (1 << last.bit_length()) - 1
        while (drawn := word() & mask) > last:
            pass
        order[last], order[drawn] = order[drawn], order[last]
    return order


# --- the order


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**32 - 1])
def test_the_first_order_is_that_of_random_state(seed: int) -> None:
    """The expected order follows from the generator's specification, not from numpy."""
    recipe = Recipe(seed=seed, batch_size=7, epochs=1)
    assert rows_of(epochs(recipe, np.full(1000, 5))[0]) == permutation(seed, 1000)


@given(RECIPES, LENGTHS)
def test_an_epoch_that_keeps_its_last_batch_has_every_row_once(recipe: Recipe, lengths: np.ndarray) -> None:
    for batches in epochs(recipe, lengths):
        assert sorted(rows_of(batches)) == list(range(len(lengths)))
        sizes = sorted(map(len, batches))
        assert sizes[1:] == [recipe.batch_size] * (len(batches) - 1)


@given(RECIPES, LENGTHS)
def test_dropping_the_last_batch_leaves_whole_batches(recipe: Recipe, lengths: np.ndarray) -> None:
    for batches in epochs(replace(recipe, last_batch="drop"), lengths):
        assert len(batches) == len(lengths) // recipe.batch_size
        assert {len(batch) for batch in batches} <= {recipe.batch_size}
        assert len(set(rows_of(batches))) == len(batches) * recipe.batch_size


@given(RECIPES, LENGTHS)
def test_rolled_over_rows_are_lost_only_at_the_end(recipe: Recipe, lengths: np.ndarray) -> None:
    per_epoch = epochs(replace(recipe, last_batch="rollover"), lengths)
    seen: Counter[int] = Counter()
    for number, batches in enumerate(per_epoch, start=1):
        assert {len(batch) for batch in batches} <= {recipe.batch_size}
        seen.update(rows_of(batches))
        waiting = number * len(lengths) - seen.total()
        assert waiting == number * len(lengths) % recipe.batch_size
        assert all(seen[row] <= number for row in range(len(lengths)))


def test_a_short_last_batch_is_rolled_over() -> None:
    recipe = Recipe(batch_size=32, epochs=3, last_batch="rollover")
    first, second, third = epochs(recipe, np.full(408, 9))
    assert [len(first), len(second), len(third)] == [12, 13, 13]
    left_over = set(range(408)) - set(rows_of(first))
    assert set(rows_of(second)[:24]) == left_over
    assert Counter(rows_of(first) + rows_of(second)).most_common()[0][1] == 2


def test_without_shuffling_rows_come_in_the_order_of_the_file() -> None:
    recipe = Recipe(batch_size=4, epochs=2, shuffle=False)
    assert epochs(recipe, np.full(10, 5)) == [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]] * 2


def test_each_epoch_and_each_seed_has_an_order_of_its_own() -> None:
    lengths = np.full(100, 5)
    one, two = epochs(Recipe(epochs=2, seed=3), lengths)
    assert one != two
    assert epochs(Recipe(epochs=2, seed=3), lengths) == [one, two]
    assert epochs(Recipe(epochs=1, seed=4), lengths)[0] != one


@given(RECIPES, LENGTHS)
def test_padding_to_max_len_or_to_the_longest_changes_no_order(recipe: Recipe, lengths: np.ndarray) -> None:
    whole, longest = (replace(recipe, padding=padding) for padding in ("max_length", "longest"))
    assert epochs(whole, lengths) == epochs(longest, lengths)


@given(RECIPES, LENGTHS, st.sampled_from(["keep", "drop", "rollover"]))
def test_total_steps_counts_the_batches(recipe: Recipe, lengths: np.ndarray, last_batch: Any) -> None:
    recipe = replace(recipe, last_batch=last_batch)
    assert total_steps(recipe, len(lengths)) == sum(map(len, epochs(recipe, lengths)))


@given(RECIPES, LENGTHS, st.sampled_from(["keep", "drop", "rollover"]), st.integers(1, 8))
def test_no_padding_has_the_very_batches_of_the_longest(
    recipe: Recipe, lengths: np.ndarray, last_batch: Any, multiple: int
) -> None:
    """Order, evaluation order, arrays and hashes. The tokens that are computed on are the real ones."""
    longest, none = (replace(recipe, padding=padding, last_batch=last_batch) for padding in ("longest", "none"))
    assert epochs(none, lengths) == epochs(longest, lengths)
    data, order = encoded(lengths.tolist(), pad_id=99), evaluation_order(none, lengths)
    for rows, others in zip(order, evaluation_order(longest, lengths), strict=True):
        assert rows.tolist() == others.tolist()
        batch, same = make_batch(data, rows, none, multiple), make_batch(data, rows, longest, multiple)
        assert digest(batch) == digest(same)
        assert batch.input_ids.tolist() == same.input_ids.tolist()
        assert computed_tokens(batch, none) == lengths[rows].sum()
        assert computed_tokens(same, longest) == same.input_ids.size


# --- buckets


def test_buckets_hold_rows_of_similar_length() -> None:
    """Their batches come in random order, and padding is below 5 %."""
    lengths = np.random.RandomState(0).randint(3, 60, 900)
    recipe = Recipe(padding="bucket", batch_size=16, epochs=1)
    batches = epochs(recipe, lengths)[0]
    spread = [int(np.ptp(lengths[batch])) for batch in batches]
    assert np.mean(spread) < 3
    longest = [int(lengths[batch].max()) for batch in batches]
    assert longest != sorted(longest)
    padded = sum(len(batch) * width for batch, width in zip(batches, longest, strict=True))
    assert padded < 1.05 * lengths.sum()


def test_buckets_differ_from_epoch_to_epoch_and_follow_the_seed() -> None:
    lengths = np.random.RandomState(0).randint(3, 60, 3 * 4 * BUCKET_WINDOW)
    recipe = Recipe(padding="bucket", batch_size=4, epochs=2)
    one, two = epochs(recipe, lengths)
    assert {frozenset(batch) for batch in one} != {frozenset(batch) for batch in two}
    assert epochs(recipe, lengths) == [one, two]
    assert epochs(replace(recipe, seed=2), lengths)[0] != one


@st.composite
def bucketed(draw: Any) -> tuple[Recipe, np.ndarray]:
    """A recipe of small batches, and rows that fill a few windows, the last one in part."""
    recipe = replace(draw(RECIPES), padding="bucket", batch_size=draw(st.integers(1, 4)), epochs=2)
    rows = draw(st.integers(1, 3 * BUCKET_WINDOW * recipe.batch_size))
    lengths = np.random.RandomState(draw(st.integers(0, 1000))).randint(3, 40, rows)
    return recipe, lengths


@given(bucketed())
def test_buckets_leave_one_short_batch_an_epoch(case: tuple[Recipe, np.ndarray]) -> None:
    """Even if an epoch has several windows."""
    recipe, lengths = case
    for batches in epochs(recipe, lengths):
        assert sorted(rows_of(batches)) == list(range(len(lengths)))
        assert sum(len(batch) < recipe.batch_size for batch in batches) == bool(len(lengths) % recipe.batch_size)
        assert len(batches) == total_steps(replace(recipe, epochs=1), len(lengths))


@given(bucketed())
def test_batches_of_a_window_have_lengths_of_their_own(case: tuple[Recipe, np.ndarray]) -> None:
    recipe, lengths = case
    lengths = lengths[: BUCKET_WINDOW * recipe.batch_size]
    for batches in epochs(recipe, lengths):
        ranges = sorted((lengths[batch].min(), lengths[batch].max()) for batch in batches)
        assert all(longest <= shortest for (_, longest), (shortest, _) in pairwise(ranges))


@given(bucketed())
def test_a_window_holds_the_next_rows_from_short_to_long(case: tuple[Recipe, np.ndarray]) -> None:
    recipe, lengths = replace(case[0], epochs=1, shuffle=False), case[1]
    window = BUCKET_WINDOW * recipe.batch_size
    (batches,) = epochs(recipe, lengths)
    for start in range(0, len(lengths), window):
        here = rows_of(batches)[start : start + window]
        assert sorted(here) == list(range(start, min(start + window, len(lengths))))
        assert (np.diff(lengths[here]) >= 0).all()


@given(bucketed(), st.sampled_from(["keep", "drop", "rollover"]))
def test_buckets_train_on_the_same_rows_as_other_paddings(case: tuple[Recipe, np.ndarray], last_batch: Any) -> None:
    # One epoch only: drawing the order of batches changes the random numbers of the next epoch.
    bucket = replace(case[0], last_batch=last_batch, epochs=1)
    (one,), (other,) = (epochs(replace(bucket, padding=padding), case[1]) for padding in ("bucket", "longest"))
    assert sorted(rows_of(one)) == sorted(rows_of(other))
    assert sorted(map(len, one)) == sorted(map(len, other))


# --- evaluation


@given(RECIPES, LENGTHS)
def test_evaluation_has_every_row_once(recipe: Recipe, lengths: np.ndarray) -> None:
    batches = evaluation_order(recipe, lengths)
    assert sorted(rows_of([batch.tolist() for batch in batches])) == list(range(len(lengths)))
    assert all(len(batch) == recipe.batch_size for batch in batches[:-1])


def test_evaluation_goes_from_long_rows_to_short_ones() -> None:
    """Unless the recipe pads to max_length."""
    lengths = np.array([5, 9, 7, 9, 3])
    whole = evaluation_order(Recipe(batch_size=2), lengths)
    assert [batch.tolist() for batch in whole] == [[0, 1], [2, 3], [4]]
    longest = evaluation_order(Recipe(batch_size=2, padding="longest"), lengths)
    assert [batch.tolist() for batch in longest] == [[1, 3], [2, 0], [4]]


# --- arrays


def test_a_batch_is_padded_to_its_longest_row() -> None:
    batch = make_batch(encoded([2, 4, 3], pad_id=99), np.array([2, 0]), Recipe(padding="longest", max_len=16))
    assert batch.input_ids.tolist() == [[7, 8, 9], [1, 2, 99]]
    assert batch.token_type_ids.tolist() == [[0, 1, 1], [0, 1, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.labels.tolist() == [0, 0]


@given(LENGTHS, st.sampled_from(["longest", "bucket", "max_length", "none"]), st.data())
def test_every_token_is_where_a_plain_loop_puts_it(lengths: np.ndarray, padding: Any, drawn: Any) -> None:
    data = encoded(lengths.tolist(), pad_id=drawn.draw(st.integers(0, 500)))
    rows = np.array(drawn.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=40)))
    batch = make_batch(data, rows, Recipe(padding=padding, max_len=48))
    width = 48 if padding == "max_length" else max(lengths[row] for row in rows)
    for i, row in enumerate(rows):
        for j in range(width):
            token = data.offsets[row] + j
            real = token < data.offsets[row + 1]
            found = batch.input_ids[i, j], batch.token_type_ids[i, j], batch.attention_mask[i, j]
            assert found == ((data.ids[token], data.types[token], 1) if real else (data.pad_id, 0, 0))
        assert batch.labels[i] == data.labels[row]


def test_rows_cut_at_a_larger_max_len_are_refused() -> None:
    with pytest.raises(ValueError, match="a row has 9 tokens, max_len is 8; encode for this max_len"):
        make_batch(encoded([4, 9]), np.array([0, 1]), Recipe(max_len=8))


@given(LENGTHS, st.sampled_from(["longest", "bucket", "max_length", "none"]))
def test_arrays_have_the_contracts_types_and_widths(lengths: np.ndarray, padding: Any) -> None:
    data = encoded(lengths.tolist(), pad_id=0)
    rows = np.arange(len(lengths))[::2]
    batch = make_batch(data, rows, Recipe(padding=padding, max_len=48))
    width = 48 if padding == "max_length" else int(lengths[rows].max())
    for array in (batch.input_ids, batch.token_type_ids, batch.attention_mask):
        assert array.shape == (len(rows), width)
        assert array.dtype == np.int32
    assert batch.labels.dtype == np.int64
    assert batch.attention_mask.sum(axis=1).tolist() == lengths[rows].tolist()
    assert ((batch.input_ids != 0) == batch.attention_mask.astype(bool)).all()
    assert (np.diff(batch.attention_mask, axis=1) <= 0).all()
    assert (batch.token_type_ids <= batch.attention_mask).all()


@given(LENGTHS, st.sampled_from(["longest", "bucket", "max_length", "none"]), st.integers(1, 16), st.integers(40, 64))
def test_widths_are_rounded_up_but_not_above_max_len(
    lengths: np.ndarray, padding: Any, multiple: int, max_len: int
) -> None:
    data, rows = encoded(lengths.tolist(), pad_id=99), np.arange(len(lengths))
    recipe = Recipe(padding=padding, max_len=max_len)
    tight, wide = make_batch(data, rows, recipe), make_batch(data, rows, recipe, multiple)
    width, longest = wide.input_ids.shape[1], int(lengths.max())
    if padding == "max_length":
        assert width == max_len
    else:
        assert width == min(max_len, next(n for n in range(longest, longest + multiple) if n % multiple == 0))
    for name, pad in (("input_ids", 99), ("token_type_ids", 0), ("attention_mask", 0)):
        array, expected = getattr(wide, name), getattr(tight, name)
        assert array.dtype == expected.dtype
        assert (array[:, : expected.shape[1]] == expected).all()
        assert (array[:, expected.shape[1] :] == pad).all()
    assert (wide.labels == tight.labels).all()
    assert digest(wide) == digest(tight)


def digest(batch: Batch) -> str:
    running = hashlib.sha256()
    batch.update_hash(running)
    return running.hexdigest()


def test_a_hash_depends_on_every_array_and_its_shape() -> None:
    batch = make_batch(encoded([4, 4]), np.array([0, 1]), Recipe(padding="longest"))
    others = [
        replace(batch, **{name: getattr(batch, name) + 1})
        for name in ("input_ids", "token_type_ids", "attention_mask", "labels")
    ]
    others.append(replace(batch, input_ids=batch.input_ids.reshape(4, 2)))

    assert len({digest(of) for of in (batch, *others)}) == 6
    assert digest(batch) == digest(replace(batch, input_ids=batch.input_ids.copy()))
