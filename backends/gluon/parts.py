"""Standard parts of MXNet and GluonNLP in place of the adapter's."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import gluonnlp as nlp
import mxnet as mx
from mxnet.gluon import nn

from backends.gluon import adapter
from backends.parts import check_mode
from shared.contract import Build, Model

DISTILBERT_EPSILON = 1e-5
"""Epsilon of LayerNorm in GluonNLP's DistilBERT."""


def load(build: Build, parts: Collection[str]) -> Model:
    """See `shared.contract.LoadParts`."""
    check_mode(build)
    model = adapter.load(build)
    encoder = model.network.bert.encoder
    if "dropout" in parts:
        encoder.dropout_layer._rate = build.architecture.dropout.embeddings
        encoder.layer_norm._rate = 0
    if "epsilon" in parts:
        for norm in _layer_norms(model.network):
            norm._epsilon = DISTILBERT_EPSILON
    optimizer = PartsOptimizer(build.recipe, model.parameters, build.precision, parts=parts)
    return PartsModel(
        build.architecture, model.context, model.network, model.parameters, optimizer, build.precision, parts=parts
    )


def _layer_norms(block: Any) -> list[Any]:
    inner = [norm for child in block._children.values() for norm in _layer_norms(child)]
    return [block, *inner] if isinstance(block, nn.LayerNorm) else inner


@dataclass
class PartsModel(adapter.GluonModel):
    """The adapter's model with some of MXNet's standard parts."""

    parts: Collection[str] = ()

    def _loss(self, logits: mx.nd.NDArray, labels: mx.nd.NDArray) -> mx.nd.NDArray:
        if "loss" not in self.parts:
            return super()._loss(logits, labels)
        return mx.gluon.loss.SoftmaxCELoss()(logits, labels).mean()

    def _backward(self, loss: mx.nd.NDArray, train_mode: bool = True) -> None:
        if "pad" in self.parts:
            loss.backward(train_mode=train_mode)
        else:
            super()._backward(loss, train_mode)


@dataclass
class PartsOptimizer(adapter.Optimizer):
    """The adapter's optimizer, or MXNet's own under a `gluon.Trainer`. `wd_mult` exempts biases and LayerNorms from
    decay, as in GluonNLP's scripts."""

    parts: Collection[str] = ()
    trainer: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        name = next((name for name in ("bertadam", "adam") if name in self.parts), None)
        if name is None:
            return
        r = self.recipe
        for parameter_name, parameter in self.parameters.items():
            parameter.wd_mult = float(r.decays(parameter_name))
        options = {"beta1": r.beta1, "beta2": r.beta2, "epsilon": r.eps, "wd": r.decay}
        self.trainer = mx.gluon.Trainer(list(self.parameters.values()), name, options, update_on_kvstore=False)

    def step(self, learning_rate: float) -> None:
        if self.trainer is None:
            super().step(learning_rate)
            return
        _, factor = self.norm_and_factor()
        for parameter in self.parameters.values():
            gradient = parameter.grad()
            gradient *= factor.reshape([1] * gradient.ndim)
        self.trainer.set_learning_rate(learning_rate)
        self.trainer.update(1)

    def norm_and_factor(self) -> tuple[mx.nd.NDArray, mx.nd.NDArray]:
        if "clipping" not in self.parts or self.recipe.clip is None:
            return super().norm_and_factor()
        norm, ratio, _ = nlp.utils.grad_global_norm(self.parameters.values(), self.recipe.clip)
        return norm, 1 / ratio
