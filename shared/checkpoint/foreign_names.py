"""Translates names of parameters in other formats to those of transformers' PyTorch classes.

Each translation also says if the matrix is transposed: a kernel of TensorFlow or Flax is `[in, out]`, a weight of
PyTorch `[out, in]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Named(NamedTuple):
    """A parameter by its name in PyTorch."""

    name: str
    transposed: bool


LAST = {
    "kernel": "weight",
    "embedding": "weight",
    "embeddings": "weight",
    "gamma": "weight",
    "scale": "weight",
    "beta": "bias",
    "output_weights": "weight",
    "output_bias": "bias",
}
"""Last parts of names in TensorFlow and Flax, with PyTorch's."""

OPTIMIZER = {"adam_m", "adam_v", "Adam", "Adam_1", "global_step", "beta1_power", "beta2_power"}
"""Parts of names that belong to an optimizer."""

WRAPPED = re.compile(r"((?:\w+\.)*?)(?:(?:distil)?bert\.)?embeddings\.word_embeddings\.weight")
"""The name of the word embeddings, with the names of the classes around the model."""


def from_tf2(name: str) -> Named:
    """Translates a name in tf_model.h5, such as `tf_bert_model/bert/encoder/layer_._0/output/dense/kernel:0`, as
    transformers does."""
    name = re.sub(r":\d+$", "", name).replace("_._", "/")
    # `mlm___cls` stands for `cls`.
    scopes = [part.rpartition("___")[2] for part in name.split("/") if part]
    return _named(scopes[1:] or scopes)


def from_flax(path: Iterable[str]) -> Named:
    """Translates the keys that lead to a parameter in flax_model.msgpack."""
    return _named(list(path))


def from_tf1(name: str) -> Named | None:
    """Translates a name in a checkpoint of google-research/bert, such as `bert/encoder/layer_0/output/dense/kernel`.
    None if it belongs to the optimizer."""
    scopes = name.split("/")
    if OPTIMIZER & set(scopes) or any(scope.startswith("AdamWeightDecayOptimizer") for scope in scopes):
        return None
    if scopes[-1].endswith("_embeddings"):
        scopes.append("weight")
    if scopes[0] in ("output_weights", "output_bias"):  # of run_classifier.py
        scopes.insert(0, "classifier")
    return _named([part for scope in scopes for part in re.sub(r"^layer_(\d+)$", r"layer/\1", scope).split("/")])


def wrapper(names: Iterable[str]) -> str:
    """The prefix that a class around the model gives to every name, such as `module.` of DataParallel; empty if there
    is none."""
    found = (WRAPPED.fullmatch(name) for name in names)
    return next((match[1] for match in found if match), "")


def _named(scopes: list[str]) -> Named:
    last = scopes[-1]
    return Named(".".join([*scopes[:-1], LAST.get(last, last)]), transposed=last == "kernel")
