"""THE training loop, written once over the backend contract."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np

from shared.answer import Epoch, Run
from shared.architecture import Weights
from shared.batching import Batch, evaluation_order, make_batch, total_steps, training_order
from shared.contract import Lazy, Model
from shared.encoding import Encoded
from shared.errors import InputError
from shared.metrics import batch_accuracy, score
from shared.prefetch import prefetch
from shared.recipe import Recipe, learning_rate_at

Event = dict[str, Any]

STEPS_AHEAD = 8
"""How far the host may run ahead of the device. A step's loss is read this many steps later, so that reading it never
leaves a device idle, and an asynchronous framework never queues an epoch's batches in memory."""

PROGRESS_SECONDS = 0.2
"""Shortest time between two progress events."""


def epochs(data: Encoded, recipe: Recipe) -> Iterator[list[tuple[np.ndarray, float]]]:
    """For each epoch its steps: the batch's row numbers (int64) and the learning rate.

    Raises InputError where the training split is too small for a step in each epoch.
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


def finetune(
    model: Model,
    data: dict[str, Encoded],
    recipe: Recipe,
    metrics: tuple[str, ...],
    on_event: Callable[[Event], None],
) -> Run:
    """Trains on `train`, evaluates on `dev` after each epoch and on `test` at the end.

    `metrics` are names of shared.metrics; the first decides which epoch is best. `on_event` is told of progress.
    Raises InputError where the best epoch is wanted and dev has no labels, and what `epochs` does.
    """
    train, dev = data["train"], data["dev"]
    if recipe.keep == "best" and not dev.labelled:
        raise InputError("keep best needs a dev split with labels; pass keep last")
    run = Run(total_steps(recipe, len(train)))
    report = _Progress(on_event, run.total_steps)
    if recipe.eval_before:
        _, run.dev_before, _ = _evaluate(model, dev, recipe, metrics)
        on_event({"event": "eval_before", "dev": run.dev_before})
    received = hashlib.sha256()
    best: tuple[float, Weights] | None = None
    for number, steps in enumerate(epochs(train, recipe), 1):
        losses: list[float] = []
        correct: list[int] = []
        tokens = padded_tokens = 0
        pending: deque[Lazy] = deque()
        model.synchronize()
        start = time.perf_counter()
        with _batches(train, [rows for rows, _ in steps], recipe, model) as batches:
            for batch, (rows, rate) in zip(batches, steps, strict=True):
                batch.update_hash(received)
                received.update(float(rate).hex().encode())
                first = not run.first_step_at
                if first:
                    run.first_step_at, first_start = time.time(), time.perf_counter()
                pending.append(model.train_step(batch, rate))
                if first:
                    model.synchronize()
                    run.first_step_seconds = time.perf_counter() - first_start
                if len(pending) > STEPS_AHEAD:
                    _collect(pending, losses, correct)
                    report.step(number, len(run.step_loss) + len(losses), losses[-1])
                tokens += int(train.lengths[rows].sum())
                padded_tokens += batch.input_ids.size
        model.synchronize()
        seconds = time.perf_counter() - start
        while pending:
            _collect(pending, losses, correct)
        sizes = [len(rows) for rows, _ in steps]
        run.step_loss += losses
        run.step_accuracy += [c / n for c, n in zip(correct, sizes, strict=True)]
        logits, scores, dev_seconds = _evaluate(model, dev, recipe, metrics)
        by_batch = batch_accuracy(dev.labels, logits.argmax(1), recipe.batch_size) if dev.labelled else None
        epoch = Epoch(
            seconds=seconds,
            steps=len(steps),
            rows=sum(sizes),
            tokens=tokens,
            padded_tokens=padded_tokens,
            train_loss=float(np.average(losses, weights=sizes)) if losses else float("nan"),
            train_accuracy=sum(correct) / max(1, sum(sizes)),
            dev=scores,
            dev_seconds=dev_seconds,
            dev_batch_accuracy=by_batch,
        )
        run.epochs.append(epoch)
        on_event({"event": "epoch", "epoch": number, "of": recipe.epochs} | vars(epoch))
        if recipe.keep == "last":
            run.kept_epoch, run.logits["dev"] = number, logits
        elif scores is not None and (best is None or scores[metrics[0]] > best[0]):
            best = scores[metrics[0]], model.weights()
            run.kept_epoch, run.logits["dev"] = number, logits
    run.received = received.hexdigest()
    run.peak_memory_bytes = model.peak_memory()
    if best is not None and run.kept_epoch != recipe.epochs:
        model.set_weights(best[1])
    if "test" in data:
        run.logits["test"], run.test, run.test_seconds = _evaluate(model, data["test"], recipe, metrics)
    return run


def predict(model: Model, data: Encoded, recipe: Recipe) -> np.ndarray:
    """Logits, [rows, labels] of the model's precision, in the split's own order."""
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
    """The batch of each of these, assembled ahead of its use."""
    return prefetch(partial(make_batch, data, recipe=recipe, width_multiple=model.width_multiple), rows)


def _evaluate(
    model: Model, data: Encoded, recipe: Recipe, metrics: tuple[str, ...]
) -> tuple[np.ndarray, dict[str, float] | None, float]:
    """Logits, scores (None without labels) and the seconds that predicting took."""
    model.synchronize()
    start = time.perf_counter()
    logits = predict(model, data, recipe)
    seconds = time.perf_counter() - start
    return logits, score(metrics, logits, data.labels) if data.labelled else None, seconds


def _collect(pending: deque[Lazy], losses: list[float], correct: list[int]) -> None:
    loss, right = pending.popleft()()
    losses.append(loss)
    correct.append(right)


class _Progress:
    """Tells of steps, but not so often that telling costs time."""

    def __init__(self, on_event: Callable[[Event], None], total: int) -> None:
        self.on_event, self.total, self.last = on_event, total, 0.0

    def step(self, epoch: int, step: int, loss: float) -> None:
        now = time.perf_counter()
        if now - self.last >= PROGRESS_SECONDS:
            self.last = now
            self.on_event({"event": "step", "epoch": epoch, "step": step, "of": self.total, "loss": loss})
