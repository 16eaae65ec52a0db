"""keras-hub's classifiers, repaired."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import keras_hub

from shared.architecture import Architecture

ACTIVATIONS = {
    "gelu": lambda x: keras.activations.gelu(x, approximate=False),
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


def build_network(a: Architecture) -> tuple[Any, dict[str, Any]]:
    """A functional model from token_ids, padding_mask and, for BERT, segment_ids to a dict of the tensors that
    HiddenStates names; and its layers under HuggingFace's module names."""
    rates = a.dropout
    options = {
        "vocabulary_size": a.vocab_size,
        "num_layers": a.layers,
        "num_heads": a.heads,
        "hidden_dim": a.width,
        "intermediate_dim": a.feed_forward,
        "max_sequence_length": a.max_positions,
        # A layer made with rate 0 has no random stream: all are made with the largest, then get their own below.
        "dropout": max(rates.embeddings, rates.attention, rates.attention_output, rates.feed_forward_output),
    }
    if a.model_type == "bert":
        backbone = keras_hub.models.BertBackbone(num_segments=a.type_vocab_size, **options)
        pooled = backbone.output["pooled_output"]
        layers = {
            "bert.embeddings.word_embeddings": backbone.token_embedding,
            "bert.embeddings.position_embeddings": backbone.position_embedding,
            "bert.embeddings.token_type_embeddings": backbone.segment_embedding,
            "bert.embeddings.LayerNorm": backbone.embeddings_layer_norm,
            "bert.pooler.dense": backbone.pooled_dense,
        }
        sum_of_embeddings = backbone.embeddings_add
        prefix, names = "bert.encoder.layer", BERT_BLOCK
    else:
        backbone = keras_hub.models.DistilBertBackbone(**options)
        pre_classifier = keras.layers.Dense(a.width, activation="relu")
        pooled = pre_classifier(backbone.output[:, 0])
        layers = {
            "distilbert.embeddings.word_embeddings": backbone.embeddings.token_embedding,
            "distilbert.embeddings.position_embeddings": backbone.embeddings.position_embedding,
            "distilbert.embeddings.LayerNorm": backbone.embeddings_layer_norm,
            "pre_classifier": pre_classifier,
        }
        sum_of_embeddings = backbone.embeddings
        prefix, names = "distilbert.transformer.layer", DISTILBERT_BLOCK
    for n, block in enumerate(backbone.transformer_layers):
        layers |= {f"{prefix}.{n}.{name}": layer for name, layer in zip(names, _block_layers(block), strict=True)}
    # In bfloat16 two logits would often round to one; and TensorFlow would round a whole table to look up some rows.
    layers["classifier"] = keras.layers.Dense(a.num_labels, dtype=keras.config.floatx())
    for layer in (sum_of_embeddings, *(layers[name] for name in layers if name.endswith("embeddings"))):
        layer.dtype_policy = keras.config.floatx()
    logits = layers["classifier"](keras.layers.Dropout(rates.classifier)(pooled))
    _repair(backbone, layers.values(), a)
    outputs = {
        "embeddings": backbone.embeddings_dropout.output,
        "layers": [block.output for block in backbone.transformer_layers],
        "pooled": pooled,
        "logits": logits,
    }
    return keras.Model(backbone.input, outputs), layers


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
    whenever they are called, and the functional model calls them anew in every `tf.function`."""
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
