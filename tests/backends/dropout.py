"""Weights that make each dropped tensor readable from a network's hidden states, in any framework.

The encoder layer ends in one or two LayerNorms, each an affine map of every token with unknown slope and offset. So
half of the coordinates, CLEAN, carry only the residual and reveal that map. The others, CARRIED, carry the residual
plus the dropped tensor.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from shared.architecture import Architecture, Dropout, Weights
from shared.batching import Batch
from shared.contract import HiddenStates
from tests.backends.cases import NO_DROPOUT, architecture, is_norm

Place = Literal["embeddings", "attention", "attention_output", "feed_forward_output", "classifier"]
PLACES: dict[str, list[Place]] = {
    "bert": ["embeddings", "attention", "attention_output", "feed_forward_output", "classifier"],
    "distilbert": ["embeddings", "attention", "feed_forward_output", "classifier"],
}

WIDTH, HEADS, TOKENS, ROWS = 64, 4, 8, 64
CLEAN, CARRIED = np.arange(0, WIDTH, 2), np.arange(1, WIDTH, 2)
RESIDUAL = np.random.RandomState(3).random_sample(WIDTH) * 4 - 2
GAIN = 8.0
"""Scales attention probabilities of about 1/8 to the size of the residual."""

_NAMES = {
    "bert": {
        "value": "bert.encoder.layer.0.attention.self.value",
        "query": "bert.encoder.layer.0.attention.self.query",
        "key": "bert.encoder.layer.0.attention.self.key",
        "attention_output": "bert.encoder.layer.0.attention.output.dense",
        "attention_norm": "bert.encoder.layer.0.attention.output.LayerNorm",
        "feed_forward_output": "bert.encoder.layer.0.output.dense",
        "pooler": "bert.pooler.dense",
    },
    "distilbert": {
        "value": "distilbert.transformer.layer.0.attention.v_lin",
        "query": "distilbert.transformer.layer.0.attention.q_lin",
        "key": "distilbert.transformer.layer.0.attention.k_lin",
        "attention_output": "distilbert.transformer.layer.0.attention.out_lin",
        "attention_norm": "distilbert.transformer.layer.0.sa_layer_norm",
        "feed_forward_output": "distilbert.transformer.layer.0.ffn.lin2",
        "pooler": "pre_classifier",
    },
}


def network(kind: Literal["bert", "distilbert"], rates: Dropout = NO_DROPOUT) -> Architecture:
    """Makes a network of one layer, with one label for each coordinate."""
    return architecture(
        kind, vocab_size=32, width=WIDTH, layers=1, heads=HEADS, max_positions=TOKENS, num_labels=WIDTH, dropout=rates
    )


def batch() -> Batch:
    """A batch of equal rows without padding."""
    ids = np.tile(np.arange(2, 2 + TOKENS, dtype=np.int32), (ROWS, 1))
    return Batch(ids, np.zeros_like(ids), np.ones_like(ids), np.zeros(ROWS, np.int64))


def revealing_weights(kind: Literal["bert", "distilbert"], place: Place) -> Weights:
    """Makes weights that let `dropped_tensor` find the tensor dropped at `place`. All others are zero."""
    random = np.random.RandomState(11)
    names = _NAMES[kind]
    weights = {
        name: np.full(shape, float(is_norm(name) and name.endswith("weight")))
        for name, shape in network(kind).shapes().items()
    }
    positions = random.random_sample((TOKENS, WIDTH)) * 2 - 1
    weights[f"{kind}.embeddings.position_embeddings.weight"] = positions
    if place == "embeddings":
        weights[f"{kind}.embeddings.LayerNorm.bias"] += 5  # without dropout no entry is zero
    elif place == "attention":
        # Head h's value of token j is the j-th unit vector, so its context for a token is that token's row of dropped
        # probabilities, which the output projection copies to the carried coordinates.
        states = positions - positions.mean(-1, keepdims=True)
        states /= states.std(-1, keepdims=True)
        head = WIDTH // HEADS
        unit = np.eye(head, TOKENS)
        weights[f"{names['value']}.weight"] = np.tile(unit @ np.linalg.pinv(states.T), (HEADS, 1))
        for part in ("query", "key"):
            weights[f"{names[part]}.weight"] = (random.random_sample((WIDTH, WIDTH)) - 0.5) * 0.2
        output = weights[f"{names['attention_output']}.weight"]
        for h in range(HEADS):
            for j in range(TOKENS):
                output[CARRIED[h * TOKENS + j], h * head + j] = GAIN
    elif place == "attention_output":
        weights[f"{names['attention_output']}.bias"][CARRIED] = 1 + random.random_sample(len(CARRIED))
    elif place == "feed_forward_output":
        # The residual of the feed-forward is known: a LayerNorm of weight zero returns its bias for any input.
        weights[f"{names['attention_norm']}.weight"][:] = 0
        weights[f"{names['attention_norm']}.bias"] = RESIDUAL
        weights[f"{names['feed_forward_output']}.bias"][CARRIED] = 1 + random.random_sample(len(CARRIED))
    else:
        weights[f"{names['pooler']}.bias"] = 0.5 + random.random_sample(WIDTH)
        weights["classifier.weight"] = np.eye(WIDTH)
    return {name: values.astype(np.float32) for name, values in weights.items()}


def dropped_tensor(place: Place, states: HiddenStates) -> np.ndarray:
    """Computes the tensor at `place` after its dropout, float64: embeddings [b, s, width]; attention probabilities
    [b, heads, s, s]; carried coordinates [b, s, width / 2] of a sublayer's output; pooled states [b, width]."""
    if place == "embeddings":
        return states.embeddings.astype(np.float64)
    if place == "classifier":
        return states.logits.astype(np.float64)
    out = states.layers[0].astype(np.float64)
    residual = states.embeddings.astype(np.float64)
    if place == "feed_forward_output":
        residual = np.broadcast_to(RESIDUAL, out.shape)
    # Least squares over the clean coordinates of each token give the LayerNorms' map.
    x, y = residual[..., CLEAN], out[..., CLEAN]
    x_mean, y_mean = x.mean(-1, keepdims=True), y.mean(-1, keepdims=True)
    slope = ((x - x_mean) * (y - y_mean)).sum(-1, keepdims=True) / ((x - x_mean) ** 2).sum(-1, keepdims=True)
    carried = (out[..., CARRIED] - y_mean) / slope + x_mean - residual[..., CARRIED]
    if place == "attention":
        return carried.reshape(ROWS, TOKENS, HEADS, TOKENS).transpose(0, 2, 1, 3) / GAIN
    return carried
