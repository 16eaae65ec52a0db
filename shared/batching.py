"""Rows of each batch of each epoch, and the arrays of a batch. The order depends on the recipe and the rows' lengths
alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shared.encoding import Encoded
from shared.errors import InputError
from shared.limits import STEPS
from shared.recipe import Recipe

BUCKET_WINDOW = 50
"""Number of batches that `bucket` sorts by length together. With more, batches would hardly differ from epoch to epoch;
with fewer, the rows of a batch would differ more in length."""

REPEATED_WIDTHS = 8
"""The width of a batch is rounded up to a multiple of this if each new width costs a compilation. At most max_len / 8
widths are left, and a row has 3.5 tokens more on average."""


@dataclass(frozen=True)
class Batch:
    """Rows with padding on the right, as every adapter receives them: `b` rows of `s` tokens."""

    input_ids: np.ndarray
    """int32 [b, s]. Padding has the checkpoint's pad id."""
    token_type_ids: np.ndarray
    """int32 [b, s]. Padding has 0."""
    attention_mask: np.ndarray
    """int32 [b, s]: 1 for real tokens, which come first, and 0 for padding."""
    labels: np.ndarray
    """int64 [b]; -1 where the split has no labels."""
    asked_width: int | None = None
    """Tokens that the recipe pads to. The rest, if any, is padding for the backend's sake alone. None for `s`."""

    @property
    def asked(self) -> dict[str, np.ndarray]:
        """The arrays as wide as the recipe asks, the same for every backend."""
        rows = {"ids": self.input_ids, "types": self.token_type_ids, "mask": self.attention_mask}
        return {name: array[:, : self.asked_width] for name, array in rows.items()} | {"labels": self.labels}

    def update_hash(self, digest: hashlib._Hash) -> None:
        """Adds shape and content of all four arrays, as the recipe asks for them, to a running hash."""
        for array in self.asked.values():
            digest.update(str((array.dtype.str, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).tobytes())


def make_batch(data: Encoded, rows: np.ndarray, recipe: Recipe, width_multiple: int = 1) -> Batch:
    """Makes the batch of these rows (int64 [b]), `batch_width` tokens wide. Raises ValueError if a row has more tokens
    than max_len: the data was encoded for a larger one."""
    lengths = data.lengths[rows]
    longest = int(lengths.max())
    if longest > recipe.max_len:
        raise ValueError(f"a row has {longest} tokens, max_len is {recipe.max_len}; encode for this max_len")
    width = batch_width(lengths, recipe, width_multiple)
    real = np.arange(width) < lengths[:, None]
    tokens = (data.offsets[rows][:, None] + np.arange(width))[real]  # position of each real token in `data.ids`
    ids = np.full(real.shape, data.pad_id, dtype=np.int32)
    types = np.zeros_like(ids)
    ids[real], types[real] = data.ids[tokens], data.types[tokens]
    return Batch(ids, types, real.astype(np.int32), data.labels[rows], batch_width(lengths, recipe))


def batch_width(lengths: np.ndarray, recipe: Recipe, width_multiple: int = 1) -> int:
    """Width in tokens of a batch with rows of these lengths (int64 [b]). It is max_len, or, unless the recipe pads to
    max_length, the longest row rounded up to a multiple of `width_multiple`, but at most max_len. With padding `none`
    too, a batch reaches the adapter in this width."""
    if recipe.padding == "max_length":
        return recipe.max_len
    return min(recipe.max_len, -(-int(lengths.max()) // width_multiple) * width_multiple)


def computed_tokens(batch: Batch, recipe: Recipe) -> int:
    """Tokens of the batch that are computed on: all, padding included, or with padding `none` the real ones."""
    return int(batch.attention_mask.sum()) if recipe.padding == "none" else batch.input_ids.size


def training_order(recipe: Recipe, lengths: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yields each epoch's batches, as arrays of row numbers (int64). `lengths` (int64 [n]) are the rows' tokens.

    Random numbers come from `numpy.random.RandomState`, which is the same in every version of numpy. With `rollover`,
    rows left over at the end of an epoch open the next one; those of the last epoch are not trained on.
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
    """Batches with every row once, as arrays of row numbers (int64). Rows go from long to short unless the recipe pads
    to max_length: their order does not matter, and less padding takes less time."""
    rows: np.ndarray = np.arange(len(lengths))
    if recipe.padding != "max_length":
        rows = np.argsort(-lengths, kind="stable")
    return _cut(rows, recipe.batch_size)


def total_steps(recipe: Recipe, rows: int) -> int:
    """Number of optimizer steps in the whole run, for this many training rows."""
    if recipe.last_batch == "rollover":
        return recipe.epochs * rows // recipe.batch_size
    if recipe.last_batch == "drop":
        return recipe.epochs * (rows // recipe.batch_size)
    return recipe.epochs * -(-rows // recipe.batch_size)


def check_steps(recipe: Recipe, rows: int) -> None:
    """Raises InputError if so many training rows make no step in an epoch, or more steps than can be kept track of."""
    if recipe.last_batch != "keep" and rows < recipe.batch_size:
        raise InputError(
            f"{rows} training rows make no batch of {recipe.batch_size}; pass a smaller batch_size, or last_batch keep"
        )
    if (steps := total_steps(recipe, rows)) > STEPS:
        raise InputError(
            f"{recipe.epochs:,} epochs of {rows:,} rows are {steps:,} steps, and {STEPS:,} are run at most; pass fewer "
            "epochs"
        )


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
