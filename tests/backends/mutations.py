"""Adapters broken on purpose: each mutation is a mistake that a port may well contain, with the rung that must name it.

Most stand between the ladder and a sound adapter, and so break every backend alike. Mistakes in a framework's own
gradients are put into the adapter itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from shared import finetune
from shared.architecture import Architecture, Weights
from shared.batching import Batch
from shared.contract import Gradients, HiddenStates, Lazy, Load, Model
from tests.backends.cases import perturbed_weights
from tests.backends.trainings import BuildFor, builder

Break = Callable[[Load, Architecture, pytest.MonkeyPatch], BuildFor]


@dataclass(frozen=True)
class Mutation:
    """A mistake, and how it is made."""

    rungs: tuple[str, ...]
    """The rungs that may name it: several if the size of the gradients decides."""
    build: Break
    clear: str = ""
    """The rung whose bound it exceeds ten times; the one that names it if there is none here."""


@dataclass
class Meddled:
    """A model that computes with another batch, other weights or another mode than it is told."""

    model: Model
    batch: Callable[[Batch], Batch] = lambda batch: batch
    weights_in: Callable[[Weights], Weights] = lambda weights: weights
    """Turns HuggingFace's parameters into this adapter's, and back."""
    dropout: bool = False
    """Dropout stays on in evaluation."""

    @property
    def width_multiple(self) -> int:
        return self.model.width_multiple

    def train_step(self, batch: Batch, learning_rate: float) -> Lazy:
        return self.model.train_step(self.batch(batch), learning_rate)

    def predict(self, batch: Batch) -> np.ndarray:
        return self.model.predict(self.batch(batch))

    def gradients(self, batch: Batch) -> Gradients:
        found = self.model.gradients(self.batch(batch))
        return replace(found, raw=self.weights_in(found.raw), clipped=self.weights_in(found.clipped))

    def hidden_states(self, batch: Batch, dropout: bool = False) -> HiddenStates:
        return self.model.hidden_states(self.batch(batch), dropout or self.dropout)

    def weights(self) -> Weights:
        return self.weights_in(self.model.weights())

    def set_weights(self, weights: Weights) -> None:
        self.model.set_weights(self.weights_in(weights))

    def state(self) -> Iterator[tuple[str, np.ndarray]]:
        return self.model.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.model.restore(state)

    def synchronize(self) -> None:
        self.model.synchronize()

    def peak_memory(self) -> int:
        return self.model.peak_memory()


def _other_architecture(**fields: Any) -> Break:
    return lambda load, a, patch: builder(load, replace(a, **fields))


def _other_recipe(**fields: Any) -> Break:
    def broken(load: Load, a: Architecture, patch: pytest.MonkeyPatch) -> BuildFor:
        sound = builder(load, a)
        return lambda recipe: sound(replace(recipe, **fields))

    return broken


def _other_batch(change: Callable[[Batch], Batch]) -> Break:
    def broken(load: Load, a: Architecture, patch: pytest.MonkeyPatch) -> BuildFor:
        sound = builder(load, a)
        return lambda recipe: Meddled(sound(recipe), batch=change)

    return broken


def _other_layout(change: Callable[[Weights], Weights]) -> Break:
    """Changes the parameters as they go in, and back as they come out: the weight map is wrong both ways."""

    def broken(load: Load, a: Architecture, patch: pytest.MonkeyPatch) -> BuildFor:
        sound = builder(load, a, change(perturbed_weights(a)))
        return lambda recipe: Meddled(sound(recipe), weights_in=change)

    return broken


def _dropout_left_on(load: Load, a: Architecture, patch: pytest.MonkeyPatch) -> BuildFor:
    sound = builder(load, a)
    return lambda recipe: Meddled(sound(recipe), dropout=True)


def _own_head(load: Load, a: Architecture, patch: pytest.MonkeyPatch) -> BuildFor:
    weights = perturbed_weights(a)
    random = np.random.RandomState(99)
    shape = weights["classifier.weight"].shape
    return builder(load, a, weights | {"classifier.weight": random.normal(0, 0.02, shape).astype(np.float32)})


def _other_loop(change: Callable[[list[Any]], list[Any]]) -> Break:
    """Changes an epoch's steps. A step is its rows and its rate."""

    def broken(load: Load, a: Architecture, patch: pytest.MonkeyPatch) -> BuildFor:
        sound = finetune.epochs
        patch.setattr(finetune, "epochs", lambda *arguments: (change(steps) for steps in sound(*arguments)))
        return builder(load, a)

    return broken


def _reshuffled(steps: list[Any]) -> list[Any]:
    order = np.random.RandomState(99).permutation(np.concatenate([rows for rows, _ in steps]))
    ends = np.cumsum([len(rows) for rows, _ in steps])
    return [(order[end - len(rows) : end], rate) for end, (rows, rate) in zip(ends, steps, strict=True)]


def _rates_late(steps: list[Any]) -> list[Any]:
    return [(rows, rate) for (rows, _), (_, rate) in zip(steps, [steps[0], *steps], strict=False)]


