"""What parity compares: everything a model computes on its way, over its first training steps."""

from __future__ import annotations

import hashlib
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from backends.contract import Model
from shared.batching import make_batch
from shared.encoding import Encoded
from shared.finetune import epochs, predict
from shared.recipe import Recipe


def trace(
    model: Model, data: dict[str, Encoded], recipe: Recipe, steps: int, folder: Path
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Follows the first `steps` training steps.

    Returns what each train_step received (sha256 of the batch, learning rate) with its loss and number correct, and
    arrays: `parameters/NAME` as loaded; for the first batch without dropout `embeddings`, `layers/N`, `pooled`,
    `logits`, `loss` and `gradients/NAME`; `dev` logits after the last step. The parameters after step N go to
    `weights-N.npz` in the folder, one file a step.
    """
    train = data["train"]
    plan = list(islice(chain.from_iterable(epochs(train, recipe)), steps))
    first = make_batch(train, plan[0][0], recipe)
    hidden = model.hidden_states(first)
    loss, gradients = model.gradients(first)
    arrays = {f"parameters/{name}": value for name, value in model.weights().items()}
    arrays |= {f"layers/{n}": layer for n, layer in enumerate(hidden.layers)}
    arrays |= {f"gradients/{name}": value for name, value in gradients.items()}
    arrays |= {"embeddings": hidden.embeddings, "pooled": hidden.pooled, "logits": hidden.logits}
    arrays |= {"loss": np.array(loss, np.float64), "attention_mask": first.attention_mask}
    taken = []
    for number, (rows, rate) in enumerate(plan, 1):
        batch = make_batch(train, rows, recipe)
        digest = hashlib.sha256()
        batch.update_hash(digest)
        step_loss, correct = model.train_step(batch, rate)()
        taken.append({"received": digest.hexdigest(), "learning_rate": rate, "loss": step_loss, "correct": correct})
        np.savez(folder / f"weights-{number}.npz", **model.weights())  # type: ignore[arg-type]
    arrays["dev"] = predict(model, data["dev"], recipe)
    return {"steps": taken}, arrays
