"""Arithmetic that follows from a port's own recorded values, in float64: loss, clipping, Adam.

Sources: torch.nn.functional.cross_entropy, torch.nn.utils.clip_grad_norm_, torch.optim.AdamW and Adam. A test holds
these to torch.
"""

from __future__ import annotations

import numpy as np

from shared.architecture import Weights
from shared.pack import Settings
from shared.sketches import BLOCKS, SKETCH

CLIP_EPS = 1e-6
"""clip_grad_norm_ adds this to the norm before it divides."""


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean cross-entropy, nats, of logits [b, num_labels] and labels [b]."""
    shifted = logits - logits.max(-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return np.asarray(-log_probabilities[np.arange(len(labels)), labels].mean())


def global_norm(gradients: Weights) -> np.ndarray:
    """Euclidean norm over all entries of all arrays: of all sketches, if there are any."""
    norms = [gradient[BLOCKS] for name, gradient in gradients.items() if name.startswith(SKETCH)]
    if norms:
        return np.sqrt(np.square(norms).sum())
    return np.sqrt(sum(np.square(gradient, dtype=np.float64).sum() for gradient in gradients.values()))


def clipped(gradients: Weights, clip: float | None) -> Weights:
    """The gradients or their sketches, scaled if their global norm exceeds `clip`."""
    scale = 1.0 if clip is None else min(1.0, clip / (float(global_norm(gradients)) + CLIP_EPS))
    return {name: gradient * scale for name, gradient in gradients.items()}


class Adam:
    """Moments of Adam or AdamW, built up from the gradients of each step."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.steps = settings, 0
        self.first: Weights = {}
        self.second: Weights = {}

    def step(self, weights: Weights, gradients: Weights, learning_rate: float) -> Weights:
        """The weights after a step from these weights with these (clipped) gradients, under the same names. Takes the
        gradients into the moments."""
        s = self.settings
        self.steps += 1
        decayed = set(s.decayed)
        c1, c2 = 1 - s.beta1**self.steps, 1 - s.beta2**self.steps
        after: Weights = {}
        for name, gradient in gradients.items():
            if name not in weights:
                continue
            weight, decay = weights[name], s.decay if name in decayed else 0.0
            if s.optimizer == "adam":
                gradient = gradient + decay * weight
            first = s.beta1 * self.first.get(name, 0.0) + (1 - s.beta1) * gradient
            second = s.beta2 * self.second.get(name, 0.0) + (1 - s.beta2) * np.square(gradient)
            self.first[name], self.second[name] = first, second
            if not s.bias_correction:
                update = first / (np.sqrt(second) + s.eps)
            elif s.eps_place == "after":
                update = (first / c1) / (np.sqrt(second / c2) + s.eps)
            else:
                update = (first / c1) * np.sqrt(c2) / (np.sqrt(second) + s.eps)
            kept = weight if s.optimizer == "adam" else weight * (1 - learning_rate * decay)
            after[name] = kept - learning_rate * update
        return after
