"""Networks, weights, batches, recipes and bounds of these tests.

All is plain numpy, and all random numbers are the same in every version of numpy, so that each backend's interpreter
and the reference's make the same cases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from shared.architecture import Architecture, Dropout, Weights
from shared.batching import Batch
from shared.contract import Build, Load
from shared.recipe import Recipe

NO_DROPOUT = Dropout(0.0, 0.0, 0.0, 0.0, 0.0)

STEEP = Recipe(decay=0.1, eps=1e-6, batch_size=8)
# The default recipe at the size of these batches, which a backend that compiles for each shape fills batches up to.
USUAL = Recipe(batch_size=8)
"""Settings that make each mistake visible. Tests set the clip to a tenth of the norm that the reference measures."""
STEEP_RATE = 1e-3
STEPS = 10

MISTAKES: dict[str, dict[str, Any]] = {
    "decay on biases and LayerNorms": {"decay_exempt": ()},
    "eps before bias correction": {"eps_place": "before"},
    "no bias correction": {"bias_correction": False},
    "decay added to the gradient": {"optimizer": "adam"},
    "no clipping": {"clip": None},
}
"""Mistakes in the optimizer, each as a change of the recipe."""

LOGITS = 1e-5
"""Bound on the error of a logit, and of a hidden state."""
LOSS_AFTER_ONE = 5e-6
"""Bound on the error of a loss, before and after one step."""
WEIGHTS_AFTER_ONE = 1e-5
"""Bound on the error of a weight after one step."""


@dataclass(frozen=True)
class Case:
    """A network, its weights and its batches: `batches[:-1]` to train on, the last one to evaluate."""

    architecture: Architecture
    weights: Weights
    batches: list[Batch]


def architecture(model_type: Literal["bert", "distilbert"], **fields: Any) -> Architecture:
    """Makes a small network without dropout; `fields` change it."""
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
    """Draws every entry, biases and LayerNorms too, large enough for every nonlinearity to matter."""
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
    """Whether the parameter belongs to a LayerNorm."""
    return "LayerNorm" in name or "layer_norm" in name


def random_batch(architecture: Architecture, rows: int, width: int, seed: int) -> Batch:
    """Draws rows of mixed lengths, the first as long as the batch is wide, in two segments if the network has two."""
    random = np.random.RandomState(seed)
    lengths = random.randint(3, width + 1, rows)
    lengths[0] = width
    positions = np.arange(width)
    mask = (positions < lengths[:, None]).astype(np.int32)
    # Never the pad id: transformers trains no embedding for it, not even for one within a text.
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
"""Cases that are compared in everything: states, gradients, ten optimizer steps."""


def trained_with_dropout(load: Load, seed: int, threads: int) -> Weights:
    """Weights after three steps with every dropout on, on batches of changing width."""
    case = TRAINED["bert"]
    architecture = replace(case.architecture, dropout=Dropout())
    model = load(Build(architecture, case.weights, replace(USUAL, seed=seed), "cpu", threads))
    for batch in case.batches[:3]:
        model.train_step(batch, 1e-3)
    return model.weights()


def _evaluated(a: Architecture, embedding_scale: float = 0.2) -> Case:
    return Case(a, perturbed_weights(a, embedding_scale), [random_batch(a, 16, 24, seed=5)])


def _field_cases() -> dict[str, tuple[Case, Case | None]]:
    cases: dict[str, tuple[Case, Case | None]] = {}
    for kind in ("bert", "distilbert"):
        usual = _evaluated(architecture(kind))
        for activation in ("gelu_new", "relu"):
            cases[f"{kind}, activation {activation}"] = _evaluated(architecture(kind, activation=activation)), usual
        cases[f"{kind}, 6 labels"] = _evaluated(architecture(kind, num_labels=6)), None
        # Token 0 is a word here, so a mask taken from the ids would be wrong.
        padded_with_1 = _evaluated(architecture(kind, pad_id=1))
        batch = padded_with_1.batches[0]
        batch.input_ids[:, 1] = 0
        no_zeros = replace(batch, attention_mask=(batch.input_ids != 0).astype(np.int32))
        cases[f"{kind}, pad_id 1"] = padded_with_1, replace(padded_with_1, batches=[no_zeros])
    # Embeddings are so small that their variance is about as large as epsilon.
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
"""Cases of unusual fields of an architecture. Each has the case that a backend would compute if it ignored the field;
None if it could compute nothing."""
