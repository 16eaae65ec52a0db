"""Reads and writes the folder of a fine-tuned model."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.architecture import Architecture, Weights
from shared.checkpoint.config import Config
from shared.checkpoint.tokenizer import tokenizer_files
from shared.checkpoint.weights import WEIGHTS, stored_shapes
from shared.errors import InputError
from shared.files import read_json, restore, whole_folder, write_json
from shared.limits import LABELS, POSITIONS

MULTI_LABEL = "multi_label_classification"
"""The problem_type of a classifier that gives each label by itself."""


@dataclass(frozen=True)
class Saved:
    """The use of a fine-tuned model, as its folder gives it."""

    task_name: str | None
    """None if another program saved the folder."""
    labels: tuple[str, ...]
    """Names of the labels, by index."""
    max_len: int
    """Largest number of tokens in a row."""
    each_by_itself: bool = False
    """Whether each label has a probability of its own, the sigmoid of its logit: of one label, or of several that a
    text may have together. Else they share one, by softmax."""


def is_saved(folder: Path) -> bool:
    """Whether the folder holds a fine-tuned model with all its files. Ends a replacement of it that was interrupted."""
    restore(folder)
    try:
        return bool(read_saved(folder) and tokenizer_files(folder)) and "classifier.weight" in stored_shapes(folder)
    except (InputError, OSError):
        return False


def read_saved(folder: Path) -> Saved:
    """Reads task, labels and length of a fine-tuned folder. If the folder names no length, the length is 512, or the
    number of positions if that is less. Raises InputError if config.json is missing, is broken or does not belong to a
    classifier."""
    path = folder / "config.json"
    config = read_json(path)
    heads = ("BertForSequenceClassification", "DistilBertForSequenceClassification")
    named = config.get("architectures")
    found = named if isinstance(named, list) and named else ["none"]
    if not any(head in heads for head in found):
        raise InputError(
            f"{path} is not of a fine-tuned classifier (architectures: {', '.join(map(str, found))}); pass a folder "
            f"that benchmarks.run --save wrote, or another of {' or '.join(heads)}"
        )
    problem = config.get("problem_type")
    if problem not in (None, "single_label_classification", MULTI_LABEL):
        raise InputError(f"{path}: problem_type is {problem!r}; pass a classifier's folder")
    labels = label_names(path, config)
    if problem == "single_label_classification" and len(labels) == 1:
        raise InputError(f"{path}: problem_type is {problem!r} with one label; correct one of the two")
    tokenizer_config = folder / "tokenizer_config.json"
    longest = read_json(tokenizer_config).get("model_max_length") if tokenizer_config.is_file() else None
    if not isinstance(longest, int | float) or not 0 < longest < 1e20:  # transformers writes 1e30 for no bound
        longest = 512
    positions = Config(path, config).whole("max_position_embeddings", 512, POSITIONS)
    each_by_itself = problem == MULTI_LABEL or len(labels) == 1
    return Saved(config.get("finetuning_task"), labels, min(int(longest), positions), each_by_itself)


def label_names(path: Path, config: dict[str, Any]) -> tuple[str, ...]:
    """Names of a classifier's labels, by index: those of id2label; without it LABEL_0 and so on, as many as num_labels
    says, or two. Raises InputError naming the config's path."""
    names, number = config.get("id2label"), config.get("num_labels")
    if number is not None and (not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= LABELS):
        raise InputError(f"{path}: num_labels is {number!r}; pass a whole number from 1 to {LABELS:,}")
    if not names:
        return tuple(f"LABEL_{i}" for i in range(number or 2))
    try:
        labels = tuple(str(names[str(i)]) for i in range(len(names)))
    except (KeyError, TypeError):
        raise InputError(f"{path}: id2label does not name labels 0 to {len(names) - 1}; mend it") from None
    if len(set(labels)) < len(labels):
        raise InputError(f"{path}: id2label gives two labels the same name; mend it")
    return labels


def write_folder(
    target: Path,
    weights: Weights,
    architecture: Architecture,
    source: Path,
    task_name: str,
    labels: tuple[str, ...],
    max_len: int,
) -> None:
    """Writes a fine-tuned model as a folder that transformers' `AutoModelForSequenceClassification` and `AutoTokenizer`
    open: `weights` as model.safetensors, config.json and tokenizer files from the checkpoint in `source`.

    The folder is written whole or not at all, and replaces an earlier model, which stays until then. Raises InputError
    if `target` exists and holds something else.
    """
    restore(target)
    empty = target.is_dir() and not any(target.iterdir())
    if os.path.lexists(target) and not empty and not (target / "config.json").is_file():
        raise InputError(f"{target} exists and is no saved model; remove it or save elsewhere")
    # Imported here: most code that reads checkpoints writes none.
    from safetensors.numpy import save_file

    with whole_folder(target, replace=True) as partial:
        save_file(weights, partial / WEIGHTS, metadata={"format": "pt"})
        (partial / WEIGHTS).chmod(0o644)  # safetensors lets only the owner read it
        write_json(
            partial / "config.json", _saved_config(read_json(source / "config.json"), architecture, task_name, labels)
        )
        _write_tokenizer(partial, source, max_len)


def _saved_config(
    config: dict[str, Any], architecture: Architecture, task_name: str, labels: tuple[str, ...]
) -> dict[str, Any]:
    # The weights are float32 now, whatever type the source has, and lie in another folder.
    for field in ("_name_or_path", "torch_dtype", "dtype", "num_labels"):
        config.pop(field, None)
    dropout = architecture.dropout
    if architecture.model_type == "bert":
        config |= {
            "architectures": ["BertForSequenceClassification"],
            "hidden_dropout_prob": dropout.embeddings,
            "attention_probs_dropout_prob": dropout.attention,
            "classifier_dropout": dropout.classifier,
        }
    else:
        config |= {
            "architectures": ["DistilBertForSequenceClassification"],
            "dropout": dropout.embeddings,
            "attention_dropout": dropout.attention,
            "seq_classif_dropout": dropout.classifier,
        }
    return config | {
        "finetuning_task": task_name,
        "problem_type": "single_label_classification",
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }


def _write_tokenizer(target: Path, source: Path, max_len: int) -> None:
    settings: dict[str, Any] = {}
    for file in tokenizer_files(source):
        if file.name == "tokenizer_config.json":
            settings = read_json(file)
        elif file.name == "tokenizer.json":
            write_json(target / file.name, read_json(file) | {"truncation": None, "padding": None})
        else:
            shutil.copyfile(file, target / file.name)
    write_json(target / "tokenizer_config.json", settings | {"model_max_length": max_len})
