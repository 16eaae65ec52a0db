"""THE training loop, written once over the backend contract."""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from msgspec import structs

from shared.answer import DevScored, Epoch, EpochEnded, Event, Fit, Remarked, Scores, Stepped, Stretch, Working
from shared.architecture import Weights
from shared.batching import (
    Batch,
    check_steps,
    computed_tokens,
    evaluation_order,
    make_batch,
    total_steps,
    training_order,
)
from shared.contract import Compiled, Lazy, Model, Reseeded
from shared.encoding import Encoded
from shared.errors import InputError
from shared.finite import all_finite
from shared.metrics import batch_accuracy, score
from shared.prefetch import prefetch
from shared.recipe import Recipe, learning_rate_at
from shared.resuming import Arrays, Checkpoints, Found, Progress

STEPS_AHEAD = 8
"""Number of steps that the host may run ahead of the device. A step's loss is read this many steps later: reading it
then leaves no device idle, and an asynchronous framework does not queue a whole epoch in memory."""

PROGRESS_SECONDS = 0.2
"""Shortest time between two events of progress."""


Step = tuple[np.ndarray, float]
"""A batch's row numbers (int64) and the learning rate."""


def epochs(data: Encoded, recipe: Recipe) -> Iterator[list[Step]]:
    """Yields the steps of each epoch. Raises InputError if the training split is too small for one step an epoch."""
    total = total_steps(recipe, len(data))
    check_steps(recipe, len(data))
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
    """Start of this process's first train_step, or if it took none, the end of the run; on the clock of
    `time.perf_counter`."""


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
    checkpoints: Checkpoints | None = None,
) -> Run:
    """Trains on `train`, evaluates on `dev` after each epoch and on `test` at the end.

    `metrics` are names in shared.metrics; the first decides which epoch is best. `on_event` receives the progress.
    `compiled` says that the model may compile for a new shape. If a loss, a logit or a weight is NaN or infinite, the
    run ends there and is answered as diverged; without `stop` it goes on. With `checkpoints` the run keeps them, and
    goes on from the latest if there is one. Raises InputError if the best epoch is to be kept and dev has no labels,
    and as `epochs` does.
    """
    if recipe.keep == "best" and not data["dev"].labelled:
        raise InputError("keep best needs a dev split with labels; pass keep last")
    compiles = compiled or isinstance(model, Compiled)
    meter = Meter(model, recipe, total_steps(recipe, len(data["train"])), on_event, compiles, stop)
    course = _Course(model, data, recipe, metrics, meter, _Kept(recipe, metrics[0]), checkpoints)
    diverged = None
    try:
        course.resume()
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
        interruptions=meter.interruptions,
        diverged=diverged,
    )
    return Run(fit, logits, meter.first_step_at or time.perf_counter())


