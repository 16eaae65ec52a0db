"""What a backend must do, and must not.

An adapter is a module with a function `load` that returns a `Model`. It holds only what differs between frameworks:
building the network, a training step, the optimizer's arithmetic. Order, padding, schedule, evaluation, metrics, timing
and files belong to `shared/` and are the same for all. An adapter

- imports its framework, and no other adapter does;
- takes and gives parameters under HuggingFace's names in HuggingFace's layout (`Architecture.shapes`), and keeps no
  weights of its own making: the head's first weights arrive with the others;
- does what `Architecture` and `Recipe` say in every field that concerns a network or an optimizer, or raises
  `InputError` naming the field and the backend;
- takes dropout rates from `Architecture.dropout` alone, where the recipe's are already, and draws it from
  `recipe.seed`: the same seed twice gives bit-equal weights on the CPU;
- computes the last layer, the loss, the clipping and the optimizer's step in float32, and keeps parameters and moments
  in it, where a lower precision is asked for;
- gives the pad token's word embedding no gradient, as transformers does by `padding_idx`, even where a text holds it;
- never makes the host wait for the device inside `train_step`, and prints nothing.

Train steps see batches of changing width and, at an epoch's end, of changing size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shared.architecture import Architecture, Weights
from shared.batching import Batch
from shared.job import Precision
from shared.recipe import Recipe

Lazy = Callable[[], tuple[float, int]]
"""Called, waits for the device and gives a step's mean cross-entropy (nats) and its number of correct rows. It may be
called after later steps, and in any order."""


@dataclass(frozen=True)
class HiddenStates:
    """What a forward pass computes on its way. `b` rows of `s` tokens, in the type that `shared.job.stored` names. Rows
    of padded tokens mean nothing: backends differ there."""

    embeddings: np.ndarray
    """[b, s, width], after LayerNorm and dropout."""
    layers: list[np.ndarray]
    """Each [b, s, width], the output of each encoder layer."""
    pooled: np.ndarray
    """[b, width]: BERT's tanh pooler, or DistilBERT's pre_classifier after relu; before the classifier's dropout."""
    logits: np.ndarray
    """[b, num_labels]."""


@dataclass(frozen=True)
class Gradients:
    """What one backward pass gives, dropout off."""

    loss: float
    """Mean cross-entropy of the batch, nats."""
    raw: Weights
    """Of every parameter."""
    norm: float
    """The global norm, as the clipping takes it."""
    clipped: Weights
    """What the optimizer would receive: `raw`, scaled where the norm exceeds `recipe.clip`."""


@dataclass(frozen=True)
class Build:
    """What a model is made of."""

    architecture: Architecture
    weights: Weights
    """First values of every parameter."""
    recipe: Recipe
    device: str = "cpu"
    """`cpu` or `cuda:n`."""
    threads: int = 1
    """CPU threads."""
    precision: Precision = "float32"
    """Of the arithmetic. `shared.job.stored` of it is the type of parameters, moments, loss and of every array that the
    model gives; one process uses one of these types."""
    compile: bool = False
    """The framework's compiler makes `train_step`, `predict` and `gradients`. They compute the same up to rounding, and
    may draw other dropout."""


class Model(Protocol):
    """A network with its optimizer, on one device."""

    @property
    def width_multiple(self) -> int:
        """What the width of batches is to be a multiple of, where that is not above max_len: 1, or more where each new
        width costs a trace."""
        ...

    def train_step(self, batch: Batch, learning_rate: float) -> Lazy:
        """One optimizer step on the mean cross-entropy of the batch, dropout on: gradients, clipping by global norm at
        `recipe.clip`, then `recipe.optimizer` as `torch.optim.AdamW` (or `Adam`) defines it, at this rate."""
        ...

    def predict(self, batch: Batch) -> np.ndarray:
        """Logits, [b, num_labels], dropout off."""
        ...

    def gradients(self, batch: Batch) -> Gradients:
        """The batch's loss and its gradients before and after clipping, by the code that `train_step` runs, dropout
        off; changes no weights."""
        ...

    def hidden_states(self, batch: Batch, dropout: bool = False) -> HiddenStates:
        """What one forward pass computes, with dropout on if asked."""
        ...

    def weights(self) -> Weights:
        """A copy of every parameter."""
        ...

    def set_weights(self, weights: Weights) -> None:
        """Overwrites every parameter; the optimizer's moments stay."""
        ...

    def synchronize(self) -> None:
        """Returns when the device has done all that was asked of it."""
        ...

    def peak_memory(self) -> int:
        """Bytes at the peak: of the process on a CPU (`peak_resident_memory`), of the device's allocator on a GPU."""
        ...


class Load(Protocol):
    """The signature of every adapter's function `load`."""

    def __call__(self, build: Build) -> Model:
        """The model that `build` describes.

        Raises InputError if this backend cannot do what the architecture, recipe, device, precision or compile asks.
        """
        ...
