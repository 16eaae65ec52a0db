"""transformers' last layer computed for the first token of each row alone, which is all that a classifier reads.

Keys and values are those of all tokens. Query, attention's output, LayerNorm, dropout and feed-forward see one token of
each row. Parameters, logits and gradients are those of the whole layer; dropout has its rates, and draws fewer numbers.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert.modeling_bert import BertLayer
from transformers.models.distilbert.modeling_distilbert import TransformerBlock

from backends.torch.packed import Rows


def shorten_last_layer(network: Any) -> None:
    """Makes a network of transformers take `first_alone`: if True, its last layer is computed for first tokens alone.
    Without it, and for the states of all tokens, the network stays what it was."""
    distilbert = network.config.model_type == "distilbert"
    layers = network.base_model.transformer.layer if distilbert else network.base_model.encoder.layer
    layers[-1].__class__ = ShortBlock if distilbert else ShortLayer


class ShortLayer(BertLayer):
    """BERT's layer. With `first_alone` its output is [b, 1, width]."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *others: Any,
        first_alone: bool = False,
        **options: Any,
    ) -> torch.Tensor:
        if not first_alone:
            return super().forward(hidden_states, attention_mask, *others, **options)
        first, inner = _first(hidden_states, **options), self.attention.self
        q, k, v = inner.query(first), inner.key(hidden_states), inner.value(hidden_states)
        attended = self.attention.output(_attend(inner, q, k, v, attention_mask, **options), first)
        output: torch.Tensor = self.feed_forward_chunk(attended)
        return output


class ShortBlock(TransformerBlock):
    """DistilBERT's layer. With `first_alone` its output is [b, 1, width]."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        first_alone: bool = False,
        **options: Any,
    ) -> torch.Tensor:
        if not first_alone:
            return super().forward(hidden_states, attention_mask, **options)
        first, inner = _first(hidden_states, **options), self.attention
        q, k, v = inner.q_lin(first), inner.k_lin(hidden_states), inner.v_lin(hidden_states)
        context = inner.out_lin(_attend(inner, q, k, v, attention_mask, **options))
        attended = self.sa_layer_norm(context + first)
        output: torch.Tensor = self.output_layer_norm(self.ffn(attended) + attended)
        return output


def _first(tokens: torch.Tensor, rows: Rows | None = None, **_: Any) -> torch.Tensor:
    """The first token of each row, [b, 1, width]."""
    return tokens[:, :1] if rows is None else rows.first(tokens)


def _attend(
    attention: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, **options: Any
) -> torch.Tensor:
    """Computes the first tokens' context, [b, 1, width], from their queries and the keys and values of all tokens."""
    q, k, v = (part.unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2) for part in (q, k, v))
    rate = attention.dropout.p if attention.training else 0.0
    interface = ALL_ATTENTION_FUNCTIONS[attention.config._attn_implementation]
    context: torch.Tensor = interface(attention, q, k, v, mask, dropout=rate, scaling=attention.scaling, **options)[0]
    return context.flatten(2)
