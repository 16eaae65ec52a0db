"""PyTorch with HuggingFace transformers: the reference that the other backends are measured against."""

from __future__ import annotations

import math
import os
import shutil
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertForSequenceClassification
from transformers.models.distilbert.configuration_distilbert import DistilBertConfig
from transformers.models.distilbert.modeling_distilbert import DistilBertForSequenceClassification

from backends import check_precision
from backends.devices import check_capability, gpu_number, peak_resident_memory
from backends.torch.cpu import for_cpu
from shared.architecture import Architecture, Weights
from shared.batching import Batch
from shared.contract import Gradients, HiddenStates, Lazy
from shared.errors import InputError
from shared.job import Precision, stored
from shared.recipe import Recipe

HALVES: dict[Precision, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def load(
    architecture: Architecture,
    weights: Weights,
    recipe: Recipe,
    device: str,
    threads: int,
    precision: Precision = "float32",
    compile: bool = False,
) -> TorchModel:
    """See `shared.contract.Load`. Raises InputError too where torch.compile would find no C++ compiler."""
    gpu_number(device, torch.cuda.device_count())
    check_precision("torch", device, precision)
    place = torch.device(device)
    if place.type == "cuda":
        check_capability(device, precision, torch.cuda.get_device_capability(place))
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.manual_seed(recipe.seed)
    network = _network(architecture)
    if precision in HALVES:
        network.classifier.__class__ = WideLinear
    if place.type == "cpu" and not compile:  # compiled, it is torch that chooses
        for_cpu(network, precision)
    dtype = getattr(torch, stored(precision))
    network.load_state_dict(
        {name: torch.tensor(w, dtype=dtype, device=place) for name, w in weights.items()}, assign=True
    )
    # Construction left these without memory. Token types come with every batch, so their buffer is never read.
    network.base_model.embeddings.position_ids = torch.arange(architecture.max_positions, device=place)[None]
    parameters = dict(network.named_parameters())
    return TorchModel(
        network,
        {name: parameters[name] for name in architecture.shapes()},
        _Optimizer(parameters, recipe, torch.amp.GradScaler(place.type, enabled=precision == "float16")),
        recipe.clip,
        place,
        HALVES.get(precision),
        _compiled(network, recipe) if compile else None,
    )


def _compiled(network: Any, recipe: Recipe) -> Any:
    """The network, to be compiled when it is first called. Raises InputError where there is no C++ compiler."""
    # As torch._inductor.config.cpp.cxx has it.
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise InputError(
            f"torch.compile needs a C++ compiler, and there is no {compiler}; install it, name another in CXX, or pass "
            "--compile no"
        )
    # Batches that change their width are compiled for any width at once, others when they first change in anything.
    # Without `fullgraph` what cannot be compiled would run as it is, in silence.
    return torch.compile(network, fullgraph=True, dynamic=None if recipe.padding == "max_length" else True)


class WideLinear(torch.nn.Linear):
    """A layer that autocast leaves in float32: two logits would often round to one bfloat16."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())


def _network(a: Architecture) -> Any:
    """The network on torch's `meta` device, which costs neither memory nor random numbers: `load` gives the weights."""
    common = {
        "vocab_size": a.vocab_size,
        "max_position_embeddings": a.max_positions,
        "num_labels": a.num_labels,
        "pad_token_id": a.pad_id,
        "attn_implementation": "sdpa",
    }
    with torch.device("meta"):
        if a.model_type == "distilbert":
            return _distilbert(a, common)
        return _bert(a, common)


def _bert(a: Architecture, common: dict[str, Any]) -> Any:
    network = BertForSequenceClassification(
        BertConfig(
            hidden_size=a.width,
            num_hidden_layers=a.layers,
            num_attention_heads=a.heads,
            intermediate_size=a.feed_forward,
            hidden_act=a.activation,
            type_vocab_size=a.type_vocab_size,
            layer_norm_eps=a.layer_norm_eps,
            **common,
        )
    )
    # BertConfig has one rate for three places, so the modules are told.
    network.bert.embeddings.dropout.p = a.dropout.embeddings
    for layer in network.bert.encoder.layer:
        layer.attention.self.dropout.p = a.dropout.attention
        layer.attention.output.dropout.p = a.dropout.attention_output
        layer.output.dropout.p = a.dropout.feed_forward_output
    network.dropout.p = a.dropout.classifier
    return network


def _distilbert(a: Architecture, common: dict[str, Any]) -> Any:
    if a.dropout.attention_output:
        raise InputError("dropout.attention_output is above 0, and DistilBERT has no dropout there; pass 0")
    network = DistilBertForSequenceClassification(
        DistilBertConfig(
            dim=a.width,
            n_layers=a.layers,
            n_heads=a.heads,
            hidden_dim=a.feed_forward,
            activation=a.activation,
            **common,
        )
    )
    # DistilBertConfig has one rate for two places, and no field for the epsilon.
    network.distilbert.embeddings.dropout.p = a.dropout.embeddings
    for layer in network.distilbert.transformer.layer:
        layer.attention.dropout.p = a.dropout.attention
        layer.ffn.dropout.p = a.dropout.feed_forward_output
    network.dropout.p = a.dropout.classifier
    for module in network.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = a.layer_norm_eps
    return network


@dataclass
class _Optimizer:
    """torch's fused AdamW or Adam. Its step is, with c1 = 1 - beta1^t and c2 = 1 - beta2^t,

        w -= rate * decay * w + (rate / c1) * m / (sqrt(v / c2) + eps)

    (Adam: decay * w joins the gradient instead), so that other places of eps and the missing bias correction are other
    values of rate, eps and decay at each step t. A step whose float16 gradients overflow changes nothing, but counts.
    """

    parameters: dict[str, torch.Tensor]
    recipe: Recipe
    scaler: torch.amp.GradScaler
    """Of the loss, in float16; elsewhere it does nothing."""
    steps: int = 0
    optimizer: Any = field(init=False)

    def __post_init__(self) -> None:
        r = self.recipe
        groups = [
            {"params": [p for name, p in self.parameters.items() if r.decays(name) == decays], "weight_decay": decay}
            for decays, decay in ((True, r.decay), (False, 0.0))
        ]
        kind = torch.optim.AdamW if r.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = kind([g for g in groups if g["params"]], betas=(r.beta1, r.beta2), fused=True)
        for group in self.optimizer.param_groups:
            group["recipe_decay"] = group["weight_decay"]

    def step(self, learning_rate: float) -> None:
        r = self.recipe
        self.steps += 1
        c1, root_c2 = 1 - r.beta1**self.steps, math.sqrt(1 - r.beta2**self.steps)
        # Uncorrected: rate * m / (sqrt(v) + eps) = (rate * factor / c1) * m / (sqrt(v / c2) + eps / root_c2)
        factor = 1.0 if r.bias_correction else c1 / root_c2
        eps = r.eps if r.bias_correction and r.eps_place == "after" else r.eps / root_c2
        for group in self.optimizer.param_groups:
            group["lr"], group["eps"] = learning_rate * factor, eps
            if r.optimizer == "adamw":
                group["weight_decay"] = group["recipe_decay"] / factor
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)