@dataclass
class _Course:
    """A fine-tuning, as far as it has come."""

    model: Model
    data: dict[str, Encoded]
    recipe: Recipe
    metrics: tuple[str, ...]
    meter: Meter
    kept: _Kept
    checkpoints: Checkpoints | None = None
    dev_before: Scores | None = None
    epochs: list[Epoch] = field(default_factory=list)
    """The epochs that are over."""
    current: Stretch = field(default_factory=Stretch)
    """The part of the next one that is trained."""
    peak: int = 0
    """Peak memory of the training, in bytes."""
    test: _Look | None = None

    def run(self) -> None:
        """Trains and evaluates. Raises NotFinite."""
        model, recipe, meter, dev = self.model, self.recipe, self.meter, self.data["dev"]
        if recipe.eval_before and not meter.steps:
            self.dev_before = self._look("dev").scores
            meter.on_event(DevScored(self.dev_before))
        for number, steps in enumerate(epochs(self.data["train"], recipe), 1):
            if number <= len(self.epochs):
                continue
            self._train(number, steps)
            look = self._look("dev")
            self.epochs.append(self._epoch(steps, look, dev))
            self.current = Stretch()
            meter.on_event(EpochEnded(number, recipe.epochs, self.epochs[-1]))
            self.kept.consider(number, look, model)
            if self.checkpoints and self.checkpoints.every == "epoch":
                self._keep_checkpoint(self.checkpoints)
        self.peak = max(self.peak, model.peak_memory())
        # A weight that is not finite never becomes finite again, so the last weights tell of all before them.
        if meter.stop and not all(map(all_finite, model.weights().values())):
            raise NotFinite(meter.steps)
        self.kept.restore(model)
        if "test" in self.data:
            self.test = self._look("test")

    def _train(self, number: int, steps: list[Step]) -> None:
        """Trains on what is left of an epoch's steps, in stretches that end at checkpoints. Raises NotFinite."""
        before = sum(epoch.steps for epoch in self.epochs)
        while left := steps[self.meter.steps - before :]:
            due = self.checkpoints.steps_left(self.meter.steps) if self.checkpoints else None
            stretch = _train_stretch(self.model, self.data["train"], left[:due], self.recipe, self.meter, number)
            self.current = self.current.plus(stretch)
            if self.checkpoints and due is not None and due <= len(left):
                self._keep_checkpoint(self.checkpoints)

    def resume(self) -> None:
        """Goes on from the latest checkpoint, if there is one that is whole."""
        if self.checkpoints is None:
            return
        found, refused = self.checkpoints.read()
        if found and not self._receive_again(found.progress):
            found, refused = None, [*refused, self.checkpoints.folder]
        for path in refused:
            self.meter.on_event(Remarked(f"{path} is damaged, or of another training, and is not used"))
        if found:
            self._take_up(found, self.checkpoints)
            self.meter.interruptions = self.checkpoints.count_interruption()
            self.meter.on_event(Remarked(f"goes on after step {self.meter.steps} of {self.meter.total}"))
        else:
            self.checkpoints.remove()

    def _receive_again(self, progress: Progress) -> bool:
        """Hashes the arguments of the steps before the checkpoint, made again. Returns whether they are the same."""
        steps = itertools.chain.from_iterable(epochs(self.data["train"], self.recipe))
        before = list(itertools.islice(steps, len(progress.step_loss)))
        with _batches(self.data["train"], [rows for rows, _ in before], self.recipe, self.model) as batches:
            for batch, (_, rate) in zip(batches, before, strict=True):
                self.meter.receive(batch, rate)
        same: bool = self.meter.received.hexdigest() == progress.received
        if not same:
            self.meter.received = hashlib.sha256()
        return same

    def _take_up(self, found: Found, checkpoints: Checkpoints) -> None:
        """Takes up a checkpoint. Raises InputError if the model does not know its arrays."""
        progress, meter = found.progress, self.meter
        try:
            self.model.restore(found.arrays)
        except (KeyError, ValueError, RuntimeError):
            checkpoints.remove()
            raise InputError(f"{checkpoints.folder} is another adapter's; the same command starts anew") from None
        self.dev_before, self.peak = progress.dev_before, progress.peak_memory_bytes
        self.epochs, self.current = progress.epochs, progress.current
        meter.losses, meter.correct, meter.rows = progress.step_loss, progress.correct, progress.rows
        meter.first_step_seconds = progress.first_step_seconds
        meter.first_step_tokens = progress.first_step_tokens
        self.kept.take_up(found)
        # This process's first step is told apart by `first_seconds`, and so must the first process's be.
        first = {"first_seconds": meter.first_step_seconds, "first_tokens": meter.first_step_tokens}
        if self.epochs and not self.epochs[0].first_tokens:
            self.epochs[0] = structs.replace(self.epochs[0], **first)
        elif not self.epochs and not self.current.first_tokens:
            self.current = structs.replace(self.current, **first)

    def _keep_checkpoint(self, checkpoints: Checkpoints) -> None:
        """Writes a checkpoint. Training goes on if the disk cannot take it."""
        if isinstance(self.model, Reseeded):
            self.model.reseed()
        self.peak = max(self.peak, self.model.peak_memory())
        progress = Progress(
            received=self.meter.received.hexdigest(),
            step_loss=self.meter.losses,
            correct=self.meter.correct,
            rows=self.meter.rows,
            first_step_seconds=self.meter.first_step_seconds,
            first_step_tokens=self.meter.first_step_tokens,
            dev_before=self.dev_before,
            epochs=self.epochs,
            current=self.current,
            kept_epoch=self.kept.epoch,
            kept_score=self.kept.best[0] if self.kept.best else None,
            peak_memory_bytes=self.peak,
        )
        try:
            checkpoints.write(progress, itertools.chain(self.model.state(), self.kept.arrays()))
        except OSError as error:
            self.meter.on_event(Remarked(f"{checkpoints.folder} takes no checkpoint: {error.strerror}; make room"))

    def _epoch(self, steps: list[Step], look: _Look, dev: Encoded) -> Epoch:
        """The epoch that is over with these steps."""
        meter, recipe, train = self.meter, self.recipe, self.data["train"]
        own = slice(-len(steps), None)
        rows = meter.rows[own]
        by_batch = batch_accuracy(dev.labels, look.logits.argmax(1), recipe.batch_size) if dev.labelled else None
        return Epoch(
            steps=len(steps),
            rows=sum(rows),
            tokens=sum(int(train.lengths[rows].sum()) for rows, _ in steps),
            train_loss=float(np.average(meter.losses[own], weights=rows)),
            train_accuracy=sum(meter.correct[own]) / max(1, sum(rows)),
            dev=look.scores,
            dev_seconds=look.seconds,
            dev_batch_accuracy=by_batch,
            **structs.asdict(self.current),
        )

    def forget(self) -> None:
        """Keeps nothing of the training but its history."""
        self.model.synchronize()
        self.peak = max(self.peak, self.model.peak_memory())
        self.kept = _Kept(self.recipe, self.metrics[0])

    def _look(self, split: str) -> _Look:
        """Evaluates the model on the split. Raises NotFinite."""
        data = self.data[split]
        self.model.synchronize()
        start = time.perf_counter()
        logits = predict(self.model, data, self.recipe, partial(self.meter.sign, f"evaluation on {split}"))
        seconds = time.perf_counter() - start
        if self.meter.stop and not all_finite(logits):
            raise NotFinite(self.meter.steps)
        return _Look(logits, score(self.metrics, logits, data.labels) if data.labelled else None, seconds)


