"""From a task's rows to the train, dev and test of one recipe."""

from __future__ import annotations

import hashlib
from dataclasses import fields

import numpy as np

from shared.errors import InputError
from shared.recipe import Recipe
from shared.tasks import Rows


def choose_splits(task: str, source: dict[str, Rows], recipe: Recipe, limit: int | None) -> dict[str, Rows]:
    """The rows to train on, to evaluate after each epoch and to test, each cut to its first `limit` rows.

    With `held_out`, dev is that share of the training split, drawn by scikit-learn's train_test_split with
    `held_out_seed`. A task without the default test split has none. Raises InputError for a split that the task does
    not have, for training rows without labels, for a best epoch to be chosen without dev labels, and for a share that
    leaves nothing.
    """
    chosen = {"train": recipe.train_split, "dev": recipe.dev_split, "test": recipe.test_split}
    if recipe.held_out:
        del chosen["dev"]
    default_test = next(f.default for f in fields(Recipe) if f.name == "test_split")
    if recipe.test_split == default_test and default_test not in source:
        del chosen["test"]
    for role, name in chosen.items():
        if name not in source:
            raise InputError(f"{task} has no split {name!r} for {role}; it has {', '.join(source)}")
    splits = {role: source[name] for role, name in chosen.items()}
    if splits["train"].labels is None:
        raise InputError(f"{task}'s split {recipe.train_split!r} has no labels to train on; pass another train_split")
    if recipe.held_out:
        splits["train"], splits["dev"] = _hold_out(splits["train"], recipe)
    if recipe.keep == "best" and splits["dev"].labels is None:
        raise InputError(f"keep best needs labels, and {task}'s split {recipe.dev_split!r} has none; pass keep last")
    return {role: rows if limit is None else rows.head(limit) for role, rows in splits.items()}


def rows_of_steps(recipe: Recipe, steps: int) -> int:
    """How many training rows make one epoch of so many steps and half a batch more: the last batch is short where the
    recipe keeps such a one, and left over where it does not."""
    half = recipe.batch_size // 2
    if recipe.last_batch == "keep":
        return (steps - 1) * recipe.batch_size + max(1, half)
    return steps * recipe.batch_size + half


def splits_hash(splits: dict[str, Rows]) -> str:
    """sha256 over every split's name, texts and labels, hex."""
    return hashlib.sha256(repr(sorted((name, rows.hash()) for name, rows in splits.items())).encode()).hexdigest()


def _hold_out(rows: Rows, recipe: Recipe) -> tuple[Rows, Rows]:
    from sklearn.model_selection import train_test_split  # slow to import, and seldom needed

    if len(rows) * (1 - recipe.held_out) < 1:
        raise InputError(
            f"held_out {recipe.held_out} of {len(rows)} rows leaves none to train on; pass a smaller share"
        )
    kept, held = train_test_split(np.arange(len(rows)), test_size=recipe.held_out, random_state=recipe.held_out_seed)
    return rows.take(kept), rows.take(held)
