"""transformers' classifiers, built without weights."""

from __future__ import annotations

from typing import Any

import torch
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertForSequenceClassification
from transformers.models.distilbert.configuration_distilbert import DistilBertConfig
from transformers.models.distilbert.modeling_distilbert import DistilBertForSequenceClassification

from shared.architecture import Architecture
from shared.errors import InputError


class WideLinear(torch.nn.Linear):
    """A linear layer that stays in float32 under autocast: two logits would often round to one bfloat16."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())


def build_network(a: Architecture) -> Any:
    """Builds the network on torch's `meta` device, which takes neither memory nor random numbers. `load` sets the
    weights. Raises InputError for DistilBERT with dropout after attention's output."""
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
    # BertConfig has one rate for three places, so each module gets its own.
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
    # DistilBertConfig has one rate for two places, and no field for the epsilon, so each module gets its own.
    network.distilbert.embeddings.dropout.p = a.dropout.embeddings
    for layer in network.distilbert.transformer.layer:
        layer.attention.dropout.p = a.dropout.attention
        layer.ffn.dropout.p = a.dropout.feed_forward_output
    network.dropout.p = a.dropout.classifier
    for module in network.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = a.layer_norm_eps
    return network
