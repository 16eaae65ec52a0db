"""A model's architecture, as config.json gives it, and the parameters that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Weights = dict[str, np.ndarray]
"""Parameters or their gradients, by HuggingFace's names: exactly those of `Architecture.shapes`. float32, or float64 if
the precision is float64."""


@dataclass(frozen=True)
class Dropout:
    """Dropout rates, from 0 to below 1, one for each place where transformers has dropout."""

    embeddings: float = 0.1
    """After the embeddings' LayerNorm."""
    attention: float = 0.1
    """On the attention probabilities."""
    attention_output: float = 0.1
    """After the attention's output projection, before the residual sum. DistilBERT has no dropout here: 0."""
    feed_forward_output: float = 0.1
    """After the feed-forward's second projection, before the residual sum."""
    classifier: float = 0.1
    """Before the last linear layer."""


@dataclass(frozen=True)
class Architecture:
    """A BERT or DistilBERT encoder with a sequence-classification head."""

    model_type: Literal["bert", "distilbert"]
    vocab_size: int
    width: int
    layers: int
    heads: int
    feed_forward: int
    max_positions: int
    type_vocab_size: int
    """0 for DistilBERT, which has no token types."""
    activation: Literal["gelu", "gelu_new", "relu"]
    """Activation of the feed-forward. `gelu` is exact (erf), `gelu_new` the tanh approximation."""
    layer_norm_eps: float
    dropout: Dropout
    num_labels: int
    initializer_range: float = 0.02
    pad_id: int = 0

    @property
    def word_table(self) -> str:
        """Name of the word embedding's table."""
        return f"{self.model_type}.embeddings.word_embeddings.weight"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all parameters, in the order of the forward pass.

        Names are those of transformers' `BertForSequenceClassification` and `DistilBertForSequenceClassification`;
        linear weights are [out, in]. `weights` and `gradients` of every backend hold exactly these.
        """
        return _distilbert_shapes(self) if self.model_type == "distilbert" else _bert_shapes(self)


def _linear(name: str, out: int, into: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _bert_shapes(a: Architecture) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (a.vocab_size, a.width),
        "bert.embeddings.position_embeddings.weight": (a.max_positions, a.width),
        "bert.embeddings.token_type_embeddings.weight": (a.type_vocab_size, a.width),
    } | _norm("bert.embeddings.LayerNorm", a.width)
    for n in range(a.layers):
        layer = f"bert.encoder.layer.{n}"
        for part in ("query", "key", "value"):
            shapes |= _linear(f"{layer}.attention.self.{part}", a.width, a.width)
        shapes |= _linear(f"{layer}.attention.output.dense", a.width, a.width)
        shapes |= _norm(f"{layer}.attention.output.LayerNorm", a.width)
        shapes |= _linear(f"{layer}.intermediate.dense", a.feed_forward, a.width)
        shapes |= _linear(f"{layer}.output.dense", a.width, a.feed_forward)
        shapes |= _norm(f"{layer}.output.LayerNorm", a.width)
    shapes |= _linear("bert.pooler.dense", a.width, a.width)
    return shapes | _linear("classifier", a.num_labels, a.width)


def _distilbert_shapes(a: Architecture) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "distilbert.embeddings.word_embeddings.weight": (a.vocab_size, a.width),
        "distilbert.embeddings.position_embeddings.weight": (a.max_positions, a.width),
    } | _norm("distilbert.embeddings.LayerNorm", a.width)
    for n in range(a.layers):
        layer = f"distilbert.transformer.layer.{n}"
        for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
            shapes |= _linear(f"{layer}.attention.{part}", a.width, a.width)
        shapes |= _norm(f"{layer}.sa_layer_norm", a.width)
        shapes |= _linear(f"{layer}.ffn.lin1", a.feed_forward, a.width)
        shapes |= _linear(f"{layer}.ffn.lin2", a.width, a.feed_forward)
        shapes |= _norm(f"{layer}.output_layer_norm", a.width)
    shapes |= _linear("pre_classifier", a.width, a.width)
    return shapes | _linear("classifier", a.num_labels, a.width)
