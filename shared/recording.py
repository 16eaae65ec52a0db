"""Recordings of this project's adapters: what each computes of a pack (shared.pack), through the loop of
shared.finetune, or batch by batch for a pack that is of no task.

A recording has a file RUN/STEP/PART.npz for each part, under the pack's names:

    eval/0/parameters         every parameter as loaded
    eval/1/hidden, logits     states of one batch in evaluation, at the recipe's dropout rates
    eval/1/loss               its loss
    dropout/1/hidden          its embeddings in training
    train/N, steep/N          `received`, the arguments of each train_step; its loss; and as far as the pack wants them,
                              gradients, their norm, the clipped gradients, and the parameters after the step
    train/0, steep/0          every parameter as loaded, if the pack wants it, and the run is not the loop's
    dev/N/logits              logits of the dev split's batches after the last step of `train`

From eval/1/loss on, dropout is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shared.answer import Event, Recorded
from shared.architecture import Weights
from shared.batching import Batch, evaluation_order
from shared.contract import Gradients, HiddenStates, Lazy, Model
from shared.encoding import Encoded
from shared.errors import InputError
from shared.finetune import finetune
from shared.metrics import score
from shared.pack import OF_RECIPE, VALUE, Arrays, Pack, PackRun, PackStep, write_part
from shared.recipe import Recipe

GIVEN = {"ids": "input_ids", "types": "token_type_ids", "mask": "attention_mask", "labels": "labels"}
"""The pack's names of a batch's arrays (`shared.batching.Batch.asked`)."""


def record(
    build: Callable[[Recipe], Model],
    data: dict[str, Encoded],
    recipe: Recipe,
    metrics: tuple[str, ...],
    pack: Pack,
    out: Path,
    on_event: Callable[[Event], None],
) -> Recorded:
    """Answers the pack and writes the recording into the folder `out`.

    `build` makes a model of the checkpoint for a recipe. `data` has the splits `train` and `dev`, whose batches the
    pack's are to be: the loop makes its own of them. `on_event` receives the progress. Raises InputError if dev has no
    labels.
    """
    if not data["dev"].labelled:
        raise InputError("a recording scores dev, and dev has no labels; pass a split that has")
    still = replace(recipe, dropout=0.0, head_dropout=0.0)
    watched = _record_forward(build, recipe, still, pack, out)
    run = finetune(watched, data, still, metrics, on_event, stop=False)  # NaN is a finding
    watched.write_losses(run.fit.step_loss)
    order = evaluation_order(recipe, data["dev"].lengths)
    for step, rows in zip(pack.run("dev").steps, order, strict=True):
        write_part(out, "dev", step.name, "logits", {VALUE: run.logits["dev"][rows]})

    _record_steep(build, still, pack, out)
    dev = run.fit.epochs[-1].dev
    assert dev is not None
    return Recorded(dev=dev)


def record_pack(
    build: Callable[[Recipe], Model], recipe: Recipe, metrics: tuple[str, ...], pack: Pack, out: Path
) -> Recorded:
    """Answers a pack as `record` does, but with the pack's own batches in place of the loop's: they may be of any rows.

    `recipe` has the dropout rates of the run `dropout`.
    """
    still = replace(recipe, dropout=0.0, head_dropout=0.0)
    watched = _record_forward(build, recipe, still, pack, out)
    _take_steps(watched, still)
    logits, labels = [], []
    for step in pack.run("dev").steps:
        batch = pack_batch(pack, step, recipe, watched.width_multiple)
        logits.append(watched.predict(batch))
        labels.append(batch.labels)
        write_part(out, "dev", step.name, "logits", {VALUE: logits[-1]})
    _record_steep(build, still, pack, out)
    return Recorded(dev=score(metrics, np.concatenate(logits), np.concatenate(labels)))


def _record_forward(build: Callable[[Recipe], Model], recipe: Recipe, still: Recipe, pack: Pack, out: Path) -> Watched:
    """Records the runs `eval` and `dropout`. Returns the model, without dropout, that is to take the run `train`."""
    model = build(recipe)
    first = pack_batch(pack, pack.run("eval").steps[0], recipe)
    write_part(out, "eval", "0", "parameters", model.weights())
    _write_states(out, model.hidden_states(first))
    given = pack_batch(pack, pack.run("dropout").steps[0], recipe)
    write_part(out, "dropout", "1", "hidden", {"embeddings": model.hidden_states(given, dropout=True).embeddings})
    model = build(_with_settings(still, pack.run("train")))
    write_part(out, "eval", "1", "loss", {VALUE: np.array(model.gradients(first).loss)})
    return Watched(model, pack, pack.run("train"), out)


def _record_steep(build: Callable[[Recipe], Model], recipe: Recipe, pack: Pack, out: Path) -> None:
    run = pack.run("steep")
    _take_steps(Watched(build(_with_settings(recipe, run)), pack, run, out), recipe)


def _take_steps(watched: Watched, recipe: Recipe) -> None:
    """Takes the steps of the model's run."""
    watched.write_loaded()
    losses = []
    for step in watched.run.steps:
        batch = pack_batch(watched.pack, step, recipe, watched.width_multiple)
        losses.append(watched.train_step(batch, step.learning_rate)()[0])
    watched.write_losses(losses)


