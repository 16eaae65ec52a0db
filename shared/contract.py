"""The contract of a backend: what it must do, and what it must not.

An adapter is a module with a function `load` that returns a `Model`. It holds only what differs between frameworks:
building the network, a training step, the optimizer's arithmetic. Order, padding, schedule, evaluation, metrics, timing
and files belong to `shared/` and are the same for all. An adapter

- imports its framework, and no other adapter does;
- takes and returns parameters under HuggingFace's names and in HuggingFace's layout (`Architecture.shapes`), and makes
  no weights itself: the head's first weights arrive with the others;
- does what `Architecture` and `Recipe` say in every field that concerns a network or an optimizer, or raises
  `InputError` naming the field and the backend;
- takes dropout rates from `Architecture.dropout` alone, which already has the recipe's, and draws dropout from
  `recipe.seed`: the same seed twice gives bit-equal weights on the CPU;
- computes the last layer, the loss, the clipping and the optimizer's step in float32, and keeps parameters and moments
  in float32, even if a lower precision is asked for;
- gives the pad token's word embedding no gradient, even if a text holds that token, as transformers does by
  `padding_idx`;
- never makes the host wait for the device inside `train_step`, and prints nothing.

The width of batches changes from step to step, and so does the number of their rows at the end of an epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from shared.answer import Programs
from shared.architecture import Architecture, Weights
from shared.batching import Batch
from shared.job import Precision
from shared.recipe import Recipe

Lazy = Callable[[], tuple[float, int]]
"""Waits for the device and returns a step's mean cross-entropy (nats) and its number of correct rows. May be called
after later steps, and in any order."""


@dataclass(frozen=True)
class HiddenStates:
    """States of a forward pass over `b` rows of `s` tokens, in the type that `shared.job.stored` names. States of
    padding mean nothing: backends differ there."""

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
    """The result of one backward pass, dropout off."""

    loss: float
    """Mean cross-entropy of the batch, nats."""
    raw: Weights
    """Gradient of every parameter."""
    norm: float
    """Global norm of the gradients, as the clipping computes it."""
    clipped: Weights
    """Gradients that the optimizer would receive: `raw`, scaled if the norm exceeds `recipe.clip`."""


@dataclass(frozen=True)
class Build:
    """All that a model is built from."""

    architecture: Architecture
    weights: Weights
    """First values of every parameter."""
    recipe: Recipe
    device: str = "cpu"
    """`cpu` or `cuda:n`."""
    threads: int = 1
    """CPU threads."""
    precision: Precision = "float32"
    """Precision of the arithmetic. `shared.job.stored` gives the type of parameters, moments, loss and of every array
    that the model returns; one process uses one of these types."""
    compile: bool = False
    """Compile `train_step`, `predict` and `gradients` with the framework's compiler. Results are the same up to
    rounding; dropout may be drawn otherwise."""
    touched: np.ndarray | None = None
    """Ids of all words that `train_step` and `gradients` can be given, int64 [n], besides the pad token: the word
    embedding is updated by rows (backends/word_rows.py). None to update all of it at every step."""


class Model(Protocol):
    """A network with its optimizer, on one device."""

    @property
    def width_multiple(self) -> int:
        """The width of batches is a multiple of this, or max_len. Above 1 if each new width costs a compilation."""
        ...

    def train_step(self, batch: Batch, learning_rate: float) -> Lazy:
        """Takes one optimizer step on the batch's mean cross-entropy, dropout on: gradients, clipping by global norm at
        `recipe.clip`, then `recipe.optimizer` as `torch.optim.AdamW` (or `Adam`) defines it, at this rate."""
        ...

    def predict(self, batch: Batch) -> np.ndarray:
        """Returns the logits, [b, num_labels], dropout off."""
        ...

    def gradients(self, batch: Batch) -> Gradients:
        """Returns the batch's loss, and its gradients before and after clipping, dropout off. Runs the code that
        `train_step` runs; changes no weights."""
        ...

    def hidden_states(self, batch: Batch, dropout: bool = False) -> HiddenStates:
        """Returns the states of one forward pass, with dropout on if asked."""
        ...

    def weights(self) -> Weights:
        """Returns a copy of every parameter."""
        ...

    def set_weights(self, weights: Weights) -> None:
        """Overwrites every parameter; the optimizer's moments stay."""
        ...

    def state(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yields all that the next train steps depend on, each array under a name of its own: parameters, the
        optimizer's moments and its count of steps, and dropout's stream (see `Reseeded`). An array may share the
        model's memory. It is read before the next is asked for."""
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes up a state that a model of an equal `Build` gave, in this process or another. The next steps are then
        those that the other would have taken, bit-equal on the CPU. Each array is read once, and may be kept."""
        ...

    def synchronize(self) -> None:
        """Waits until the device has finished all its work."""
        ...

    def peak_memory(self) -> int:
        """Peak memory in bytes: of the process on a CPU (`peak_resident_memory`), of the device's allocator on a
        GPU."""
        ...


@runtime_checkable
class Compiled(Protocol):
    """A model that can tell of its programs, as one must that compiles for each new shape."""

    def programs(self) -> Programs:
        """All programs of this process so far."""
        ...


@runtime_checkable
class Reseeded(Protocol):
    """A model whose framework gives no access to dropout's stream. The loop starts the stream again at each checkpoint,
    so checkpoints are part of what is computed."""

    def reseed(self) -> None:
        """Starts dropout's stream again, from the recipe's seed and the number of steps so far. `restore` does so
        too."""
        ...


class Load(Protocol):
    """The signature of every adapter's function `load`."""

    def __call__(self, build: Build) -> Model:
        """Builds the model that `build` describes.

        Raises InputError if this backend cannot do what the architecture, recipe, device, precision, compile or
        touched asks.
        """
        ...


class LoadParts(Protocol):
    """The signature of the function `load` in a room's optional module `parts`."""

    def __call__(self, build: Build, parts: Collection[str]) -> Model:
        """Builds the adapter's model with these standard parts of the framework, by their names in backends/parts.py.

        Raises InputError as `Load` does, and for a precision besides float32 and float64, `compile` or
        `touched`.
        """
        ...