def _clipped_per_tensor(load: Load, a: Architecture, patch: pytest.MonkeyPatch) -> BuildFor:
    adapter: Any = sys.modules[load.__module__]
    if hasattr(adapter, "torch"):
        sound = adapter.Optimizer.norm_and_divisor

        def torch_clip(optimizer: Any, clip: float) -> Any:
            norm, divisor = sound(optimizer, clip)
            for parameter in optimizer.parameters.values():
                adapter.torch.nn.utils.clip_grad_norm_(parameter, clip)
            return norm, adapter.torch.ones_like(divisor)

        patch.setattr(adapter.Optimizer, "norm_and_divisor", torch_clip)
    elif hasattr(adapter, "mx"):
        sound = adapter.Optimizer.norm_and_factor

        def mxnet_clip(optimizer: Any) -> Any:
            norm, _ = sound(optimizer)
            for parameter in optimizer.parameters.values():
                gradient = parameter.grad()
                gradient *= adapter.mx.nd.minimum(optimizer.recipe.clip / (gradient.norm() + 1e-6), 1.0).asscalar()
            return norm, adapter.mx.nd.ones_like(norm)

        patch.setattr(adapter.Optimizer, "norm_and_factor", mxnet_clip)
    elif hasattr(adapter, "jax"):

        class ClippedApart(adapter.Network):
            def _clip(self, gradients: Any, bound: Any) -> Any:
                sound = super()._clip
                norm, _ = sound(gradients, bound)
                return norm, {name: sound({name: gradient}, bound)[1][name] for name, gradient in gradients.items()}

        patch.setattr(adapter, "shared_network", lambda architecture, _: ClippedApart(architecture))
    else:

        def keras_clip(model: Any, gradients: list[Any]) -> Any:
            norm = adapter.tf.linalg.global_norm(gradients)
            return norm, [adapter.tf.clip_by_norm(gradient, model._recipe.clip) for gradient in gradients]

        patch.setattr(adapter.KerasModel, "_clip", keras_clip)
    return builder(load, a)


def _squared_before_summing(load: Load, a: Architecture, patch: pytest.MonkeyPatch) -> BuildFor:
    """Takes the norm of an embedding's gradient as Keras' optimizers do: with a row for each token, so that repeated
    tokens stay apart."""
    adapter: Any = sys.modules[load.__module__]
    apart: dict[str, Any] = {}
    dense = adapter.KerasModel._dense

    def remembering(model: Any, gradient: Any, parameter: Any) -> Any:
        if isinstance(gradient, adapter.tf.IndexedSlices):
            apart[parameter.name] = gradient.values
        return dense(model, gradient, parameter)

    def wrong_norm(model: Any, gradients: list[Any]) -> Any:
        names = [parameter.name for parameter in model._parameters]
        norm = adapter.tf.linalg.global_norm([apart.get(n, g) for n, g in zip(names, gradients, strict=True)])
        factor = adapter.tf.minimum(model._recipe.clip / (norm + 1e-6), 1.0)
        return norm, [factor * gradient for gradient in gradients]

    patch.setattr(adapter.KerasModel, "_dense", remembering)
    patch.setattr(adapter.KerasModel, "_clip", wrong_norm)
    return builder(load, a)


def _without_types(batch: Batch) -> Batch:
    return replace(batch, token_type_ids=np.zeros_like(batch.token_type_ids))


def _without_mask(batch: Batch) -> Batch:
    return replace(batch, attention_mask=np.ones_like(batch.attention_mask))


def _mask_one_short(batch: Batch) -> Batch:
    lengths = batch.attention_mask.sum(axis=1, keepdims=True)
    short = np.arange(batch.attention_mask.shape[1]) < np.maximum(lengths - 1, 1)
    return replace(batch, attention_mask=short.astype(batch.attention_mask.dtype))


def _layers_swapped(weights: Weights) -> Weights:
    def swapped(name: str) -> str:
        for one, other in (("layer.0.", "layer.1."), ("layer.1.", "layer.0.")):
            if one in name:
                return name.replace(one, other)
        return name

    return {name: weights[swapped(name)] for name in weights}


def _query_transposed(weights: Weights) -> Weights:
    query = next(name for name in weights if "layer.0." in name and name.endswith(("query.weight", "q_lin.weight")))
    return weights | {query: np.ascontiguousarray(weights[query].T)}


CLIPPED = ("clipped", "clipped, steep")
OPTIMIZER, STEEP = ("first step",), "first step, steep"

MUTATIONS: dict[str, Mutation] = {
    "tanh GELU": Mutation(("layers",), _other_architecture(activation="gelu_new")),
    "layer-norm epsilon 1e-5": Mutation(("embeddings",), _other_architecture(layer_norm_eps=1e-5)),
    "no mask": Mutation(("layers",), _other_batch(_without_mask)),
    "mask off by one": Mutation(("layers",), _other_batch(_mask_one_short)),
    "token types dropped": Mutation(("embeddings",), _other_batch(_without_types)),
    "two layers swapped": Mutation(("layers",), _other_layout(_layers_swapped)),
    "query weight transposed": Mutation(("layers",), _other_layout(_query_transposed)),
    "decay on biases": Mutation(OPTIMIZER, _other_recipe(decay_exempt=()), STEEP),
    "decay added to the gradient": Mutation(OPTIMIZER, _other_recipe(optimizer="adam"), STEEP),
    "no bias correction": Mutation(OPTIMIZER, _other_recipe(bias_correction=False), STEEP),
    "epsilon before bias correction": Mutation(OPTIMIZER, _other_recipe(eps_place="before"), STEEP),
    "clipping per tensor": Mutation(CLIPPED, _clipped_per_tensor),
    "no clipping": Mutation(CLIPPED, _other_recipe(clip=None)),
    "embedding gradients squared before summing": Mutation(("norm",), _squared_before_summing),
    "head initialised by the framework": Mutation(("parameters",), _own_head),
    "last batch dropped": Mutation(("batches",), _other_loop(lambda steps: steps[:-1])),
    "order reshuffled": Mutation(("batches",), _other_loop(_reshuffled)),
    "rate one step late": Mutation(("batches",), _other_loop(_rates_late)),
    "dropout on in evaluation": Mutation(("embeddings",), _dropout_left_on),
}
ONLY = {"embedding gradients squared before summing": "keras"}
"""The only backend in which a mutation makes sense."""
EXCEPT = {"token types dropped": "distilbert"}
"""The kind of network for which a mutation makes no sense."""
