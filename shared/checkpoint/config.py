"""Reads config.json as an Architecture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

from shared.architecture import Architecture, Dropout
from shared.errors import InputError
from shared.files import read_json
from shared.limits import LAYERS, PARAMETERS, POSITIONS, VOCABULARY, WIDTH
from shared.recipe import Recipe

ACTIVATIONS: dict[str, Literal["gelu", "gelu_new", "relu"]] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_python_tanh": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_accurate": "gelu_new",
    "relu": "relu",
}
"""This project's name of each of transformers' activations. Those of one name are the same formula, computed in other
ways."""

ONLY_SUPPORTED: dict[str, Any] = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "chunk_size_feed_forward": 0,
    "pruned_heads": {},
    "quantization_config": None,
}
"""Fields of config.json that change the network, each with the one value that every backend supports. A field that is
missing or null is accepted too."""


@dataclass(frozen=True)
class Config:
    """config.json with checked access. Defaults are those of transformers. Every method raises InputError naming the
    field, if its value is not supported."""

    path: Path
    values: dict[str, Any]

    def refuse(self, field: str, wanted: str) -> InputError:
        """The error that names a field, its value and the values that are supported."""
        return InputError(f"{self.path}: {field} is {self.values.get(field)!r}; this project supports {wanted}")

    def whole(self, field: str, default: int, most: int, least: int = 1) -> int:
        """Reads a whole number from `least` to `most`."""
        value = self.values.get(field, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.refuse(field, f"whole numbers from {least} to {most:,}")
        return value

    def number(self, field: str, default: float) -> float:
        """Reads a finite number above 0."""
        value = self.values.get(field, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
            raise self.refuse(field, "numbers above 0")
        return float(value)

    def rate(self, field: str, default: float) -> float:
        """Reads a number from 0 to below 1."""
        value = self.values.get(field, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
            raise self.refuse(field, "rates from 0 to below 1")
        return float(value)

    def activation(self, field: str) -> Literal["gelu", "gelu_new", "relu"]:
        """Reads the name of an activation; `gelu` if the field is missing."""
        value = self.values.get(field, "gelu")
        if not isinstance(value, str) or value not in ACTIVATIONS:
            raise self.refuse(field, ", ".join(ACTIVATIONS))
        return ACTIVATIONS[value]


OF_RECIPE = ("max_len", "dropout", "head_dropout")
"""Fields of a recipe that `read_architecture` depends on."""


def read_architecture(folder: Path, recipe: Recipe, num_labels: int) -> Architecture:
    """Reads the network's architecture from the folder's config.json, with the recipe's dropout.

    A field that is missing gets transformers' default. `recipe.dropout` replaces every rate (DistilBERT has no dropout
    after attention's output), then `recipe.head_dropout` replaces the classifier's. Raises InputError if config.json is
    missing, is broken or asks for something that is not supported, and if `recipe.max_len` is above the model's number
    of positions.
    """
    config = Config(folder / "config.json", read_json(folder / "config.json"))
    for field, only in ONLY_SUPPORTED.items():
        if config.values.get(field, only) not in (only, None):
            raise config.refuse(field, json.dumps(only))
    model_type = config.values.get("model_type")
    if model_type == "bert":
        architecture = _bert(config, recipe, num_labels)
    elif model_type == "distilbert":
        architecture = _distilbert(config, recipe, num_labels)
    else:
        raise config.refuse("model_type", '"bert" and "distilbert"')
    if architecture.width % architecture.heads:
        raise InputError(f"{config.path}: {architecture.heads} heads do not divide a width of {architecture.width}")
    if architecture.pad_id >= architecture.vocab_size:
        raise config.refuse("pad_token_id", f"ids below vocab_size, {architecture.vocab_size}")
    if (parameters := sum(map(prod, architecture.shapes().values()))) > PARAMETERS:
        raise InputError(f"{config.path} is of a network of {parameters:,} parameters; {PARAMETERS:,} are read at most")
    if recipe.max_len > architecture.max_positions:
        raise InputError(
            f"max_len is {recipe.max_len}, but the model in {folder} has {architecture.max_positions} positions; "
            f"pass {architecture.max_positions} or less"
        )
    return architecture


def _bert(config: Config, recipe: Recipe, num_labels: int) -> Architecture:
    hidden = _either(recipe.dropout, config.rate("hidden_dropout_prob", 0.1))
    head = config.rate("classifier_dropout", 0.1) if config.values.get("classifier_dropout") is not None else hidden
    return Architecture(
        model_type="bert",
        vocab_size=config.whole("vocab_size", 30522, VOCABULARY),
        width=config.whole("hidden_size", 768, WIDTH),
        layers=config.whole("num_hidden_layers", 12, LAYERS),
        heads=config.whole("num_attention_heads", 12, WIDTH),
        feed_forward=config.whole("intermediate_size", 3072, WIDTH),
        max_positions=config.whole("max_position_embeddings", 512, POSITIONS),
        type_vocab_size=config.whole("type_vocab_size", 2, VOCABULARY),
        activation=config.activation("hidden_act"),
        layer_norm_eps=config.number("layer_norm_eps", 1e-12),
        dropout=Dropout(
            embeddings=hidden,
            attention=_either(recipe.dropout, config.rate("attention_probs_dropout_prob", 0.1)),
            attention_output=hidden,
            feed_forward_output=hidden,
            classifier=_either(recipe.head_dropout, _either(recipe.dropout, head)),
        ),
        num_labels=num_labels,
        initializer_range=config.number("initializer_range", 0.02),
        pad_id=_pad_id(config),
    )


def _distilbert(config: Config, recipe: Recipe, num_labels: int) -> Architecture:
    hidden = _either(recipe.dropout, config.rate("dropout", 0.1))
    head = _either(recipe.dropout, config.rate("seq_classif_dropout", 0.2))
    return Architecture(
        model_type="distilbert",
        vocab_size=config.whole("vocab_size", 30522, VOCABULARY),
        width=config.whole("dim", 768, WIDTH),
        layers=config.whole("n_layers", 6, LAYERS),
        heads=config.whole("n_heads", 12, WIDTH),
        feed_forward=config.whole("hidden_dim", 3072, WIDTH),
        max_positions=config.whole("max_position_embeddings", 512, POSITIONS),
        type_vocab_size=0,
        activation=config.activation("activation"),
        layer_norm_eps=1e-12,  # fixed in transformers' code
        dropout=Dropout(
            embeddings=hidden,
            attention=_either(recipe.dropout, config.rate("attention_dropout", 0.1)),
            attention_output=0.0,
            feed_forward_output=hidden,
            classifier=_either(recipe.head_dropout, head),
        ),
        num_labels=num_labels,
        initializer_range=config.number("initializer_range", 0.02),
        pad_id=_pad_id(config),
    )


def _either(chosen: float | None, otherwise: float) -> float:
    return otherwise if chosen is None else chosen


def _pad_id(config: Config) -> int:
    # Padding is masked, so any id will do if the config names none.
    return 0 if config.values.get("pad_token_id", 0) is None else config.whole("pad_token_id", 0, VOCABULARY, least=0)
