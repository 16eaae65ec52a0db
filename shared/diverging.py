"""Trainings that diverged: a loss, a logit or a weight became NaN or infinite. They have no score."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from msgspec import structs

from shared.answer import Epoch, Fit, Trained


def shown(step: int) -> str:
    """The outcome in words, as tables and the terminal show it."""
    return f"diverged at step {step}"


def as_diverged(answer: Trained) -> Trained:
    """The answer, or if it holds NaN or infinity, as those of before could, the answer of a training that diverged:
    with the history before that, and no scores."""
    step = _first_not_finite(answer)
    if step is None:
        return answer
    losses = list(itertools.takewhile(math.isfinite, answer.step_loss))
    return structs.replace(
        answer,
        step_loss=losses,
        step_accuracy=answer.step_accuracy[: len(losses)],
        dev_before=answer.dev_before if _finite(answer.dev_before) else None,
        epochs=list(itertools.takewhile(_epoch_finite, answer.epochs)),
        kept_epoch=0,
        test=None,
        predictions={},
        details={},
        diverged=step if answer.diverged is None else answer.diverged,
    )


def _first_not_finite(fit: Fit) -> int | None:
    """The step at which a number of the answer is first NaN or infinite; None if all are finite."""
    if not _finite(fit.dev_before):
        return 0
    for number, loss in enumerate(fit.step_loss, 1):
        if not math.isfinite(loss):
            return number
    ends = itertools.accumulate(epoch.steps for epoch in fit.epochs)
    for end, epoch in zip(ends, fit.epochs, strict=True):
        if not _epoch_finite(epoch):
            return end
    return None if _finite(fit.test) else sum(epoch.steps for epoch in fit.epochs)


def _epoch_finite(epoch: Epoch) -> bool:
    return math.isfinite(epoch.train_loss) and _finite(epoch.dev)


def _finite(scores: Mapping[str, float] | None) -> bool:
    return scores is None or all(map(math.isfinite, scores.values()))
