"""THE training loop, written once over the backend contract."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from shared.answer import DevScored, Epoch, EpochEnded, Event, Fit, Scores, Stepped
from shared.architecture import Weights
from shared.batching import Batch, evaluation_order, make_batch, total_steps, training_order
from shared.contract import Compiled, Lazy, Model
from shared.encoding import Encoded
from shared.errors import InputError
from shared.metrics import batch_accuracy, score
from shared.prefetch import prefetch
from shared.recipe import Recipe, learning_rate_at

STEPS_AHEAD = 8
"""Number of steps that the host may run ahead of the device. A step's loss is read this many steps later: reading it
then leaves no device idle, and an asynchronous framework does not queue a whole epoch in memory."""

PROGRESS_SECONDS = 0.2
"""Shortest time between two events of progress."""


def epochs(data: Encoded, recipe: Recipe) -> Iterator[list[tuple[np.ndarray, float]]]:
    """Yields the steps of each epoch: the batch's row numbers (int64) and the learning rate.

    Raises InputError if the training split is too small for one step an epoch.
    """
    total = total_steps(recipe, len(data))
    if recipe.last_batch != "keep" and len(data) < recipe.batch_size:
        raise InputError(
            f"{len(data)} training rows make no batch of {recipe.batch_size}; pass a smaller batch_size, or "
            "last_batch keep"
        )
    step = 0
    for batches in training_order(recipe, data.lengths):
        yield [(rows, learning_rate_at(recipe, step + i, total)) for i, rows in enumerate(batches)]
        step += len(batches)


@dataclass(frozen=True)
class Run:
    """A finished fine-tuning."""

    fit: Fit
    logits: dict[str, np.ndarray]
    """Logits with the kept weights, [rows, labels], of `dev` and, if there is one, `test`."""
    first_step_at: float
    """Start of the first train_step, in seconds since 1970."""


def finetune(
    model: Model,
    data: dict[str, Encoded],
    recipe: Recipe,
    metrics: tuple[str, ...],
    on_event: Callable[[Event], None],
) -> Run:
    """Trains on `train`, evaluates on `dev` after each epoch and on `test` at the end.

    `metrics` are names in shared.metrics; the first decides which epoch is best. `on_event` receives the progress.
    Raises InputError if the best epoch is to be kept and dev has no labels, and as `epochs` does.
    """
    train, dev = data["train"], data["dev"]
    if recipe.keep == "best" and not dev.labelled:
        raise InputError("keep best needs a dev split with labels; pass keep last")
    meter = Meter(model, total_steps(recipe, len(train)), on_event)
    dev_before = None
    if recipe.eval_before:
        dev_before = _look(model, dev, recipe, metrics).scores
        on_event(DevScored(dev_before))
    kept = _Kept(recipe, metrics[0])
    done: list[Epoch] = []
    for number, steps in enumerate(epochs(train, recipe), 1):
        trained = _train_epoch(model, train, steps, recipe, meter, number)
        look = _look(model, dev, recipe, metrics)
        done.append(_epoch(trained, look, dev, recipe))
        on_event(EpochEnded(number, recipe.epochs, done[-1]))
        kept.consider(number, look, model)
    peak = model.peak_memory()
    kept.restore(model)
    logits = {"dev": kept.logits} if kept.logits is not None else {}
    test = _look(model, data["test"], recipe, metrics) if "test" in data else None
    if test is not None:
        logits["test"] = test.logits
    fit = Fit(
        total_steps=meter.total,
        received=meter.received.hexdigest(),
        first_step_seconds=meter.first_step_seconds,
        step_loss=meter.losses,
        step_accuracy=[correct / rows for correct, rows in zip(meter.correct, meter.rows, strict=True)],
        dev_before=dev_before,
        epochs=done,
        kept_epoch=kept.epoch,
        test=test.scores if test else None,
        test_seconds=test.seconds if test else 0.0,
        peak_memory_bytes=peak,
    )
    return Run(fit, logits, meter.first_step_at)


@dataclass
class Meter:
    """Counts and times train steps, and hashes their arguments."""

    model: Model
    total: int
    """Number of steps in the whole run."""
    on_event: Callable[[Event], None]
    received: Any = field(default_factory=hashlib.sha256)
    first_step_at: float = 0.0
    first_step_seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    """Loss of each step whose result has arrived."""
    correct: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    told: float = 0.0
    """Time of the last event of a step, on the clock of `time.perf_counter`."""
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    """Shapes of the batches so far."""
    pending: deque[tuple[Lazy, int]] = field(default_factory=deque)
    """Results not waited for yet, each with its batch's number of rows."""

    def step(self, batch: Batch, rate: float, epoch: int) -> None:
        """Runs one train_step, and collects the result of an earlier one."""
        batch.update_hash(self.received)
        self.received.update(float(rate).hex().encode())
        if isinstance(self.model, Compiled) and batch.input_ids.shape not in self.shapes:
            self.model.synchronize()  # the time of a new program is then its own: no earlier step runs behind it
        self.shapes.add(batch.input_ids.shape)
        if self.first_step_at:
            lazy = self.model.train_step(batch, rate)
        else:
            self.first_step_at, start = time.time(), time.perf_counter()
            lazy = self.model.train_step(batch, rate)
            self.model.synchronize()
            self.first_step_seconds = time.perf_counter() - start
        self.pending.append((lazy, len(batch.labels)))
        if len(self.pending) > STEPS_AHEAD:
            self._collect()
            self._tell(epoch)

    def drain(self) -> None:
        """Waits for all pending results."""
        while self.pending:
            self._collect()

    def _collect(self) -> None:
        lazy, rows = self.pending.popleft()
        loss, correct = lazy()
        self.losses.append(loss)
        self.correct.append(correct)
        self.rows.append(rows)

    def _tell(self, epoch: int) -> None:
        """Sends an event of the latest step, unless the last event was a moment ago."""
        now = time.perf_counter()
        if now - self.told >= PROGRESS_SECONDS:
            self.told = now
            self.on_event(Stepped(epoch, len(self.losses), self.total, self.losses[-1]))


