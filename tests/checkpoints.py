"""Small checkpoints in HuggingFace's layout, for tests to write and read.

Names of tensors are those of published checkpoints, spelled out. The safetensors library writes and reads the files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from shared.architecture import Architecture, Dropout, Weights
from shared.recipe import Recipe

TOY = Architecture(
    model_type="bert",
    vocab_size=10,
    width=2,
    layers=1,
    heads=1,
    feed_forward=3,
    max_positions=8,
    type_vocab_size=2,
    activation="gelu",
    layer_norm_eps=1e-12,
    dropout=Dropout(),
    num_labels=3,
)
"""A network so small that its operations can be counted by hand."""

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##a", "##b", "A"]
RECIPE = Recipe(max_len=8)

BERT: dict[str, Any] = {
    "architectures": ["BertForMaskedLM"],
    "attention_probs_dropout_prob": 0.15,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.25,
    "hidden_size": 6,
    "initializer_range": 0.02,
    "intermediate_size": 8,
    "layer_norm_eps": 1e-11,
    "max_position_embeddings": 9,
    "model_type": "bert",
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "torch_dtype": "float16",
    "type_vocab_size": 2,
    "vocab_size": len(PIECES),
}
DISTILBERT: dict[str, Any] = {
    "activation": "gelu",
    "architectures": ["DistilBertForMaskedLM"],
    "attention_dropout": 0.15,
    "dim": 6,
    "dropout": 0.25,
    "hidden_dim": 8,
    "initializer_range": 0.02,
    "max_position_embeddings": 9,
    "model_type": "distilbert",
    "n_heads": 2,
    "n_layers": 1,
    "pad_token_id": 0,
    "qa_dropout": 0.1,
    "seq_classif_dropout": 0.35,
    "sinusoidal_pos_embds": False,
    "tie_weights_": True,
    "vocab_size": len(PIECES),
}

BERT_SHAPES: dict[str, tuple[int, ...]] = {
    "embeddings.word_embeddings.weight": (10, 6),
    "embeddings.position_embeddings.weight": (9, 6),
    "embeddings.token_type_embeddings.weight": (2, 6),
    "embeddings.LayerNorm.weight": (6,),
    "embeddings.LayerNorm.bias": (6,),
    "encoder.layer.0.attention.self.query.weight": (6, 6),
    "encoder.layer.0.attention.self.query.bias": (6,),
    "encoder.layer.0.attention.self.key.weight": (6, 6),
    "encoder.layer.0.attention.self.key.bias": (6,),
    "encoder.layer.0.attention.self.value.weight": (6, 6),
    "encoder.layer.0.attention.self.value.bias": (6,),
    "encoder.layer.0.attention.output.dense.weight": (6, 6),
    "encoder.layer.0.attention.output.dense.bias": (6,),
    "encoder.layer.0.attention.output.LayerNorm.weight": (6,),
    "encoder.layer.0.attention.output.LayerNorm.bias": (6,),
    "encoder.layer.0.intermediate.dense.weight": (8, 6),
    "encoder.layer.0.intermediate.dense.bias": (8,),
    "encoder.layer.0.output.dense.weight": (6, 8),
    "encoder.layer.0.output.dense.bias": (6,),
    "encoder.layer.0.output.LayerNorm.weight": (6,),
    "encoder.layer.0.output.LayerNorm.bias": (6,),
    "pooler.dense.weight": (6, 6),
    "pooler.dense.bias": (6,),
}
DISTILBERT_SHAPES: dict[str, tuple[int, ...]] = {
    "embeddings.word_embeddings.weight": (10, 6),
    "embeddings.position_embeddings.weight": (9, 6),
    "embeddings.LayerNorm.weight": (6,),
    "embeddings.LayerNorm.bias": (6,),
    "transformer.layer.0.attention.q_lin.weight": (6, 6),
    "transformer.layer.0.attention.q_lin.bias": (6,),
    "transformer.layer.0.attention.k_lin.weight": (6, 6),
    "transformer.layer.0.attention.k_lin.bias": (6,),
    "transformer.layer.0.attention.v_lin.weight": (6, 6),
    "transformer.layer.0.attention.v_lin.bias": (6,),
    "transformer.layer.0.attention.out_lin.weight": (6, 6),
    "transformer.layer.0.attention.out_lin.bias": (6,),
    "transformer.layer.0.sa_layer_norm.weight": (6,),
    "transformer.layer.0.sa_layer_norm.bias": (6,),
    "transformer.layer.0.ffn.lin1.weight": (8, 6),
    "transformer.layer.0.ffn.lin1.bias": (8,),
    "transformer.layer.0.ffn.lin2.weight": (6, 8),
    "transformer.layer.0.ffn.lin2.bias": (6,),
    "transformer.layer.0.output_layer_norm.weight": (6,),
    "transformer.layer.0.output_layer_norm.bias": (6,),
}
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {"bert": BERT_SHAPES, "distilbert": DISTILBERT_SHAPES}


def encoder(model_type: str, prefix: str = "") -> Weights:
    """Random weights of an encoder of one layer, by the names of published files."""
    random = np.random.RandomState(0)
    return {prefix + name: random.normal(size=s).astype(np.float32) for name, s in SHAPES[model_type].items()}


def write_classifier(folder: Path) -> Path:
    """Writes a fine-tuned BERT of two labels, as far as its headers tell."""
    head = {"classifier.weight": np.zeros((2, 6), np.float32), "classifier.bias": np.zeros(2, np.float32)}
    config = BERT | {"architectures": ["BertForSequenceClassification"]}
    return write_checkpoint(folder, config, encoder("bert", "bert.") | head)


def write_checkpoint(folder: Path, config: dict[str, Any], tensors: Weights | None = None) -> Path:
    """Writes config, vocabulary and weights (those of `encoder` unless others are given) into a new folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(PIECES))
    tensors = encoder(config.get("model_type", "bert")) if tensors is None else tensors
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def shard(folder: Path) -> Path:
    """Splits the folder's weights into two files with an index, as transformers does with large ones."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map: dict[str, str] = {}
    for number in (1, 2):
        file = f"model-0000{number}-of-00002.safetensors"
        part = {name: array for i, (name, array) in enumerate(sorted(tensors.items())) if i % 2 == number - 1}
        save_file(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def old_names(tensors: Weights) -> Weights:
    """The names that checkpoints from TensorFlow have for LayerNorm's parameters."""
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in tensors.items()
    }


