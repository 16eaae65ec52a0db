"""keras-hub's classifiers, repaired, and their parameters under HuggingFace's names.

Imports no engine: Keras runs on the one that an adapter has named in KERAS_BACKEND before it imports this.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import keras
import keras_hub
import numpy as np

from backends.keras.forward import Stack
from shared.architecture import Architecture


def exact_gelu(x: Any) -> Any:
    """GELU by the error function, in float32 at least: TensorFlow computes that function of bfloat16 number by number.
    Its own GELU in float64 has the root of 1/2 in float32."""
    wide = keras.ops.cast(x, keras.config.floatx())
    return keras.ops.cast(0.5 * wide * keras.ops.erfc(-wide * math.sqrt(0.5)), x.dtype)


def exact_tanh(x: Any) -> Any:
    """The hyperbolic tangent, which Keras on JAX computes in float32 if x is float64."""
    if keras.backend.standardize_dtype(x.dtype) != "float64":
        return keras.activations.tanh(x)
    return 2 * keras.ops.sigmoid(2 * x) - 1


ACTIVATIONS = {
    "gelu": exact_gelu,
    "gelu_new": lambda x: keras.activations.gelu(x, approximate=True),
    "relu": keras.activations.relu,
}


BERT_BLOCK = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
"""HuggingFace's names in an encoder layer, in the order of `_block_layers`."""


DISTILBERT_BLOCK = (
    "attention.q_lin",
    "attention.k_lin",
    "attention.v_lin",
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
)


def build_network(a: Architecture) -> tuple[Any, Stack, dict[str, Any]]:
    """A functional model of keras-hub's own, from token_ids, padding_mask and, for BERT, segment_ids to a dict of the
    tensors that HiddenStates names; its layers as a Stack, by which adapters compute, and under HuggingFace's module
    names."""
    encoder = _bert(a) if a.model_type == "bert" else _distilbert(a)
    backbone, layers = encoder.backbone, encoder.layers
    # In bfloat16 two logits would often round to one, and a whole table would be rounded to look up some rows.
    layers["classifier"] = keras.layers.Dense(a.num_labels, dtype=keras.config.floatx())
    for table in (layer for name, layer in layers.items() if name.endswith("embeddings")):
        table.dtype_policy = keras.config.floatx()
    head_dropout = keras.layers.Dropout(a.dropout.classifier)
    logits = layers["classifier"](head_dropout(encoder.pooled))
    _repair(backbone, layers.values(), a)
    outputs = {
        "embeddings": backbone.embeddings_dropout.output,
        "layers": [block.output for block in backbone.transformer_layers],
        "pooled": encoder.pooled,
        "logits": logits,
    }
    stack = Stack(
        words=backbone.token_embedding,
        positions=encoder.positions,
        segments=layers.get("bert.embeddings.token_type_embeddings"),
        norm=backbone.embeddings_layer_norm,
        dropout=backbone.embeddings_dropout,
        blocks=backbone.transformer_layers,
        pooler=encoder.pooler,
        head_dropout=head_dropout,
        classifier=layers["classifier"],
    )
    return keras.Model(backbone.input, outputs), stack, layers


@dataclass(frozen=True)
class _Encoder:
    """keras-hub's backbone as it comes, and what the classifier needs of it."""

    backbone: Any
    pooled: Any
    """The tensor that the classifier reads."""
    pooler: Any
    """The layer that makes it of the first token's state."""
    positions: Any
    """The position embedding."""
    layers: dict[str, Any]
    """Under HuggingFace's module names."""


def _bert(a: Architecture) -> _Encoder:
    backbone = keras_hub.models.BertBackbone(num_segments=a.type_vocab_size, **_options(a))
    backbone.pooled_dense.activation = exact_tanh
    layers = {
        "bert.embeddings.word_embeddings": backbone.token_embedding,
        "bert.embeddings.position_embeddings": backbone.position_embedding,
        "bert.embeddings.token_type_embeddings": backbone.segment_embedding,
        "bert.embeddings.LayerNorm": backbone.embeddings_layer_norm,
        "bert.pooler.dense": backbone.pooled_dense,
    }
    layers |= _transformer_layers(backbone, "bert.encoder.layer", BERT_BLOCK)
    return _Encoder(
        backbone=backbone,
        pooled=backbone.output["pooled_output"],
        pooler=backbone.pooled_dense,
        positions=backbone.position_embedding,
        layers=layers,
    )


