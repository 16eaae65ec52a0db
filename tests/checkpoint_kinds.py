"""Folders of classifiers whose files are unusual, as people have them: stored names, fields of config.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import save_file

from shared.architecture import Architecture, Weights
from shared.batching import Batch
from tests.backends.cases import architecture, perturbed_weights, random_batch
from tests.checkpoints import old_names

LOSS_WEIGHTS: Weights = {
    "loss_fct.weight": np.ones(3, np.float32),
    "criterion.pos_weight": np.ones(3, np.float32),
    "bert.crf.transitions": np.ones((3, 3), np.float32),
    "log_vars": np.zeros(2, np.float32),
}
"""Tensors that belong to no part of the network."""


@dataclass(frozen=True)
class Kind:
    """A kind of folder."""

    model_type: Literal["bert", "distilbert"]
    labels: int
    config: dict[str, Any] = field(default_factory=dict)
    """Fields of config.json, beside those of the network."""
    stored: Callable[[Weights], Weights] = dict
    """The tensors that the folder stores, of the network's."""
    opened: Callable[[Weights], Weights] | None = None
    """Those that transformers opens, if it does not open the others."""

    @property
    def architecture(self) -> Architecture:
        """The network, whose activation config.json names otherwise."""
        return architecture(self.model_type, num_labels=self.labels)

    @property
    def batch(self) -> Batch:
        """Rows to ask about."""
        return random_batch(self.architecture, 8, 24, seed=5)

    def write(self, folder: Path, for_transformers: bool = False) -> Path:
        """Writes config.json and the weights into a new folder."""
        folder.mkdir(parents=True)
        a = self.architecture
        tensors = perturbed_weights(a)
        tensors = self.opened(tensors) if for_transformers and self.opened else self.stored(tensors)
        (folder / "config.json").write_text(json.dumps(config_of(a) | self.config))
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder


def config_of(a: Architecture) -> dict[str, Any]:
    """config.json of a classifier without dropout, without names of its labels."""
    common = {"vocab_size": a.vocab_size, "max_position_embeddings": a.max_positions, "pad_token_id": a.pad_id}
    if a.model_type == "distilbert":
        return common | {
            "architectures": ["DistilBertForSequenceClassification"],
            "model_type": "distilbert",
            "dim": a.width,
            "n_layers": a.layers,
            "n_heads": a.heads,
            "hidden_dim": a.feed_forward,
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "seq_classif_dropout": 0.0,
        }
    return common | {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "hidden_size": a.width,
        "num_hidden_layers": a.layers,
        "num_attention_heads": a.heads,
        "intermediate_size": a.feed_forward,
        "type_vocab_size": a.type_vocab_size,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


def wrapped(tensors: Weights) -> Weights:
    """The names that a model within DataParallel has."""
    return {f"module.{name}": array for name, array in tensors.items()}


def without_prefix(tensors: Weights) -> Weights:
    """The names of a bare encoder, beside a head."""
    return {name.removeprefix("bert."): array for name, array in tensors.items()}


KINDS: dict[str, Kind] = {
    "a weighted loss, gelu_python, labels without names": Kind(
        "bert", 3, {"hidden_act": "gelu_python", "num_labels": 3}, lambda tensors: tensors | LOSS_WEIGHTS
    ),
    "module., old names, gelu_fast, one label": Kind(
        "bert", 1, {"hidden_act": "gelu_fast", "id2label": {"0": "LABEL_0"}}, lambda t: wrapped(old_names(t)), dict
    ),
    "sinusoidal positions, gelu_python_tanh, several labels": Kind(
        "distilbert",
        3,
        {
            "sinusoidal_pos_embds": True,
            "activation": "gelu_python_tanh",
            "problem_type": "multi_label_classification",
            "id2label": {"0": "toxic", "1": "rude", "2": "kind"},
        },
    ),
    "no prefix, gelu_accurate, two labels": Kind("bert", 2, {"hidden_act": "gelu_accurate"}, without_prefix),
}
"""Folders that transformers opens. It does not open `module.`, whose tensors it opens under their plain names."""
