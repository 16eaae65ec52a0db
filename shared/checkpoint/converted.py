"""Converts a folder whose weights are in another format into one with model.safetensors, once, and keeps it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from shared.cache import cache_dir
from shared.checkpoint.formats import GOOGLE_CONFIG, UNREAD, find_format
from shared.checkpoint.tokenizer import tokenizer_files
from shared.checkpoint.weights import SHARD_INDEX, WEIGHTS, stored_shapes
from shared.errors import InputError
from shared.files import hash_files, read_json, write_json
from shared.kept import kept_folder

REVISION = "2"
"""Rises if a conversion gives another folder for the same files."""

Convert = Callable[[Path, Path], None]
"""Writes the weights of the first folder as model.safetensors into the second. Raises InputError if it cannot."""

CASED_SHARE = 0.01
"""A vocabulary is cased if more of its pieces than this share have a capital letter of ASCII."""


def with_safetensors(folder: Path, convert: Convert | None) -> Path:
    """Returns the folder itself, or its conversion if it has weights of another format only. The conversion is kept in
    the cache by a hash of all files that it is made of."""
    if (folder / WEIGHTS).is_file() or (folder / SHARD_INDEX).is_file():
        return folder
    format = find_format(folder)
    if format is None:
        _refuse_unread(folder)
        return folder
    if convert is None:
        raise InputError(f"{folder} has only {format.found(_names(folder))}; convert it to {WEIGHTS} first")
    config = _config_file(folder)
    kept = [config, *tokenizer_files(folder)]
    target = cache_dir() / "models" / f"converted-{REVISION}-{hash_files([*format.files(folder), *kept])[:24]}"

    def fill(partial: Path) -> None:
        convert(folder.resolve(), partial)
        for file in kept:
            shutil.copyfile(file, partial / file.name)
        if config.name == GOOGLE_CONFIG:
            _complete_googles(partial)

    return kept_folder(target, fill)


def _names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


def _config_file(folder: Path) -> Path:
    for name in ("config.json", GOOGLE_CONFIG):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder} has no config.json and no {GOOGLE_CONFIG}; add the checkpoint's")


def _refuse_unread(folder: Path) -> None:
    """Raises InputError if the folder has weights that this project does not read, or if only its folders have
    models."""
    for pattern, remedy in UNREAD.items():
        if found := [name for name in sorted(_names(folder)) if fnmatch(name, pattern)]:
            raise InputError(f"{folder} has no {WEIGHTS}; its {found[0]} is {remedy}")
    inside = sorted(file.parent for file in folder.glob("*/config.json"))
    if inside and not (folder / "config.json").is_file():
        raise InputError(f"{folder} holds no model itself, but folders of models; pass one, such as {inside[-1]}")


def _complete_googles(folder: Path) -> None:
    """Writes config.json and tokenizer_config.json, which Google's folders lack. A head that run_classifier.py stored
    makes the folder a classifier."""
    config: dict[str, Any] = {"model_type": "bert"} | read_json(folder / GOOGLE_CONFIG)
    (folder / GOOGLE_CONFIG).unlink()
    head = stored_shapes(folder).get("classifier.weight")
    if head and "id2label" not in config:
        config = {"num_labels": head[0]} | config | {"architectures": ["BertForSequenceClassification"]}
    write_json(folder / "config.json", config)
    if not (folder / "tokenizer_config.json").is_file() and (folder / "vocab.txt").is_file():
        write_json(folder / "tokenizer_config.json", {"do_lower_case": not _cased(folder / "vocab.txt")})


def _cased(vocabulary: Path) -> bool:
    """Whether the vocabulary has capital letters. Google's folders say nowhere else if the model is cased."""
    pieces = [piece for piece in vocabulary.read_text(encoding="utf-8").split("\n") if not piece.startswith("[")]
    return sum(any("A" <= letter <= "Z" for letter in piece) for piece in pieces) > CASED_SHARE * len(pieces)