def _distilbert(a: Architecture) -> _Encoder:
    backbone = keras_hub.models.DistilBertBackbone(**_options(a))
    pre_classifier = keras.layers.Dense(a.width, activation="relu")
    layers = {
        "distilbert.embeddings.word_embeddings": backbone.embeddings.token_embedding,
        "distilbert.embeddings.position_embeddings": backbone.embeddings.position_embedding,
        "distilbert.embeddings.LayerNorm": backbone.embeddings_layer_norm,
        "pre_classifier": pre_classifier,
    }
    layers |= _transformer_layers(backbone, "distilbert.transformer.layer", DISTILBERT_BLOCK)
    return _Encoder(
        backbone=backbone,
        pooled=pre_classifier(backbone.output[:, 0]),
        pooler=pre_classifier,
        positions=backbone.embeddings.position_embedding,
        layers=layers,
    )


def _options(a: Architecture) -> dict[str, Any]:
    rates = a.dropout
    return {
        "vocabulary_size": a.vocab_size,
        "num_layers": a.layers,
        "num_heads": a.heads,
        "hidden_dim": a.width,
        "intermediate_dim": a.feed_forward,
        "max_sequence_length": a.max_positions,
        # A layer made with rate 0 has no random stream. So all get the largest, and `_repair` gives each its own.
        "dropout": max(rates.embeddings, rates.attention, rates.attention_output, rates.feed_forward_output),
    }


def _transformer_layers(backbone: Any, prefix: str, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        f"{prefix}.{n}.{name}": layer
        for n, block in enumerate(backbone.transformer_layers)
        for name, layer in zip(names, _block_layers(block), strict=True)
    }


def _block_layers(block: Any) -> tuple[Any, ...]:
    attention = block._self_attention_layer
    return (
        attention.query_dense,
        attention.key_dense,
        attention.value_dense,
        attention.output_dense,
        block._self_attention_layer_norm,
        block._feedforward_intermediate_dense,
        block._feedforward_output_dense,
        block._feedforward_layer_norm,
    )


def _repair(backbone: Any, layers: Iterable[Any], a: Architecture) -> None:
    """Sets what keras-hub's constructors fix or take as one value: the activation (tanh-GELU in BERT whatever
    hidden_act says), LayerNorm's epsilon (1e-12), and a rate for each place of dropout. Layers read these attributes
    whenever they are called."""
    for layer in layers:
        if isinstance(layer, keras.layers.LayerNormalization):
            layer.epsilon = a.layer_norm_eps
    backbone.embeddings_dropout.rate = a.dropout.embeddings
    for block in backbone.transformer_layers:
        block._feedforward_intermediate_dense.activation = ACTIVATIONS[a.activation]
        attention = block._self_attention_layer
        attention._dropout = a.dropout.attention  # above 0 it chooses the code that drops out
        attention._dropout_layer.rate = a.dropout.attention
        block._self_attention_dropout.rate = a.dropout.attention_output
        block._feedforward_dropout.rate = a.dropout.feed_forward_output


def unrepair(network: Any, parts: Collection[str]) -> None:
    """Sets the activation, if `parts` has `gelu`, and LayerNorm's epsilon, if it has `epsilon`, back to keras-hub's."""
    fresh = keras_hub.models.BertBackbone(
        vocabulary_size=2, num_layers=1, num_heads=1, hidden_dim=2, intermediate_dim=2
    )
    for layer in network._flatten_layers():
        if "gelu" in parts and isinstance(layer, keras_hub.layers.TransformerEncoder):
            stock = fresh.transformer_layers[0]._feedforward_intermediate_dense.activation
            layer._feedforward_intermediate_dense.activation = stock
        if "epsilon" in parts and isinstance(layer, keras.layers.LayerNormalization):
            layer.epsilon = fresh.embeddings_layer_norm.epsilon


@dataclass(frozen=True)
class Parameter:
    """A variable and its name and layout in HuggingFace's checkpoints."""

    name: str
    shape: tuple[int, ...]
    """HuggingFace's."""
    variable: Any
    """A keras.Variable. Keras splits attention's widths into [heads, head width]."""
    transposed: bool
    """Linear weights are [out, in] in HuggingFace, [in, out] in Keras."""

    def to_keras(self, array: np.ndarray) -> np.ndarray:
        """HuggingFace's array in the variable's layout; no copy."""
        return (array.T if self.transposed else array).reshape(self.variable.shape)

    def from_keras(self, array: np.ndarray) -> np.ndarray:
        """A copy of the variable's value or gradient in HuggingFace's layout, contiguous."""
        return np.array(array.reshape(self.shape[::-1]).T if self.transposed else array.reshape(self.shape), order="C")


def parameters(a: Architecture, layers: dict[str, Any]) -> list[Parameter]:
    """Every parameter in the order of `Architecture.shapes`. `layers` as `build_network` gives them."""
    found = []
    for name, shape in a.shapes().items():
        module, _, kind = name.rpartition(".")
        # Every layer here has its kernel, gamma or embeddings first, and then its bias or beta.
        variable = layers[module].weights[("weight", "bias").index(kind)]
        found.append(Parameter(name, shape, variable, transposed=variable.name == "kernel"))
    return found
