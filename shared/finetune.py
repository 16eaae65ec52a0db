"""THE training loop, written once over the backend contract."""

from __future__ import annotations

import hashlib
import math
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
from shared.finite import all_finite
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


class NotFinite(Exception):
    """A loss, a logit or a weight is NaN or infinite."""

    def __init__(self, step: int) -> None:
        super().__init__(f"not finite at step {step}")
        self.step = step


def finetune(
    model: Model,
    data: dict[str, Encoded],
    recipe: Recipe,
    metrics: tuple[str, ...],
    on_event: Callable[[Event], None],
    compiled: bool = False,
    stop: bool = True,
) -> Run:
    """Trains on `train`, evaluates on `dev` after each epoch and on `test` at the end.

    `metrics` are names in shared.metrics; the first decides which epoch is best. `on_event` receives the progress.
    `compiled` says that the model may compile for a new shape. If a loss, a logit or a weight is NaN or infinite, the
    run ends there and is answered as diverged; without `stop` it goes on. Raises InputError if the best epoch is to be
    kept and dev has no labels, and as `epochs` does.
    """
    if recipe.keep == "best" and not data["dev"].labelled:
        raise InputError("keep best needs a dev split with labels; pass keep last")
    compiles = compiled or isinstance(model, Compiled)
    meter = Meter(model, total_steps(recipe, len(data["train"])), on_event, compiles, stop)
    course = _Course(model, data, recipe, metrics, meter, _Kept(recipe, metrics[0]))
    diverged = None
    try:
        course.run()
    except NotFinite as found:
        diverged = found.step
        course.forget()
    logits = {"dev": course.kept.logits} if course.kept.logits is not None else {}
    test = course.test
    if test is not None:
        logits["test"] = test.logits
    fit = Fit(
        total_steps=meter.total,
        received=meter.received.hexdigest(),
        first_step_seconds=meter.first_step_seconds,
        step_loss=meter.losses,
        step_accuracy=[correct / rows for correct, rows in zip(meter.correct, meter.rows, strict=True)],
        dev_before=course.dev_before,
        epochs=course.epochs,
        kept_epoch=course.kept.epoch,
        test=test.scores if test else None,
        test_seconds=test.seconds if test else 0.0,
        peak_memory_bytes=course.peak,
        diverged=diverged,
    )
    return Run(fit, logits, meter.first_step_at)


@dataclass
class _Course:
    """A fine-tuning, as far as it has come."""

    model: Model
    data: dict[str, Encoded]
    recipe: Recipe
    metrics: tuple[str, ...]
    meter: Meter
    kept: _Kept
    dev_before: Scores | None = None
    epochs: list[Epoch] = field(default_factory=list)
    peak: int = 0
    """Peak memory of the training, in bytes."""
    test: _Look | None = None

    def run(self) -> None:
        """Trains and evaluates. Raises NotFinite."""
        model, recipe, meter, dev = self.model, self.recipe, self.meter, self.data["dev"]
        if recipe.eval_before:
            self.dev_before = self._look("dev").scores
            meter.on_event(DevScored(self.dev_before))
        for number, steps in enumerate(epochs(self.data["train"], recipe), 1):
            trained = _train_epoch(model, self.data["train"], steps, recipe, meter, number)
            look = self._look("dev")
            self.epochs.append(_epoch(trained, look, dev, recipe))
            meter.on_event(EpochEnded(number, recipe.epochs, self.epochs[-1]))
            self.kept.consider(number, look, model)
        self.peak = model.peak_memory()
        # A weight that is not finite never becomes finite again, so the last weights tell of all before them.
        if meter.stop and not all(map(all_finite, model.weights().values())):
            raise NotFinite(meter.steps)
        self.kept.restore(model)
        if "test" in self.data:
            self.test = self._look("test")

    def forget(self) -> None:
        """Keeps nothing of the training but its history."""
        self.model.synchronize()
        self.peak = self.peak or self.model.peak_memory()
        self.kept = _Kept(self.recipe, self.metrics[0])

    def _look(self, split: str) -> _Look:
        """Evaluates the model on the split. Raises NotFinite."""
        data = self.data[split]
        self.model.synchronize()
        start = time.perf_counter()
        logits = predict(self.model, data, self.recipe)
        seconds = time.perf_counter() - start
        if self.meter.stop and not all_finite(logits):
            raise NotFinite(self.meter.steps)
        return _Look(logits, score(self.metrics, logits, data.labels) if data.labelled else None, seconds)


