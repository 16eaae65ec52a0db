"""Answers of a worker."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Epoch:
    """One pass over the training split, and the look at dev after it."""

    seconds: float
    """Wall time of the epoch's training, the device synchronised at both ends."""
    steps: int
    rows: int
    tokens: int
    """Real tokens trained on."""
    padded_tokens: int
    """Tokens computed on, padding included."""
    train_loss: float
    """Mean over the epoch's rows, nats, dropout on."""
    train_accuracy: float
    dev: dict[str, float] | None
    """Scores after the epoch; None where dev has no labels."""
    dev_seconds: float
    dev_batch_accuracy: float | None = None
    """See `shared.metrics.batch_accuracy`; None where dev has no labels."""


@dataclass
class Run:
    """What a fine-tuning run answers."""

    total_steps: int
    received: str = ""
    """sha256 over what each train_step was given, in order: shapes, ids, types, mask, labels, learning rate."""
    first_step_seconds: float = 0.0
    """The first train_step, tracing and compilation in it; it is part of the first epoch's seconds too."""
    first_step_at: float = 0.0
    """When the first train_step was called, in seconds since the epoch."""
    step_loss: list[float] = field(default_factory=list)
    step_accuracy: list[float] = field(default_factory=list)
    dev_before: dict[str, float] | None = None
    epochs: list[Epoch] = field(default_factory=list)
    kept_epoch: int = 0
    """The epoch, from 1, whose weights were tested."""
    test: dict[str, float] | None = None
    """None where the task has no test split, or one without labels."""
    test_seconds: float = 0.0
    peak_memory_bytes: int = 0
    logits: dict[str, np.ndarray] = field(default_factory=dict)
    """For `dev` and, where there is one, `test`: float32 [rows, labels] under the kept weights."""
