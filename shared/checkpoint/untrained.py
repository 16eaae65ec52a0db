"""Makes checkpoints of random weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from shared.architecture import Architecture, Weights
from shared.cache import cache_dir
from shared.checkpoint.config import read_architecture
from shared.checkpoint.vocabulary import word_pieces
from shared.checkpoint.weights import WEIGHTS
from shared.errors import InputError
from shared.kept import kept_folder
from shared.recipe import Recipe


def _bert(layers: int, width: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    }


RANDOM: dict[str, dict[str, Any]] = {
    "bert-tiny": _bert(layers=2, width=128, heads=2),
    "minilm": _bert(layers=6, width=384, heads=12),
    "distilbert": {
        "model_type": "distilbert",
        "n_layers": 6,
        "dim": 768,
        "n_heads": 12,
        "hidden_dim": 3072,
        "activation": "gelu",
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "seq_classif_dropout": 0.2,
    },
    "bert-base": _bert(layers=12, width=768, heads=12),
    "bert-large": _bert(layers=24, width=1024, heads=16),
}
"""Fields of config.json for each size that `random:NAME` offers, without the common ones."""

COMMON = {"vocab_size": 30522, "max_position_embeddings": 512, "initializer_range": 0.02, "pad_token_id": 0}
"""Fields of config.json that all sizes share. The number of embedding rows is the published one, so that timing is
realistic; this project's vocabulary is smaller."""


def random_checkpoint(size: str) -> Path:
    """Returns the folder of a checkpoint with random weights, in the cache; makes it on first use. Raises InputError if
    `size` is not in RANDOM."""
    if size not in RANDOM:
        raise InputError(f"unknown model 'random:{size}'; pass random:NAME with NAME one of {', '.join(RANDOM)}")
    pieces = word_pieces()
    config = COMMON | RANDOM[size]
    made_of = hashlib.sha256(json.dumps([config, pieces]).encode()).hexdigest()
    target = cache_dir() / "models" / f"random-{size}-{made_of[:12]}"

    def fill(partial: Path) -> None:
        # Imported here: a checkpoint is made once.
        from safetensors.numpy import save_file

        (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        (partial / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
        (partial / "tokenizer_config.json").write_text(
            json.dumps({"do_lower_case": True, "model_max_length": 512}, indent=2) + "\n"
        )
        architecture = read_architecture(partial, Recipe(), num_labels=2)
        save_file(_random_weights(architecture), partial / WEIGHTS, metadata={"format": "pt"})

    return kept_folder(target, fill)


def _random_weights(architecture: Architecture) -> Weights:
    """Draws an encoder as transformers initialises it: normal(0, initializer_range); 0 for biases and for the pad
    token's embedding; 1 for the weights of LayerNorms."""
    random = np.random.RandomState(0)
    weights: Weights = {}
    for name, shape in architecture.shapes().items():
        if not name.startswith(f"{architecture.model_type}."):
            continue
        if len(shape) == 2:
            weights[name] = random.normal(0.0, architecture.initializer_range, shape).astype(np.float32)
        else:
            weights[name] = np.full(shape, 0.0 if name.endswith(".bias") else 1.0, np.float32)
        if name.endswith("word_embeddings.weight"):
            weights[name][architecture.pad_id] = 0.0
    return weights
