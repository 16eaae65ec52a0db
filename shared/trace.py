"""Traces: recordings of all that a model computes in its first training steps, which parity compares.

A trace is a folder with one .npz file for each part. From `loss` on, dropout is 0.

    parameters              every parameter as loaded, the head's too
    states                  states of the first batch in evaluation, at the recipe's dropout rates: `embeddings`,
                            `layers/N`, `pooled`, `logits`; and the batch's `attention_mask`
    loss                    `value`, the loss of the first batch
    gradients               gradients of the first batch, by parameter
    norm, clipped           `value`, the gradients' global norm; the gradients after clipping
    first_step, last_step   every parameter after the first and the last step of the loop
    losses                  `value`, the loss of each step
    dev                     `logits` of the dev split after the last step

`norm`, `clipped`, `first_step`, `losses` and `last_step` occur a second time, as `steep_norm` and so on, at settings
that make the mistakes of an optimizer visible.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

import numpy as np

from shared.answer import Dropped, Event, Received, Traced
from shared.architecture import Weights
from shared.batching import Batch, make_batch
from shared.contract import Gradients, HiddenStates, Lazy, Model
from shared.encoding import Encoded
from shared.errors import InputError
from shared.finetune import epochs, finetune
from shared.recipe import Recipe

STEEP_STEPS = 10
"""Largest number of steps at the steep settings: rounding errors grow from step to step."""


def steep(recipe: Recipe, clip: float) -> Recipe:
    """Sets a large constant rate, a large decay and epsilon, and this clip. If the clip is below the gradients' norm,
    each mistake of an optimizer moves weights far more than rounding does."""
    return replace(recipe, learning_rate=1e-3, schedule="constant", warm_up=0.0, decay=0.1, eps=1e-6, clip=clip)


def trace(
    build: Callable[[Recipe], Model],
    data: dict[str, Encoded],
    recipe: Recipe,
    metrics: tuple[str, ...],
    steep_clip: float | None,
    folder: Path,
    on_event: Callable[[Event], None],
) -> Traced:
    """Runs the recipe on `data` (`train` and `dev`), writes the trace into the folder and returns its summary.

    `build` makes a model of the checkpoint for a recipe. `steep_clip` is the clip at the steep settings, None for a
    tenth of the gradients' norm. `on_event` receives the progress. Raises InputError if dev has no labels.
    """
    train = data["train"]
    rows, _ = next(epochs(train, recipe))[0]
    first = make_batch(train, rows, recipe)
    model = build(recipe)
    _save(folder, "states", _states(model.hidden_states(first), first))
    dropped = model.hidden_states(first, dropout=True).embeddings[first.attention_mask == 1]

    still = replace(recipe, dropout=0.0, head_dropout=0.0)
    model = build(still)
    _save(folder, "parameters", model.weights())
    gradients = model.gradients(first)
    _save(folder, "loss", {"value": np.array(gradients.loss)})
    _save(folder, "gradients", gradients.raw)
    _save_clipping(folder, "", gradients)
    watched = Watched(model)
    run = finetune(watched, data, still, metrics, on_event)
    dev = run.fit.epochs[-1].dev
    if dev is None:
        raise InputError("a trace scores dev, and dev has no labels; pass a split that has")
    _save_steps(folder, "", watched, run.fit.step_loss)
    _save(folder, "dev", {"logits": run.logits["dev"]})

    clip = gradients.norm / 10 if steep_clip is None else steep_clip
    _trace_steep(build, train, first, steep(still, clip), folder)
    return Traced(
        dropped=Dropped(float(np.mean(dropped == 0)), dropped.size),
        received=watched.received,
        steep_clip=clip,
        dev=dev,
    )


def _trace_steep(build: Callable[[Recipe], Model], train: Encoded, first: Batch, recipe: Recipe, folder: Path) -> None:
    """Writes the clipping of the first batch, and the first steps, at the steep settings."""
    model = build(recipe)
    _save_clipping(folder, "steep_", model.gradients(first))
    watched = Watched(model)
    steps = islice(chain.from_iterable(epochs(train, recipe)), STEEP_STEPS)
    batches = ((make_batch(train, rows, recipe, model.width_multiple), rate) for rows, rate in steps)
    losses = [watched.train_step(batch, rate)()[0] for batch, rate in batches]
    _save_steps(folder, "steep_", watched, losses)


@dataclass
class Watched:
    """A model that notes the arguments of each train_step, and the parameters after the first one."""

    model: Model
    received: list[Received] = field(default_factory=list)
    after_first: Weights = field(default_factory=dict)

    @property
    def width_multiple(self) -> int:
        return self.model.width_multiple

    def train_step(self, batch: Batch, learning_rate: float) -> Lazy:
        hashes = {name: _hash(array) for name, array in batch.asked.items()}
        self.received.append(Received(**hashes, rate=learning_rate))
        lazy = self.model.train_step(batch, learning_rate)
        if len(self.received) == 1:
            self.after_first = self.model.weights()
        return lazy

    def predict(self, batch: Batch) -> np.ndarray:
        return self.model.predict(batch)

    def gradients(self, batch: Batch) -> Gradients:
        return self.model.gradients(batch)

    def hidden_states(self, batch: Batch, dropout: bool = False) -> HiddenStates:
        return self.model.hidden_states(batch, dropout)

    def weights(self) -> Weights:
        return self.model.weights()

    def set_weights(self, weights: Weights) -> None:
        self.model.set_weights(weights)

    def synchronize(self) -> None:
        self.model.synchronize()

    def peak_memory(self) -> int:
        return self.model.peak_memory()


def _states(states: HiddenStates, batch: Batch) -> dict[str, np.ndarray]:
    layers = {f"layers/{n}": layer for n, layer in enumerate(states.layers)}
    return {
        "embeddings": states.embeddings,
        **layers,
        "pooled": states.pooled,
        "logits": states.logits,
        "attention_mask": batch.attention_mask,
    }


def _save_clipping(folder: Path, prefix: str, gradients: Gradients) -> None:
    _save(folder, f"{prefix}norm", {"value": np.array(gradients.norm)})
    _save(folder, f"{prefix}clipped", gradients.clipped)


def _save_steps(folder: Path, prefix: str, watched: Watched, losses: list[float]) -> None:
    _save(folder, f"{prefix}first_step", watched.after_first)
    _save(folder, f"{prefix}losses", {"value": np.array(losses)})
    _save(folder, f"{prefix}last_step", watched.weights())


def _save(folder: Path, part: str, arrays: dict[str, np.ndarray]) -> None:
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{part}.npz", **arrays)  # type: ignore[arg-type]


def _hash(array: np.ndarray) -> str:
    return hashlib.sha256(str((array.dtype.str, array.shape)).encode() + array.tobytes()).hexdigest()
