"""A few steps that stand for an epoch: which, and how their time becomes the epoch's.

The steps of an epoch of buckets differ in length many times over, so the first few say little. The epoch's batches are
sorted by what they cost, and the sample is spread evenly over them. The costliest is always in it, as it decides the
peak of memory, and stands for the next costliest too: for so many that the sample's mean cost is the epoch's. Where a
step's time is an affine function of its operations, its mean time then is the epoch's mean. What is left of the
difference, and the epoch's short last batch, which is not sampled, come in when seconds are scaled by operations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shared.architecture import Architecture
from shared.batching import training_order
from shared.encoding import Encoded, take_rows, write_rows
from shared.flops import Work
from shared.recipe import Recipe

PASSES = 2
"""Over the sample in one process. The first meets each shape, and traces or compiles for it; the second is timed."""


@dataclass(frozen=True)
class Sample:
    """The chosen steps of a way to pad."""

    recipe: Recipe
    """With which a worker makes these batches, in this order, of `data`."""
    data: Path
    work: Work
    """Of one pass over the sample."""
    epoch: Work
    """Of the whole epoch."""

    @property
    def scale(self) -> float:
        """From seconds of a pass to seconds of an epoch."""
        return self.epoch.all_flops / self.work.all_flops


def make_sample(
    train: Encoded, architecture: Architecture, recipe: Recipe, steps: int, folder: Path, width_multiple: int = 1
) -> Sample:
    """Writes the rows of `steps` batches of the recipe's first epoch into the new folder, in the epoch's order. What is
    counted is of batches whose widths are rounded up to `width_multiple`, as `shared.batching.batch_width` does."""

    def work(of: Iterable[np.ndarray]) -> Work:
        return Work.of(architecture, train.lengths, of, recipe, width_multiple)

    batches = next(training_order(recipe, train.lengths))
    full = [rows for rows in batches if len(rows) == recipe.batch_size] or batches
    costs = np.array([work([rows]).all_flops for rows in full], float)
    chosen = [full[i] for i in choose_steps(costs, steps)]
    write_rows(folder, {"train": take_rows(train, np.concatenate(chosen)), "dev": take_rows(train, chosen[0][:1])})
    return Sample(
        # The rows lie batch by batch; `bucket` would sort them anew, and pads as `longest` does.
        recipe=replace(
            recipe,
            padding="max_length" if recipe.padding == "max_length" else "longest",
            shuffle=False,
            epochs=PASSES,
            keep="last",
        ),
        data=folder,
        work=work(chosen),
        epoch=work(batches),
    )


def choose_steps(costs: np.ndarray, steps: int) -> np.ndarray:
    """Numbers of the steps to take (int64, ascending) of an epoch whose steps cost so much (float [n]): all where there
    are no more; else the costliest, and others spread evenly over all but the costliest few in order of cost, where
    "few" makes the mean cost most nearly that of all."""
    if steps >= len(costs):
        return np.arange(len(costs))
    order = np.argsort(costs, kind="stable")
    middles = (np.arange(steps - 1) + 0.5) / (steps - 1)
    spreads = [
        np.append(order[(middles * (len(order) - few)).astype(int)], order[-1])
        for few in range(1, len(order) - steps + 2)
    ]
    return np.sort(min(spreads, key=lambda spread: abs(costs[spread].mean() - costs.mean())))