POSITION_IDS: Any = np.arange(9, dtype=np.int64)[None]
PRETRAINING_HEADS = {
    "bert": {
        "cls.predictions.bias": np.ones(10, np.float32),
        "cls.predictions.transform.LayerNorm.gamma": np.ones(6, np.float32),
        "cls.predictions.transform.LayerNorm.beta": np.ones(6, np.float32),
        "cls.predictions.transform.dense.weight": np.ones((6, 6), np.float32),
        "cls.seq_relationship.weight": np.ones((2, 6), np.float32),
        "cls.seq_relationship.bias": np.ones(2, np.float32),
    },
    "distilbert": {
        "vocab_transform.weight": np.ones((6, 6), np.float32),
        "vocab_layer_norm.weight": np.ones(6, np.float32),
        "vocab_layer_norm.bias": np.ones(6, np.float32),
        "vocab_projector.bias": np.ones(10, np.float32),
    },
}
PUBLISHED: dict[str, tuple[dict[str, Any], Weights]] = {
    "google-bert/bert-base-uncased": (BERT, old_names(encoder("bert", "bert.")) | PRETRAINING_HEADS["bert"]),
    "sentence-transformers/all-MiniLM-L6-v2": (BERT, encoder("bert") | {"embeddings.position_ids": POSITION_IDS}),
    "distilbert/distilbert-base-uncased": (
        DISTILBERT,
        encoder("distilbert", "distilbert.") | PRETRAINING_HEADS["distilbert"],
    ),
}
"""Config and tensors of small copies of published checkpoints, by hub id: their names, prefixes and heads."""


def assert_encoder(weights: Weights, model_type: str) -> None:
    """Fails unless the weights of the encoder are those of `encoder`."""
    for name, array in encoder(model_type, f"{model_type}.").items():
        np.testing.assert_array_equal(weights[name], array)


FIXTURES = Path(__file__).parent / "fixtures" / "checkpoints"
"""Small classifiers in every format, `FIXTURES / kind / format`; tests/fixtures/make.py has written them."""


def tensors_of(folder: Path) -> Weights:
    """All tensors of a folder's model.safetensors."""
    tensors: Weights = load_file(folder / "model.safetensors")
    return tensors


def assert_same_tensors(found: Weights, kind: str, lacks: str = " ") -> None:
    """Fails unless these are the tensors of the fixture of this kind, bit for bit, less those whose names begin with
    `lacks`, and beside them only tensors that are ignored."""
    wanted = tensors_of(FIXTURES / kind / "safetensors")
    assert {name for name in found if not name.startswith("cls.")} == {n for n in wanted if not n.startswith(lacks)}
    for name in wanted.keys() & found.keys():
        np.testing.assert_array_equal(found[name], wanted[name], name)
        assert found[name].dtype == wanted[name].dtype