@dataclass(frozen=True)
class _Trained:
    """One pass over the training split."""

    seconds: float
    losses: list[float]
    """Loss of each step."""
    correct: list[int]
    rows: list[int]
    tokens: int
    padded_tokens: int
    program_seconds: float


def _program_seconds(model: Model) -> float:
    """The process's time on programs so far; 0 for a backend that compiles none for each shape."""
    return model.programs().seconds if isinstance(model, Compiled) else 0.0


def _train_epoch(
    model: Model, train: Encoded, steps: list[tuple[np.ndarray, float]], recipe: Recipe, meter: Meter, number: int
) -> _Trained:
    before, padded_tokens = len(meter.losses), 0
    model.synchronize()
    programs, start = _program_seconds(model), time.perf_counter()
    with _batches(train, [rows for rows, _ in steps], recipe, model) as batches:
        for batch, (_, rate) in zip(batches, steps, strict=True):
            meter.step(batch, rate, number)
            padded_tokens += batch.input_ids.size
    model.synchronize()
    seconds = time.perf_counter() - start
    meter.drain()
    return _Trained(
        seconds=seconds,
        losses=meter.losses[before:],
        correct=meter.correct[before:],
        rows=meter.rows[before:],
        tokens=sum(int(train.lengths[rows].sum()) for rows, _ in steps),
        padded_tokens=padded_tokens,
        program_seconds=_program_seconds(model) - programs,
    )


@dataclass(frozen=True)
class _Look:
    """An evaluation of one split."""

    logits: np.ndarray
    scores: Scores | None
    """None if the split has no labels."""
    seconds: float
    """Time of the predictions."""


def _look(model: Model, data: Encoded, recipe: Recipe, metrics: tuple[str, ...]) -> _Look:
    model.synchronize()
    start = time.perf_counter()
    logits = predict(model, data, recipe)
    seconds = time.perf_counter() - start
    return _Look(logits, score(metrics, logits, data.labels) if data.labelled else None, seconds)


def _epoch(trained: _Trained, look: _Look, dev: Encoded, recipe: Recipe) -> Epoch:
    by_batch = batch_accuracy(dev.labels, look.logits.argmax(1), recipe.batch_size) if dev.labelled else None
    return Epoch(
        seconds=trained.seconds,
        steps=len(trained.losses),
        rows=sum(trained.rows),
        tokens=trained.tokens,
        padded_tokens=trained.padded_tokens,
        train_loss=float(np.average(trained.losses, weights=trained.rows)) if trained.losses else float("nan"),
        train_accuracy=sum(trained.correct) / max(1, sum(trained.rows)),
        dev=look.scores,
        dev_seconds=look.seconds,
        dev_batch_accuracy=by_batch,
        program_seconds=trained.program_seconds,
    )


@dataclass
class _Kept:
    """The epoch whose weights are tested: the last one, or the best one on dev by the first metric."""

    recipe: Recipe
    metric: str
    epoch: int = 0
    logits: np.ndarray | None = None
    """Logits of dev after that epoch."""
    best: tuple[float, Weights] | None = None

    def consider(self, number: int, look: _Look, model: Model) -> None:
        """Keeps this epoch in place of an earlier one: always, or if it is better."""
        if self.recipe.keep == "best":
            if look.scores is None or (self.best is not None and not look.scores[self.metric] > self.best[0]):
                return
            self.best = look.scores[self.metric], model.weights()
        self.epoch, self.logits = number, look.logits

    def restore(self, model: Model) -> None:
        """Puts the kept weights back into the model, if it was trained further since."""
        if self.best is not None and self.epoch != self.recipe.epochs:
            model.set_weights(self.best[1])


def predict(model: Model, data: Encoded, recipe: Recipe) -> np.ndarray:
    """Returns the logits, [rows, labels] in the type that `shared.job.stored` names, in the split's own order. Raises
    InputError if the split has no rows."""
    logits: np.ndarray | None = None
    order = evaluation_order(recipe, data.lengths)
    with _batches(data, order, recipe, model) as batches:
        for batch, rows in zip(batches, order, strict=True):
            part = model.predict(batch)
            if logits is None:
                logits = np.empty((len(data), part.shape[1]), part.dtype)
            logits[rows] = part
    if logits is None:
        raise InputError("a split without rows cannot be predicted")
    return logits


def _batches(
    data: Encoded, rows: list[np.ndarray], recipe: Recipe, model: Model
) -> AbstractContextManager[Iterator[Batch]]:
    """Gives the batch of each of these groups of rows, assembled ahead of its use."""
    return prefetch(partial(make_batch, data, recipe=recipe, width_multiple=model.width_multiple), rows)