@dataclass
class Meter:
    """Counts and times train steps, and hashes their arguments."""

    model: Model
    total: int
    """Number of steps in the whole run."""
    on_event: Callable[[Event], None]
    compiles: bool = False
    """Whether the model may compile for a new shape."""
    stop: bool = True
    """Whether a loss that is not finite ends the training."""
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
    first_seconds: float = 0.0
    """Time of the steps that were the first of their shape, if the model compiles."""
    first_tokens: int = 0
    """Tokens computed on in them."""
    pending: deque[tuple[Lazy, int]] = field(default_factory=deque)
    """Results not waited for yet, each with its batch's number of rows."""

    def step(self, batch: Batch, rate: float, epoch: int) -> None:
        """Runs one train_step, and collects the result of an earlier one. Raises NotFinite."""
        batch.update_hash(self.received)
        self.received.update(float(rate).hex().encode())
        new = self.compiles and batch.input_ids.shape not in self.shapes
        self.shapes.add(batch.input_ids.shape)
        if new:
            self.model.synchronize()  # the time of a new program is then its own: no earlier step runs behind it
        step = self._step_alone if new or not self.first_step_at else self.model.train_step
        lazy = step(batch, rate)
        self.pending.append((lazy, len(batch.labels)))
        if len(self.pending) > STEPS_AHEAD:
            self._collect()
            self._tell(epoch)

    @property
    def steps(self) -> int:
        """Number of steps whose result has arrived."""
        return len(self.losses)

    def drain(self) -> None:
        """Waits for all pending results. Raises NotFinite."""
        while self.pending:
            self._collect()

    def _step_alone(self, batch: Batch, rate: float) -> Lazy:
        """Runs a train_step by itself: waits for it, and adds its time to that of the first steps."""
        first, start = not self.first_step_at, time.perf_counter()
        self.first_step_at = self.first_step_at or time.time()
        lazy = self.model.train_step(batch, rate)
        self.model.synchronize()
        seconds = time.perf_counter() - start
        if first:
            self.first_step_seconds = seconds
        if self.compiles:
            self.first_seconds += seconds
            self.first_tokens += batch.input_ids.size
        return lazy

    def _collect(self) -> None:
        lazy, rows = self.pending.popleft()
        loss, correct = lazy()
        if self.stop and not math.isfinite(loss):
            raise NotFinite(self.steps + 1)
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
    first_seconds: float
    """Time of the steps that were the first of their shape, if the model compiles."""
    first_tokens: int


def _program_seconds(model: Model) -> float:
    """The process's time on programs so far; 0 for a backend that compiles none for each shape."""
    return model.programs().seconds if isinstance(model, Compiled) else 0.0


def _train_epoch(
    model: Model, train: Encoded, steps: list[tuple[np.ndarray, float]], recipe: Recipe, meter: Meter, number: int
) -> _Trained:
    before, padded_tokens = len(meter.losses), 0
    first_seconds, first_tokens = meter.first_seconds, meter.first_tokens
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
        first_seconds=meter.first_seconds - first_seconds,
        first_tokens=meter.first_tokens - first_tokens,
    )


@dataclass(frozen=True)
class _Look:
    """An evaluation of one split."""

    logits: np.ndarray
    scores: Scores | None
    """None if the split has no labels."""
    seconds: float
    """Time of the predictions."""


def _epoch(trained: _Trained, look: _Look, dev: Encoded, recipe: Recipe) -> Epoch:
    by_batch = batch_accuracy(dev.labels, look.logits.argmax(1), recipe.batch_size) if dev.labelled else None
    return Epoch(
        seconds=trained.seconds,
        steps=len(trained.losses),
        rows=sum(trained.rows),
        tokens=trained.tokens,
        padded_tokens=trained.padded_tokens,
        train_loss=float(np.average(trained.losses, weights=trained.rows)),
        train_accuracy=sum(trained.correct) / max(1, sum(trained.rows)),
        dev=look.scores,
        dev_seconds=look.seconds,
        dev_batch_accuracy=by_batch,
        program_seconds=trained.program_seconds,
        first_seconds=trained.first_seconds,
        first_tokens=trained.first_tokens,
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
