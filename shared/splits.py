"""Chooses the rows that a recipe trains on, evaluates on and tests on."""

from __future__ import annotations

import hashlib
from dataclasses import fields

import numpy as np

from shared.errors import InputError
from shared.recipe import Recipe
from shared.tasks import Rows

CHOOSING = (
    *("train_split", "dev_split", "test_split", "held_out", "held_out_seed", "held_out_test"),
    *("train_rows", "dev_rows", "rows_seed", "keep"),
)
"""Fields of a recipe that `choose_splits` depends on."""


def choose_splits(task: str, source: dict[str, Rows], recipe: Recipe, limit: int | None) -> dict[str, Rows]:
    """Returns `train`, `dev` and, if there is one, `test`, each cut to its first `limit` rows (None for all).

    With `held_out`, dev is that share of the training split, drawn by scikit-learn's train_test_split with
    `held_out_seed`; a task that has only a training split needs it. With `held_out_test`, that share of the held-out
    rows is test. `train_rows` and `dev_rows` then limit the number of rows. If the task lacks the default test split,
    there is no test.

    Raises InputError if the task lacks a split, if training rows have no labels, if the best epoch is to be kept and
    dev has no labels, and if there are too few rows for a share or number.
    """
    chosen = {"train": recipe.train_split, "dev": recipe.dev_split, "test": recipe.test_split}
    if recipe.held_out:
        del chosen["dev"]
    if recipe.held_out_test:
        if not recipe.held_out:
            raise InputError(f"held_out_test {recipe.held_out_test} is a share of the held-out rows; pass held_out too")
        del chosen["test"]
    default_test = next(f.default for f in fields(Recipe) if f.name == "test_split")
    if recipe.held_out_test and recipe.test_split != default_test:
        raise InputError(f"test_split {recipe.test_split!r} and held_out_test both say what to test on; pass one")
    if recipe.test_split == default_test and default_test not in source:
        chosen.pop("test", None)
    for role, name in chosen.items():
        if name not in source:
            instead = ", or --held-out a share of train" if role == "dev" else ""
            raise InputError(
                f"{task} has no split {name!r} for {role}; it has {', '.join(source)}; "
                f"pass --{role}-split one of them{instead}"
            )
    splits = {role: source[name] for role, name in chosen.items()}
    if splits["train"].labels is None:
        raise InputError(f"{task}'s split {recipe.train_split!r} has no labels to train on; pass another train_split")
    if recipe.held_out:
        splits["train"], splits["dev"] = _hold_out(splits["train"], recipe.held_out, recipe)
    if recipe.held_out_test:
        splits["dev"], splits["test"] = _hold_out(splits["dev"], recipe.held_out_test, recipe)
    for role, count in (("train", recipe.train_rows), ("dev", recipe.dev_rows)):
        if count is not None:
            splits[role] = _draw(splits[role], count, role, recipe.rows_seed)
    if recipe.keep == "best" and splits["dev"].labels is None:
        raise InputError(f"keep best needs labels, and {task}'s split {recipe.dev_split!r} has none; pass keep last")
    return {role: rows if limit is None else rows.head(limit) for role, rows in splits.items()}


def rows_of_steps(recipe: Recipe, steps: int) -> int:
    """Number of training rows that make one epoch of `steps` steps, with half a batch at the end. If the recipe keeps a
    short last batch, the half batch is the last step; else it comes after the last step and is left over."""
    half = recipe.batch_size // 2
    if recipe.last_batch == "keep":
        return (steps - 1) * recipe.batch_size + max(1, half)
    return steps * recipe.batch_size + half


def splits_hash(splits: dict[str, Rows]) -> str:
    """sha256 over every split's name, texts and labels, hex."""
    return hashlib.sha256(repr(sorted((name, rows.hash) for name, rows in splits.items())).encode()).hexdigest()


def _hold_out(rows: Rows, share: float, recipe: Recipe) -> tuple[Rows, Rows]:
    from sklearn.model_selection import train_test_split  # slow to import, and seldom needed

    if len(rows) * (1 - share) < 1:
        raise InputError(f"a share of {share} held out of {len(rows)} rows leaves none; pass a smaller one")
    kept, held = train_test_split(np.arange(len(rows)), test_size=share, random_state=recipe.held_out_seed)
    return rows.take(kept), rows.take(held)


def _draw(rows: Rows, count: int, role: str, seed: int | None) -> Rows:
    """Takes the first `count` rows, after `datasets.Dataset.shuffle(seed)` if there is a seed."""
    if count > len(rows):
        raise InputError(f"{role}_rows is {count}; {role} has {len(rows)} rows: pass that or fewer")
    if seed is None:
        return rows.head(count)
    return rows.take(np.random.default_rng(seed).permutation(len(rows))[:count])