@dataclass
class Meter:
    """Counts and times train steps, and hashes their arguments."""

    model: Model
    recipe: Recipe
    total: int
    """Number of steps in the whole run."""
    on_event: Callable[[Event], None]
    compiles: bool = False
    """Whether the model may compile for a new shape."""
    stop: bool = True
    """Whether a loss that is not finite ends the training."""
    received: Any = field(default_factory=hashlib.sha256)
    first_step_at: float = 0.0
    """Start of this process's first step, on the clock of `time.perf_counter`; 0 before it."""
    first_step_seconds: float = 0.0
    first_step_tokens: int = 0
    """Tokens computed on in the training's first step."""
    interruptions: int = 0
    losses: list[float] = field(default_factory=list)
    """Loss of each step whose result has arrived."""
    correct: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    told: float = 0.0
    """Time of the last event of a step, on the clock of `time.perf_counter`."""
    signed: float = 0.0
    """Time of the last sign of life, on the same clock."""
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    """Shapes of the batches so far."""
    first_seconds: float = 0.0
    """Time of the steps that were the first of their shape, if the model compiles; of a training that was interrupted,
    of this process's first step too."""
    first_tokens: int = 0
    """Tokens computed on in them."""
    pending: deque[tuple[Lazy, int]] = field(default_factory=deque)
    """Results not waited for yet, each with its batch's number of rows."""

    def step(self, batch: Batch, rate: float, epoch: int) -> None:
        """Runs one train_step, and collects the result of an earlier one. Raises NotFinite."""
        self.receive(batch, rate)
        new = self.compiles and batch.input_ids.shape not in self.shapes
        self.shapes.add(batch.input_ids.shape)
        if new:
            self.model.synchronize()  # the time of a new program is then its own: no earlier step runs behind it
        step = self._step_alone if new or not self.first_step_at else self.model.train_step
        lazy = step(batch, rate)
        self.pending.append((lazy, len(batch.labels)))
        if len(self.pending) > STEPS_AHEAD:
            self._collect()
        if not self.losses:
            self.sign("first steps", len(self.pending), self.total)
        else:
            self._tell(epoch)

    def receive(self, batch: Batch, rate: float) -> None:
        """Hashes the arguments of a train_step."""
        batch.update_hash(self.received)
        self.received.update(float(rate).hex().encode())

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
        self.first_step_at = self.first_step_at or start
        lazy = self.model.train_step(batch, rate)
        self.model.synchronize()
        seconds = time.perf_counter() - start
        if first and not self.first_step_tokens:
            self.first_step_seconds, self.first_step_tokens = seconds, computed_tokens(batch, self.recipe)
        if self.compiles or self.interruptions:
            self.first_seconds += seconds
            self.first_tokens += computed_tokens(batch, self.recipe)
        return lazy

    def _collect(self) -> None:
        lazy, rows = self.pending.popleft()
        loss, correct = lazy()
        if self.stop and not math.isfinite(loss):
            raise NotFinite(self.steps + 1)
        self.losses.append(loss)
        self.correct.append(correct)
        self.rows.append(rows)

    def sign(self, what: str, number: int, of: int) -> None:
        """Sends a sign of life, unless the last was a moment ago."""
        now = time.perf_counter()
        if now - self.signed >= PROGRESS_SECONDS:
            self.signed = now
            self.on_event(Working(what, number, of))

    def _tell(self, epoch: int) -> None:
        """Sends an event of the latest step, unless the last was a moment ago."""
        now = time.perf_counter()
        if now - self.told >= PROGRESS_SECONDS:
            self.told = now
            self.on_event(Stepped(epoch, len(self.losses), self.total, self.losses[-1]))


