"""The adapter of PyTorch with HuggingFace transformers, the reference for the other backends."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from backends import BACKENDS, check_padding, check_precision
from backends.devices import check_capability, gpu_number, peak_resident_memory
from backends.torch.cpu import for_cpu
from backends.torch.first_tokens import shorten_last_layer
from backends.torch.network import WideLinear, build_network
from backends.torch.optimizer import Optimizer
from backends.torch.packed import pack_network, packed_inputs, padded_states
from backends.torch.word_rows import RowEmbedding
from backends.word_rows import WordRows
from shared.architecture import Weights
from shared.batching import Batch
from shared.contract import Build, Gradients, HiddenStates, Lazy
from shared.errors import InputError
from shared.job import Precision, stored
from shared.recipe import Recipe

HALVES: dict[Precision, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def load(build: Build) -> TorchModel:
    """Builds the model (see `shared.contract.Load`). Raises InputError too if torch.compile would find no C++
    compiler."""
    recipe, precision = build.recipe, build.precision
    gpu_number(build.device, torch.cuda.device_count())
    check_precision("torch", build.device, precision)
    check_padding("torch", recipe)
    place = torch.device(build.device)
    if place.type == "cuda":
        check_capability(build.device, precision, torch.cuda.get_device_capability(place))
    torch.set_num_threads(build.threads)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.manual_seed(recipe.seed)
    rows = WordRows.of(build)
    network = build_network(build.architecture)
    shorten_last_layer(network)
    if precision in HALVES:
        network.classifier.__class__ = WideLinear
    if place.type == "cpu" and not build.compile:  # torch.compile makes such choices itself
        for_cpu(network, precision)
    groups = None
    if recipe.padding == "none":
        pack_network(network)
        groups = BACKENDS["torch"].groups(build.device, build.compile)
    dtype = getattr(torch, stored(precision))
    network.load_state_dict(
        {name: torch.tensor(w, dtype=dtype, device=place) for name, w in build.weights.items()}, assign=True
    )
    # On the `meta` device these got no memory. Token types come with every batch, so their buffer is never read.
    embeddings = network.base_model.embeddings
    embeddings.position_ids = torch.arange(build.architecture.max_positions, device=place)[None]
    words = None
    if rows is not None:
        words = embeddings.word_embeddings = RowEmbedding(rows, embeddings.word_embeddings.weight.detach())
    parameters = dict(network.named_parameters())
    return TorchModel(
        network,
        {name: parameters[name] for name in build.architecture.shapes()},
        Optimizer(parameters, recipe, torch.amp.GradScaler(place.type, enabled=precision == "float16"), words),
        recipe.clip,
        place,
        HALVES.get(precision),
        _compiled(network, recipe) if build.compile else None,
        words,
        groups,
    )


def _compiled(network: Any, recipe: Recipe) -> Any:
    """Returns the network, which torch compiles at its first call. Raises InputError if there is no C++ compiler."""
    # The default of torch._inductor.config.cpp.cxx.
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise InputError(
            f"torch.compile needs a C++ compiler, and there is no {compiler}; install it, name another in CXX, or pass "
            "--compile no"
        )
    # If batches change their width, torch compiles for any width at once; else again when a shape first changes.
    # Without `fullgraph`, code that cannot be compiled would run uncompiled without an error.
    return torch.compile(network, fullgraph=True, dynamic=None if recipe.padding == "max_length" else True)


@dataclass
class TorchModel:
    """See `shared.contract.Model`."""

    network: Any
    parameters: dict[str, torch.Tensor]
    optimizer: Optimizer
    clip: float | None
    device: torch.device
    half: torch.dtype | None = None
    """Type of matrix products under autocast; None without autocast. Parameters and gradients are float32 with it
    too."""
    compiled: Any = None
    """The compiled network, which `train_step`, `predict` and `gradients` use; None if not compiled."""
    words: RowEmbedding | None = None
    """The word embedding if it is updated by rows. `parameters` then have its block under the table's name."""
    groups: int | None = None
    """The most groups of rows that attention is computed in, if the network is packed (backends/torch/packed.py)."""

    width_multiple = 1

    def train_step(self, batch: Batch, learning_rate: float) -> Lazy:
        self._check(batch)
        labels = self._move(batch.labels)
        logits = self._forward(batch, dropout=True).logits
        loss = functional.cross_entropy(logits, labels)
        scaler = self.optimizer.scaler
        scaler.scale(loss).backward()
        scaler.unscale_(self.optimizer.optimizer)
        if self.clip is not None:
            self.optimizer.clip(self.clip)
        self.optimizer.step(learning_rate)
        mean, correct = loss.detach(), (logits.detach().argmax(-1) == labels).sum()
        return lambda: (float(mean), int(correct))

    def predict(self, batch: Batch) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = self._forward(batch, dropout=False).logits.numpy(force=True)
        return logits

    def gradients(self, batch: Batch) -> Gradients:
        self._check(batch)
        loss = functional.cross_entropy(self._forward(batch, dropout=False).logits, self._move(batch.labels))
        scale = self.optimizer.scaler.get_scale()
        (loss * scale).backward()
        for parameter in self.parameters.values():
            if parameter.grad is not None:
                parameter.grad /= scale  # the scaler's own division would count as a step
        raw = self._gradients()
        norm, divisor = self.optimizer.norm_and_divisor(math.inf if self.clip is None else self.clip)
        self.optimizer.divide(divisor)
        clipped = self._gradients()
        self.network.zero_grad(set_to_none=True)
        return Gradients(float(loss.detach()), raw, float(norm), clipped)

    def hidden_states(self, batch: Batch, dropout: bool = False) -> HiddenStates:
        pooled = []
        # Both networks pass their pooled state to the dropout before the classifier, and do not return it.
        hook = self.network.dropout.register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0]))
        with hook, torch.no_grad():  # a compiled network does not call hooks
            output = self._forward(batch, dropout, states=True)
        states = [*output.hidden_states, pooled[0], output.logits]
        dtype = output.logits.dtype  # the stored type; other states may be half as wide
        embeddings, *layers, last, logits = (state.to(dtype).numpy(force=True) for state in states)
        if self.groups is not None:
            embeddings, *layers = (padded_states(state, batch) for state in (embeddings, *layers))
        return HiddenStates(embeddings, layers, last, logits)

    def weights(self) -> Weights:
        found = {name: np.array(p.numpy(force=True)) for name, p in self.parameters.items()}
        return found if self.words is None else found | {self.words.rows.name: self.words.table()}

    def set_weights(self, weights: Weights) -> None:
        if self.words is not None:
            self.words.set_table(weights[self.words.rows.name])
            weights = weights | {self.words.rows.name: self.words.weight.numpy(force=True)}
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(torch.tensor(weights[name]))

    def state(self) -> Iterator[tuple[str, np.ndarray]]:
        on_cpu = self.device.type == "cpu"
        yield "stream", (torch.get_rng_state() if on_cpu else torch.cuda.get_rng_state(self.device)).numpy()
        if self.words is not None:
            yield "rest", self.words.rest.numpy(force=True)
        yield from self.optimizer.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        stream = torch.from_numpy(state["stream"])
        if self.device.type == "cpu":
            torch.set_rng_state(stream)
        else:
            torch.cuda.set_rng_state(stream, self.device)
        if self.words is not None:
            self.words.rest.copy_(torch.from_numpy(state["rest"]))
        self.optimizer.restore(state)

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_memory(self) -> int:
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return peak_resident_memory()

    def _gradients(self) -> Weights:
        found = {name: np.array(p.grad.numpy(force=True)) for name, p in self.parameters.items() if p.grad is not None}
        if self.words is None:
            return found
        rows = self.words.rows
        return found | {rows.name: rows.spread(found[rows.name])}

    def _check(self, batch: Batch) -> None:
        """Raises ValueError if a word of the batch cannot be trained."""
        if self.words is not None:
            self.words.rows.check(batch.input_ids)

    def _forward(self, batch: Batch, dropout: bool, states: bool = False) -> Any:
        """Returns what the network does, with `hidden_states` of all tokens if they are asked for."""
        network = self.network if states or self.compiled is None else self.compiled
        if self.network.training != dropout:
            self.network.train(dropout)
        # A compiled network always gets a mask: without one it would be compiled a second time.
        always_masked = network is self.compiled
        if self.groups is None:
            inputs = self._padded(batch, always_masked)
        else:
            heads = self.network.config.num_attention_heads
            inputs = packed_inputs(batch, heads, self.groups, self._move, always_masked)
        if "bert.embeddings.token_type_embeddings.weight" not in self.parameters:
            del inputs["token_type_ids"]
        with torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None):
            if states:
                return network(**inputs, output_hidden_states=True)
            return network(**inputs, first_alone=True)

    def _padded(self, batch: Batch, always_masked: bool) -> dict[str, Any]:
        inputs = {"input_ids": self._move(batch.input_ids), "token_type_ids": self._move(batch.token_type_ids)}
        # transformers would read a mask of two dimensions on the device, and the host would wait for the answer.
        if always_masked or not batch.attention_mask.all():
            inputs["attention_mask"] = self._move(batch.attention_mask.astype(bool)[:, None, None, :])
        return inputs

    def _move(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self.device.type == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)
