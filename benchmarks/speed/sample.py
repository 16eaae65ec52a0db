"""A sample: a few steps of an epoch, chosen so that their mean time is the epoch's.

With buckets, the lengths of an epoch's steps differ many times over, so the first few steps say little. The sample is
spread evenly over the epoch's batches in order of cost. The costliest batch is always in it, since it decides the peak
of memory; as many of the next costliest are left out as make the sample's mean cost most nearly the epoch's. If a
step's time is an affine function of its operations, then the sample's mean time is the epoch's too. Seconds are scaled
by operations for the rest of the difference, and for the epoch's short last batch, which is never sampled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shared.architecture import Architecture
from shared.batching import training_order
from shared.encoding import VOCABULARY, Encoded, take_rows, trained_ids, write_rows
from shared.flops import Work
from shared.recipe import Recipe

PASSES = 2
"""Passes over the sample in one process. The first meets every shape and compiles for it. The second is timed."""


@dataclass(frozen=True)
class Sample:
    """The chosen steps of one way to pad."""

    recipe: Recipe
    """Makes these batches, in this order, out of `data`."""
    data: Path
    """An encoded folder (shared.encoding)."""
    work: Work
    """One pass over the sample."""
    epoch: Work
    """The whole epoch."""
    touched: int | None = None
    """Rows of the word embedding that the whole training split touches; None for a sample of before they counted."""

    @property
    def scale(self) -> float:
        """Seconds of an epoch by seconds of a pass."""
        return self.epoch.all_flops / self.work.all_flops


def make_sample(
    train: Encoded,
    architecture: Architecture,
    recipe: Recipe,
    steps: int,
    folder: Path,
    width_multiple: int = 1,
    attention_groups: int = 1,
) -> Sample:
    """Writes the rows of `steps` batches of the recipe's first epoch into the new folder, in the epoch's order. Work is
    counted as `Work.of` does with `width_multiple` and `attention_groups`."""

    def work(of: Iterable[np.ndarray]) -> Work:
        return Work.of(architecture, train.lengths, of, recipe, width_multiple, attention_groups)

    batches = next(training_order(recipe, train.lengths))
    full = [rows for rows in batches if len(rows) == recipe.batch_size] or batches
    costs = np.array([work([rows]).all_flops for rows in full], float)
    chosen = [full[i] for i in choose_steps(costs, steps)]
    words = trained_ids({"train": train}, architecture.vocab_size)
    whole = Encoded(
        words.astype(np.int32),
        np.zeros(len(words), np.uint8),
        np.array([0, len(words)]),
        np.full(1, -1),
        train.pad_id,
    )
    write_rows(
        folder,
        {
            "train": take_rows(train, np.concatenate(chosen)),
            "dev": take_rows(train, chosen[0][:1]),
            VOCABULARY: whole,  # an update by rows moves those of the whole split
        },
    )
    return Sample(
        # The rows lie batch by batch. `bucket` would sort them again; it pads as `longest` does.
        recipe=replace(
            recipe,
            padding="longest" if recipe.padding == "bucket" else recipe.padding,
            shuffle=False,
            epochs=PASSES,
            keep="last",
        ),
        data=folder,
        work=work(chosen),
        epoch=work(batches),
        touched=len(words),
    )


def choose_steps(costs: np.ndarray, steps: int) -> np.ndarray:
    """Chooses steps of an epoch by their `costs`, float [n]. Returns their numbers, int64 [steps], ascending; all n if
    there are no more. Takes the costliest, and spreads the others evenly, in order of cost, over all but the costliest
    few. "Few" is the number that brings the mean cost nearest to that of all n."""
    if steps >= len(costs):
        return np.arange(len(costs))
    order = np.argsort(costs, kind="stable")
    middles = (np.arange(steps - 1) + 0.5) / (steps - 1)
    spreads = [
        np.append(order[(middles * (len(order) - few)).astype(int)], order[-1])
        for few in range(1, len(order) - steps + 2)
    ]
    return np.sort(min(spreads, key=lambda spread: abs(costs[spread].mean() - costs.mean())))