def _with_settings(recipe: Recipe, run: PackRun) -> Recipe:
    return replace(recipe, **{name: getattr(run.settings, name) for name in OF_RECIPE})


def pack_batch(pack: Pack, step: PackStep, recipe: Recipe, width_multiple: int = 1) -> Batch:
    """The step's batch as adapters receive it: as wide as in the pack, or the next multiple of `width_multiple`, but at
    most `recipe.max_len`."""
    arrays = pack.batch(step)
    asked = arrays["input_ids"].shape[1]
    more = max(0, min(recipe.max_len, -(-asked // width_multiple) * width_multiple) - asked)

    def widened(name: str, padding: int) -> np.ndarray:
        return np.pad(arrays[name].astype(np.int32), ((0, 0), (0, more)), constant_values=padding)

    return Batch(
        widened("input_ids", pack.run("train").settings.pad_id),
        widened("token_type_ids", 0),
        widened("attention_mask", 0),
        arrays["labels"],
        asked,
    )


def trained_ids_of(pack: Pack) -> np.ndarray:
    """Ids of all words whose gradients a recording of the pack computes, int64, each once and ascending."""
    steps = [step for name in ("eval", "train", "steep") for step in pack.run(name).steps]
    return np.unique(np.concatenate([pack.batch(step)["input_ids"].ravel() for step in steps]))


@dataclass
class Watched:
    """A model that records the steps of one run."""

    model: Model
    pack: Pack
    run: PackRun
    out: Path
    steps: int = 0
    """Number of steps so far."""

    @property
    def width_multiple(self) -> int:
        return self.model.width_multiple

    def train_step(self, batch: Batch, learning_rate: float) -> Lazy:
        self.steps += 1
        received = {GIVEN[name]: array for name, array in batch.asked.items()}
        self._write("received", received | {"learning_rate": np.array(learning_rate)})
        if self._wants("gradients"):
            found = self.model.gradients(batch)
            self._write("gradients", found.raw)
            self._write("norm", {VALUE: np.array(found.norm)})
            self._write("clipped", found.clipped)
        lazy = self.model.train_step(batch, learning_rate)
        if self._wants("parameters"):
            self._write("parameters", self.model.weights())
        return lazy

    def write_loaded(self) -> None:
        """Writes the parameters before the first step, if the pack wants them."""
        if self._wants("parameters"):
            self._write("parameters", self.model.weights())

    def write_losses(self, losses: list[float]) -> None:
        """Writes the loss of each step."""
        for number, loss in enumerate(losses, 1):
            write_part(self.out, self.run.name, str(number), "loss", {VALUE: np.array(loss)})

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

    def state(self) -> Iterator[tuple[str, np.ndarray]]:
        return self.model.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.model.restore(state)

    def synchronize(self) -> None:
        self.model.synchronize()

    def peak_memory(self) -> int:
        return self.model.peak_memory()

    def _wants(self, part: str) -> bool:
        return self.pack.wanted.shapes(self.run.name, str(self.steps), part) is not None

    def _write(self, part: str, arrays: Arrays) -> None:
        write_part(self.out, self.run.name, str(self.steps), part, arrays)


def _write_states(out: Path, states: HiddenStates) -> None:
    layers = {f"layers/{n}": layer for n, layer in enumerate(states.layers)}
    write_part(out, "eval", "1", "hidden", {"embeddings": states.embeddings, **layers, "pooled": states.pooled})
    write_part(out, "eval", "1", "logits", {VALUE: states.logits})
