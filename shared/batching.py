"""Which rows make up each batch of each epoch, and the batch's arrays. The order is a pure function of the recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shared.encoding import Encoded
from shared.recipe import Recipe

BUCKET_WINDOW = 50
"""Batches among which `bucket` sorts by length: enough that a batch's rows have nearly one length, and few enough that
batches differ from epoch to epoch."""


REPEATED_WIDTHS = 8
"""What the width of a batch is rounded up to a multiple of where each new width costs a trace: at most max_len / 8
widths are left, and on average 3.5 tokens more a row are computed on."""


@dataclass(frozen=True)
class Batch:
    """Right-padded rows, as every adapter receives them. `b` rows of `s` tokens."""

    input_ids: np.ndarray
    """int32 [b, s], padded with the checkpoint's pad id."""
    token_type_ids: np.ndarray
    """int32 [b, s], zero where padded."""
    attention_mask: np.ndarray
    """int32 [b, s], one for each real token, which precede all padding."""
    labels: np.ndarray
    """int64 [b]; -1 where the split has no labels."""

    def update_hash(self, digest: hashlib._Hash) -> None:
        """Adds shape and content of all four arrays to a running hash."""
        for array in (self.input_ids, self.token_type_ids, self.attention_mask, self.labels):
            digest.update(str((array.dtype.str, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).tobytes())


def make_batch(data: Encoded, rows: np.ndarray, recipe: Recipe, width_multiple: int = 1) -> Batch:
    """The batch of these rows, as wide as `batch_width` says. Raises ValueError for a row of more tokens than max_len:
    the data was encoded for another."""
    lengths = data.lengths[rows]
    longest = int(lengths.max())
    if longest > recipe.max_len:
        raise ValueError(f"a row has {longest} tokens, max_len is {recipe.max_len}; encode for this max_len")
    width = batch_width(lengths, recipe, width_multiple)
    real = np.arange(width) < lengths[:, None]
    tokens = (data.offsets[rows][:, None] + np.arange(width))[real]  # where in `data.ids` each real token lies
    ids = np.full(real.shape, data.pad_id, dtype=np.int32)
    types = np.zeros_like(ids)
    ids[real], types[real] = data.ids[tokens], data.types[tokens]
    return Batch(ids, types, real.astype(np.int32), data.labels[rows])


def batch_width(lengths: np.ndarray, recipe: Recipe, width_multiple: int = 1) -> int:
    """Tokens that rows of these lengths (int64 [b]) are padded to in one batch: max_len, or their own longest and from
    there to the next multiple of `width_multiple` that is not above max_len, as the recipe says."""
    if recipe.padding == "max_length":
        return recipe.max_len
    return min(recipe.max_len, -(-int(lengths.max()) // width_multiple) * width_multiple)


def training_order(recipe: Recipe, lengths: np.ndarray) -> Iterator[list[np.ndarray]]:
    """For each epoch, its batches as arrays of row numbers (int64). `lengths` are the rows' tokens.

    The stream is `numpy.random.RandomState`, frozen across numpy's versions. With `rollover` the rows left over at an
    epoch's end open the next epoch; those of the last epoch are not trained on.
    """
    random = np.random.RandomState(recipe.seed)
    carried: np.ndarray = np.empty(0, dtype=np.int64)
    for _ in range(recipe.epochs):
        rows: np.ndarray = random.permutation(len(lengths)) if recipe.shuffle else np.arange(len(lengths))
        rows = np.concatenate([carried, rows.astype(np.int64)])
        left_over = len(rows) % recipe.batch_size
        if recipe.last_batch != "keep" and left_over:
            rows, carried = rows[:-left_over], rows[-left_over:]
            if recipe.last_batch == "drop":
                carried = carried[:0]
        else:
            carried = carried[:0]
        if recipe.padding == "bucket":
            yield _bucketed(rows, lengths, recipe, random)
        else:
            yield _cut(rows, recipe.batch_size)


def evaluation_order(recipe: Recipe, lengths: np.ndarray) -> list[np.ndarray]:
    """Every row once; by length where padding follows the batch, as order does not matter and padding costs time."""
    rows: np.ndarray = np.arange(len(lengths))
    if recipe.padding != "max_length":
        rows = np.argsort(-lengths, kind="stable")
    return _cut(rows, recipe.batch_size)


def total_steps(recipe: Recipe, rows: int) -> int:
    """Optimizer steps of the whole run."""
    if recipe.last_batch == "rollover":
        return recipe.epochs * rows // recipe.batch_size
    if recipe.last_batch == "drop":
        return recipe.epochs * (rows // recipe.batch_size)
    return recipe.epochs * -(-rows // recipe.batch_size)


def _cut(rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
    return [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]


def _bucketed(rows: np.ndarray, lengths: np.ndarray, recipe: Recipe, random: np.random.RandomState) -> list[np.ndarray]:
    window = BUCKET_WINDOW * recipe.batch_size
    batches: list[np.ndarray] = []
    for start in range(0, len(rows), window):
        part = rows[start : start + window]
        batches += _cut(part[np.argsort(lengths[part], kind="stable")], recipe.batch_size)
    if not recipe.shuffle:
        return batches
    return [batches[i] for i in random.permutation(len(batches))]
