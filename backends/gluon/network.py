"""GluonNLP's classifiers, repaired, and their parameters under HuggingFace's names."""

from __future__ import annotations

import math
from typing import Any

import gluonnlp as nlp
from mxnet.gluon import HybridBlock, Parameter, nn

from shared.architecture import Architecture

ACTIVATIONS = {"gelu": "gelu", "gelu_new": "approx_gelu", "relu": "relu"}
"""GluonNLP's name of each `Architecture.activation`."""

BERT_LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "proj": "attention.output.dense",
    "layer_norm": "attention.output.LayerNorm",
    "ffn.ffn_1": "intermediate.dense",
    "ffn.ffn_2": "output.dense",
    "ffn.layer_norm": "output.LayerNorm",
}
"""GluonNLP's blocks in an encoder layer, and their names in HuggingFace's checkpoints of BERT."""

DISTILBERT_LAYER = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "proj": "attention.out_lin",
    "layer_norm": "sa_layer_norm",
    "ffn.ffn_1": "ffn.lin1",
    "ffn.ffn_2": "ffn.lin2",
    "ffn.layer_norm": "output_layer_norm",
}
"""The same for DistilBERT."""


class NormThenDropout(nn.LayerNorm):
    """Layer normalization and then dropout, as transformers has it for the embeddings. GluonNLP has dropout first."""

    def __init__(self, width: int, epsilon: float, rate: float) -> None:
        super().__init__(in_channels=width, epsilon=epsilon)
        self._rate = rate

    def hybrid_forward(self, F: Any, data: Any, gamma: Any, beta: Any) -> Any:
        """`data` and the result are [s, b, width]."""
        return F.Dropout(super().hybrid_forward(F, data, gamma, beta), p=self._rate)


class PlainAttention(nlp.model.bert.DotProductSelfAttentionCell):
    """GluonNLP's self-attention with matrix products that work in float64, too. Its own operators work in float32 only.
    The parameters are the same."""

    def hybrid_forward(self, F: Any, qkv: Any, valid_len: Any, **parameters: Any) -> tuple[Any, Any]:
        """Returns the context [s, b, width] and the weights [b, heads, s, s]. `qkv` is [s, b, width], `valid_len`
        [b, s] or None."""
        query, key, value = (
            F.FullyConnected(
                qkv, parameters[f"{part}_weight"], parameters[f"{part}_bias"], num_hidden=self.units, flatten=False
            )
            .reshape((0, 0, self._num_heads, -1))
            .transpose((1, 2, 0, 3))  # [b, heads, s, width of a head]
            .reshape((-3, 0, 0))
            for part in ("query", "key", "value")
        )
        scores = F.batch_dot(query, key, transpose_b=True) / math.sqrt(self.units / self._num_heads)
        if valid_len is None:
            weights = F.softmax(scores, axis=-1)
        else:
            lengths = F.repeat(valid_len, repeats=self._num_heads, axis=0)
            weights = F.softmax(scores, length=lengths.astype("int32"), use_length=True, axis=-1)
        weights = self.dropout_layer(weights)
        context = F.batch_dot(weights, value).reshape((-4, -1, self._num_heads, 0, 0))
        context = context.transpose((2, 0, 1, 3)).reshape((0, 0, -3))
        return context, weights.reshape((-4, -1, self._num_heads, 0, 0))


def build_network(a: Architecture) -> HybridBlock:
    """Builds a classifier without initial values on a BERT or on a DistilBERT, which to GluonNLP is a BERT without
    token types. The classifier takes ids [b, s], types [b, s] (None for DistilBERT) and lengths [b], and returns logits
    [b, num_labels]."""
    encoder = nlp.model.BERTEncoder(
        num_layers=a.layers,
        units=a.width,
        hidden_size=a.feed_forward,
        max_length=a.max_positions,
        num_heads=a.heads,
        dropout=0.5,  # any rate above 0 makes the layers of dropout, which are replaced below
        activation=ACTIVATIONS[a.activation],
        layer_norm_eps=a.layer_norm_eps,
    )
    encoder.dropout_layer = nn.Dropout(0)
    encoder.layer_norm = NormThenDropout(a.width, a.layer_norm_eps, a.dropout.embeddings)
    for cell in encoder.transformer_cells:
        cell.attention_cell.dropout_layer = nn.Dropout(a.dropout.attention)
        cell.dropout_layer = nn.Dropout(a.dropout.attention_output)
        cell.ffn.dropout_layer = nn.Dropout(a.dropout.feed_forward_output)
    bert = nlp.model.BERTModel(
        encoder,
        vocab_size=a.vocab_size,
        token_type_vocab_size=a.type_vocab_size,
        units=a.width,
        embed_size=a.width,
        use_decoder=False,
        use_classifier=False,
        use_token_type_embed=a.model_type == "bert",
    )
    if a.model_type == "distilbert":
        bert.pooler = nn.Dense(a.width, activation="relu", flatten=False)
    return nlp.model.BERTClassifier(bert, num_classes=a.num_labels, dropout=a.dropout.classifier)


def named_parameters(network: HybridBlock, a: Architecture) -> dict[str, Parameter]:
    """Finds every parameter by its HuggingFace name, in the order of `Architecture.shapes`. Layouts are the same."""
    bert, encoder = network.bert, network.bert.encoder
    distil = a.model_type == "distilbert"
    found = {
        f"{a.model_type}.embeddings.word_embeddings.weight": bert.word_embed[0].weight,
        f"{a.model_type}.embeddings.position_embeddings.weight": encoder.position_weight,
    }
    if not distil:
        found["bert.embeddings.token_type_embeddings.weight"] = bert.token_type_embed[0].weight
    blocks = {
        f"{a.model_type}.embeddings.LayerNorm": encoder.layer_norm,
        "pre_classifier" if distil else "bert.pooler.dense": bert.pooler,
        "classifier": network.classifier[-1],
    }
    names = DISTILBERT_LAYER if distil else BERT_LAYER
    for n, cell in enumerate(encoder.transformer_cells):
        layer = f"distilbert.transformer.layer.{n}" if distil else f"bert.encoder.layer.{n}"
        for part in ("query", "key", "value"):
            for kind in ("weight", "bias"):
                found[f"{layer}.{names[part]}.{kind}"] = getattr(cell.attention_cell, f"{part}_{kind}")
        blocks[f"{layer}.{names['proj']}"] = cell.proj
        blocks[f"{layer}.{names['layer_norm']}"] = cell.layer_norm
        for part in ("ffn_1", "ffn_2", "layer_norm"):
            blocks[f"{layer}.{names[f'ffn.{part}']}"] = getattr(cell.ffn, part)
    for name, block in blocks.items():
        norm = isinstance(block, nn.LayerNorm)
        found[f"{name}.weight"] = block.gamma if norm else block.weight
        found[f"{name}.bias"] = block.beta if norm else block.bias
    return {name: found[name] for name in a.shapes()}