def _program_seconds(model: Model) -> float:
    """The process's time on programs so far; 0 for a backend that compiles none for each shape."""
    return model.programs().seconds if isinstance(model, Compiled) else 0.0


def _train_stretch(
    model: Model, train: Encoded, steps: list[Step], recipe: Recipe, meter: Meter, number: int
) -> Stretch:
    """Takes these steps of epoch `number`. Raises NotFinite."""
    padded_tokens, first_seconds, first_tokens = 0, meter.first_seconds, meter.first_tokens
    model.synchronize()
    programs, start = _program_seconds(model), time.perf_counter()
    with _batches(train, [rows for rows, _ in steps], recipe, model) as batches:
        for batch, (_, rate) in zip(batches, steps, strict=True):
            meter.step(batch, rate, number)
            padded_tokens += computed_tokens(batch, recipe)
    model.synchronize()
    seconds = time.perf_counter() - start
    meter.drain()
    return Stretch(
        seconds=seconds,
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


KEPT = "kept"
"""Where a checkpoint's names of the kept epoch begin."""


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

    def arrays(self) -> Arrays:
        """Yields what a checkpoint has of this epoch."""
        if self.logits is not None:
            yield f"{KEPT}/logits", self.logits
        if self.best is not None:
            yield from ((f"{KEPT}/weights/{name}", array) for name, array in self.best[1].items())

    def take_up(self, found: Found) -> None:
        """Takes the epoch that a checkpoint has."""
        self.epoch, score = found.progress.kept_epoch, found.progress.kept_score
        self.logits = found.arrays.get(f"{KEPT}/logits")
        if score is not None:
            prefix = f"{KEPT}/weights/"
            names = (name for name in found.arrays if name.startswith(prefix))
            self.best = score, {name.removeprefix(prefix): found.arrays[name] for name in names}

    def restore(self, model: Model) -> None:
        """Puts the kept weights back into the model, if it was trained further since."""
        if self.best is not None and self.epoch != self.recipe.epochs:
            model.set_weights(self.best[1])


def predict(
    model: Model, data: Encoded, recipe: Recipe, on_batch: Callable[[int, int], None] = lambda number, of: None
) -> np.ndarray:
    """Returns the logits, [rows, labels] in the type that `shared.job.stored` names, in the split's own order.
    `on_batch` receives the number of each batch that is done, from 1, and how many there are. Raises InputError if the
    split has no rows."""
    logits: np.ndarray | None = None
    order = evaluation_order(recipe, data.lengths)
    with _batches(data, order, recipe, model) as batches:
        for number, (batch, rows) in enumerate(zip(batches, order, strict=True), 1):
            part = model.predict(batch)
            if logits is None:
                logits = np.empty((len(data), part.shape[1]), part.dtype)
            logits[rows] = part
            on_batch(number, len(order))
    if logits is None:
        raise InputError("a split without rows cannot be predicted")
    return logits


def _batches(
    data: Encoded, rows: list[np.ndarray], recipe: Recipe, model: Model
) -> AbstractContextManager[Iterator[Batch]]:
    """Gives the batch of each of these groups of rows, assembled ahead of its use."""
    return prefetch(partial(make_batch, data, recipe=recipe, width_multiple=model.width_multiple), rows)
