"""Networks, weights, batches and recipes of these tests. Plain numpy, and only such random numbers as are the same in
every version of it, so that each backend's interpreter and the reference's make the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from shared.architecture import Architecture, Dropout, Weights
from shared.batching import Batch
from shared.recipe import Recipe

NO_DROPOUT = Dropout(0.0, 0.0, 0.0, 0.0, 0.0)

# Settings at which each mistake shows. The clip is a tenth of the norm that the reference measures.
STEEP = Recipe(decay=0.1, eps=1e-6, batch_size=8)
STEEP_RATE = 1e-3
STEPS = 10


@dataclass(frozen=True)
class Case:
    """A network with all that it is given: `batches[:-1]` to train on, the last to evaluate."""

    architecture: Architecture
    weights: Weights
    batches: list[Batch]


def architecture(model_type: Literal["bert", "distilbert"], **fields: Any) -> Architecture:
    """A small network without dropout, and whatever else is asked for."""
    small = Architecture(
        model_type=model_type,
        vocab_size=500,
        width=64,
        layers=2,
        heads=4,
        feed_forward=160,
        max_positions=128,
        type_vocab_size=2 if model_type == "bert" else 0,
        activation="gelu",
        layer_norm_eps=1e-12,
        dropout=NO_DROPOUT,
        num_labels=3,
    )
    return replace(small, **fields)


def perturbed_weights(architecture: Architecture, embedding_scale: float = 0.2) -> Weights:
    """Every entry random, biases and LayerNorms too, and large enough for every nonlinearity to matter."""
    random = np.random.RandomState(7)
    weights: Weights = {}
    for name, shape in architecture.shapes().items():
        unit = random.random_sample(shape) * 2 - 1
        if "embeddings.weight" in name:
            values = embedding_scale * unit
        elif is_norm(name) and name.endswith("weight"):
            values = 1 + 0.4 * unit
        elif len(shape) == 1:
            values = 0.2 * unit
        else:
            values = unit * 2 / np.sqrt(shape[1])
        weights[name] = values.astype(np.float32)
    return weights


def is_norm(name: str) -> bool:
    """Whether the parameter is a LayerNorm's."""
    return "LayerNorm" in name or "layer_norm" in name


def random_batch(architecture: Architecture, rows: int, width: int, seed: int) -> Batch:
    """Rows of mixed lengths, the first as long as the batch is wide, in two segments where the network knows two."""
    random = np.random.RandomState(seed)
    lengths = random.randint(3, width + 1, rows)
    lengths[0] = width
    positions = np.arange(width)
    mask = (positions < lengths[:, None]).astype(np.int32)
    # Never the pad id: transformers trains no embedding for it, not even where it stands for a word.
    ids = random.randint(0, architecture.vocab_size - 1, (rows, width)).astype(np.int32)
    ids += ids >= architecture.pad_id
    types = np.zeros_like(ids)
    if architecture.type_vocab_size > 1:
        types = (positions >= lengths[:, None] // 2) * mask
    labels = random.randint(0, architecture.num_labels, rows).astype(np.int64)
    return Batch(np.where(mask == 1, ids, np.int32(architecture.pad_id)), types, mask, labels)


def _trained(model_type: Literal["bert", "distilbert"]) -> Case:
    a = architecture(model_type)
    widths = [24, 17, 24, 9, 31, 24, 40, 12, 24, 20, 33]
    return Case(a, perturbed_weights(a), [random_batch(a, 8, width, seed) for seed, width in enumerate(widths)])


TRAINED = {"bert": _trained("bert"), "distilbert": _trained("distilbert")}
"""The cases that are compared in everything: states, gradients, ten optimizer steps."""


def _evaluated(a: Architecture, embedding_scale: float = 0.2) -> Case:
    return Case(a, perturbed_weights(a, embedding_scale), [random_batch(a, 16, 24, seed=5)])


def _field_cases() -> dict[str, tuple[Case, Case | None]]:
    cases: dict[str, tuple[Case, Case | None]] = {}
    for kind in ("bert", "distilbert"):
        usual = _evaluated(architecture(kind))
        for activation in ("gelu_new", "relu"):
            cases[f"{kind}, activation {activation}"] = _evaluated(architecture(kind, activation=activation)), usual
        cases[f"{kind}, 6 labels"] = _evaluated(architecture(kind, num_labels=6)), None
        # Token 0 is a word here, so that a mask taken from the ids would be wrong.
        padded_with_1 = _evaluated(architecture(kind, pad_id=1))
        batch = padded_with_1.batches[0]
        batch.input_ids[:, 1] = 0
        no_zeros = replace(batch, attention_mask=(batch.input_ids != 0).astype(np.int32))
        cases[f"{kind}, pad_id 1"] = padded_with_1, replace(padded_with_1, batches=[no_zeros])
    # Embeddings so small that their variance is of epsilon's size.
    small = {eps: _evaluated(architecture("bert", layer_norm_eps=eps), 0.005) for eps in (1e-5, 1e-12)}
    cases["bert, layer_norm_eps 1e-5"] = small[1e-5], small[1e-12]
    cases["bert, layer_norm_eps 1e-12"] = small[1e-12], small[1e-5]
    small = {eps: _evaluated(architecture("distilbert", layer_norm_eps=eps), 0.005) for eps in (1e-5, 1e-12)}
    cases["distilbert, layer_norm_eps 1e-12"] = small[1e-12], small[1e-5]
    one_type = _evaluated(architecture("bert", type_vocab_size=1))
    name = "bert.embeddings.token_type_embeddings.weight"
    without = one_type.weights | {name: np.zeros_like(one_type.weights[name])}
    cases["bert, type_vocab_size 1"] = one_type, replace(one_type, weights=without)
    return cases


FIELDS = _field_cases()
"""For each unusual field of an architecture: the case, and what a backend would compute that ignored the field (None
where it could compute nothing)."""
