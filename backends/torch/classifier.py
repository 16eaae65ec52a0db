"""transformers' classifier of any architecture, and the states that it computes on its way.

States are taken from the network as it runs: the outermost module whose output is one of transformers' hidden states is
found by identity, so that no architecture's names are written here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForSequenceClassification

from backends.torch.rounding import Arithmetic
from shared.architecture import Weights
from shared.errors import InputError
from shared.pack import Arrays

SEED = 20
"""Seed of the generated weights."""

SMALL = 2_000_000
"""Parameters below which several threads cost more than they bring."""


@dataclass(frozen=True)
class Forward:
    """One forward pass."""

    hidden: dict[str, torch.Tensor]
    """`embeddings`, `layers/N`, and `pooled` if there is one; each as its module computed it."""
    logits: torch.Tensor
    loss: torch.Tensor


@dataclass
class Classifier:
    """transformers' classifier in one precision, and the places of its states."""

    model: Any
    arithmetic: Arithmetic
    places: dict[str, tuple[torch.nn.Module, int]] = field(default_factory=dict)
    """The module that computes each hidden state, and which of its calls does."""
    last: torch.nn.Module | None = None
    """The linear layer that computes the logits."""
    batch: Arrays = field(default_factory=dict)
    """The batch that was run last."""

    @classmethod
    def build(cls, folder: Path, arithmetic: Arithmetic) -> Classifier:
        """Builds the network that config.json describes, with weights that transformers draws. Raises InputError if
        transformers cannot build a classifier of it."""
        try:
            config = AutoConfig.from_pretrained(folder)
            torch.manual_seed(SEED)
            model = AutoModelForSequenceClassification.from_config(
                config, attn_implementation="eager", dtype=arithmetic.dtype
            )
        except (ValueError, KeyError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"transformers builds no classifier of {folder.name}/config.json ({reason})") from None
        if sum(p.numel() for p in model.parameters()) < SMALL:
            torch.set_num_threads(1)
        return cls(model.eval(), arithmetic)

    @cached_property
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """The parameters by name, as the network was built; one that two modules share is there once."""
        return dict(self.model.named_parameters())

    def load(self, weights: Weights) -> None:
        """Sets the parameters. Raises InputError if they are not the network's."""
        own = self.parameters
        if weights.keys() != own.keys():
            differ = sorted(weights.keys() ^ own.keys())
            raise InputError(f"weights and config.json do not fit: {', '.join(differ[:3])}; make the pack again")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(self.arithmetic.load(torch.from_numpy(np.ascontiguousarray(weights[name]))))

    def weights(self) -> Weights:
        """The parameters as they are now: the next step may change the arrays."""
        return {name: as_numpy(p) for name, p in self.parameters.items()}

    def gradients(self) -> Weights:
        """The gradients as they are now: clipping changes the arrays. Zeros for a parameter that has none."""
        return {
            name: as_numpy(torch.zeros_like(p) if p.grad is None else p.grad) for name, p in self.parameters.items()
        }

    def forward(self, batch: Arrays, replace: Weights | None = None) -> Forward:
        """Runs the batch. `replace` has states, by name, that take the place of those that modules computed; `hidden`
        has the computed ones in any case. A state that is not in `replace` is passed on as computed."""
        self.find_places(batch)
        self.batch = batch
        computed: dict[str, torch.Tensor] = {}
        with ExitStack() as hooks:
            for hook in self._hooks(computed, replace or {}):
                hooks.enter_context(hook)
            hooks.enter_context(self.arithmetic.forward())
            logits = self.model(**self._inputs(batch)).logits
        given = logits.to(self.arithmetic.loss or logits.dtype)
        loss = functional.cross_entropy(given, torch.from_numpy(batch["labels"]))
        return Forward(computed, logits, loss)

    def backward(self, loss: torch.Tensor) -> None:
        """Adds the gradients of the loss to those that the parameters hold."""
        parameters = list(self.parameters.values())
        before = [parameter.grad for parameter in parameters]
        self.model.zero_grad(set_to_none=True)
        with self.arithmetic.backward():
            (loss * self.arithmetic.scale).backward()
        for parameter, held in zip(parameters, before, strict=True):
            if parameter.grad is not None and self.arithmetic.scale != 1:
                parameter.grad /= self.arithmetic.scale
            if held is not None:
                parameter.grad = held if parameter.grad is None else parameter.grad + held

    def _inputs(self, batch: Arrays) -> dict[str, torch.Tensor]:
        accepted = inspect.signature(self.model.forward).parameters
        return {name: torch.from_numpy(array) for name, array in batch.items() if name in accepted and name != "labels"}

    def find_places(self, batch: Arrays) -> None:
        """Runs the batch, if none was run before, and notes which module's call gives each hidden state, and which
        linear layer the logits."""
        if self.places:
            return
        calls: list[tuple[torch.nn.Module, int, Any, Any]] = []
        counts: dict[torch.nn.Module, int] = {}

        def note(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            counts[module] = counts.get(module, 0) + 1
            calls.append((module, counts[module] - 1, inputs, output[0] if isinstance(output, tuple) else output))

        with ExitStack() as hooks, torch.no_grad():
            for module in self.model.modules():
                if module is not self.model:
                    hooks.enter_context(module.register_forward_hook(note))
            result = self.model(**self._inputs(batch), output_hidden_states=True)
        names = ["embeddings", *(f"layers/{n}" for n in range(len(result.hidden_states) - 1))]
        for name, state in zip(names, result.hidden_states, strict=True):
            found = next(((module, call) for module, call, _, output in reversed(calls) if output is state), None)
            if found:
                self.places[name] = found
        for module, _, inputs, output in calls:
            if isinstance(module, torch.nn.Linear) and output is result.logits and inputs[0].dim() == 2:
                self.last = module

    def _hooks(self, computed: dict[str, torch.Tensor], replace: Weights) -> Iterator[Any]:
        counts: dict[str, int] = dict.fromkeys(self.places, 0)

        def after(name: str, wanted: int) -> Callable[..., Any]:
            def hook(_: Any, __: Any, output: Any) -> Any:
                counts[name] += 1
                if counts[name] - 1 != wanted:
                    return None
                state = output[0] if isinstance(output, tuple) else output
                computed[name] = state
                if name not in replace:
                    return None
                new = torch.from_numpy(replace[name]).to(self.arithmetic.dtype)
                return (new, *output[1:]) if isinstance(output, tuple) else new

            return hook

        def before(_: Any, inputs: Any) -> Any:
            computed["pooled"] = inputs[0]
            return (torch.from_numpy(replace["pooled"]).to(self.arithmetic.dtype),) if "pooled" in replace else None

        for name, (module, call) in self.places.items():
            yield module.register_forward_hook(after(name, call))
        if self.last is not None:
            yield self.last.register_forward_pre_hook(before)


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's values; in float32 if its type is lower."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor).numpy()