@dataclass
class TorchModel:
    """See `shared.contract.Model`."""

    network: Any
    parameters: dict[str, torch.Tensor]
    optimizer: _Optimizer
    clip: float | None
    device: torch.device
    half: torch.dtype | None = None
    """What autocast computes matrix products in. Parameters and their gradients are float32 there too."""
    compiled: Any = None
    """The network, compiled, of which `train_step`, `predict` and `gradients` make use."""

    width_multiple = 1

    def train_step(self, batch: Batch, learning_rate: float) -> Lazy:
        labels = self._move(batch.labels)
        logits = self._forward(batch, dropout=True).logits
        loss = functional.cross_entropy(logits, labels)
        scaler = self.optimizer.scaler
        scaler.scale(loss).backward()
        scaler.unscale_(self.optimizer.optimizer)
        if self.clip is not None:
            self._clip_gradients(self.clip)
        self.optimizer.step(learning_rate)
        mean, correct = loss.detach(), (logits.detach().argmax(-1) == labels).sum()
        return lambda: (float(mean), int(correct))

    def predict(self, batch: Batch) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = self._forward(batch, dropout=False).logits.numpy(force=True)
        return logits

    def gradients(self, batch: Batch) -> Gradients:
        loss = functional.cross_entropy(self._forward(batch, dropout=False).logits, self._move(batch.labels))
        scale = self.optimizer.scaler.get_scale()
        (loss * scale).backward()
        for parameter in self.parameters.values():
            if parameter.grad is not None:
                parameter.grad /= scale  # by the scaler itself it would count as a step
        raw = self._gradients()
        norm = self._clip_gradients(math.inf if self.clip is None else self.clip)
        clipped = self._gradients()
        self.network.zero_grad(set_to_none=True)
        return Gradients(float(loss.detach()), raw, float(norm), clipped)

    def hidden_states(self, batch: Batch, dropout: bool = False) -> HiddenStates:
        pooled = []
        # Both networks give their pooled state to one dropout before the classifier, and do not return it.
        hook = self.network.dropout.register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0]))
        with hook, torch.no_grad():  # hooks are silent in a compiled network
            output = self._forward(batch, dropout, compiled=False, output_hidden_states=True)
        states = [*output.hidden_states, pooled[0], output.logits]
        dtype = output.logits.dtype  # as stored, while the others may be half as wide
        embeddings, *layers, last, logits = (state.to(dtype).numpy(force=True) for state in states)
        return HiddenStates(embeddings, layers, last, logits)

    def weights(self) -> Weights:
        return {name: np.array(p.numpy(force=True)) for name, p in self.parameters.items()}

    def set_weights(self, weights: Weights) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(torch.tensor(weights[name]))

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_memory(self) -> int:
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return peak_resident_memory()

    def _clip_gradients(self, clip: float) -> torch.Tensor:
        """Gives the global norm before."""
        return torch.nn.utils.clip_grad_norm_(self.parameters.values(), clip, foreach=True)

    def _gradients(self) -> Weights:
        return {name: np.array(p.grad.numpy(force=True)) for name, p in self.parameters.items() if p.grad is not None}

    def _forward(self, batch: Batch, dropout: bool, compiled: bool = True, **options: Any) -> Any:
        network = self.compiled if compiled and self.compiled is not None else self.network
        if self.network.training != dropout:
            self.network.train(dropout)
        inputs = {"input_ids": self._move(batch.input_ids)}
        if "bert.embeddings.token_type_embeddings.weight" in self.parameters:
            inputs["token_type_ids"] = self._move(batch.token_type_ids)
        # transformers would look at a mask of two dimensions on the device, and the host would wait for the answer.
        # Compiled, the network always takes a mask: without one it would be another trace.
        if network is self.compiled or not batch.attention_mask.all():
            inputs["attention_mask"] = self._move(batch.attention_mask.astype(bool)[:, None, None, :])
        with torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None):
            return network(**inputs, **options)

    def _move(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self.device.type == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)
