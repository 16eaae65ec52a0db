"""Tokenizers of classes that this project does not have, built once by transformers and kept as tokenizer.json."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from shared.cache import cache_dir
from shared.checkpoint.tokenizer_settings import CLASSES, class_name
from shared.errors import InputError
from shared.files import hash_files
from shared.kept import is_sealed, kept_folder

Build = Callable[[Path, Path], None]
"""Writes the tokenizer of the first folder as tokenizer.json and tokenizer_config.json into the second. Raises
InputError with the reason if it cannot."""

MADE_OF = ("*token*.json", "vocab.*", "merges.txt", "*.model", "config.json")
"""Patterns of the files that a tokenizer may be made of."""


def build_once(folder: Path, build: Build | None) -> None:
    """Builds the folder's tokenizer, once, if its class is none of CLASSES. Raises InputError naming the class if
    `build` cannot; without `build` nothing is done."""
    name = class_name(folder)
    if build is None or name in CLASSES:
        return
    try:
        kept_folder(_place(folder), partial(build, folder))
    except InputError as error:
        raise _unsupported(folder, name, f" ({error})") from None


def tokenizer_folder(folder: Path) -> Path:
    """The folder itself, or that of the tokenizer built of it. Raises InputError naming a class that is not supported
    and was not built."""
    name = class_name(folder)
    if name in CLASSES:
        return folder
    if not is_sealed(_place(folder)):
        raise _unsupported(folder, name)
    return _place(folder)


def built_for(folder: Path) -> Path | None:
    """The tokenizer that was built of the folder; None if there is none."""
    built = class_name(folder) not in CLASSES and is_sealed(_place(folder))
    return _place(folder) if built else None


def _unsupported(folder: Path, name: str, reason: str = "") -> InputError:
    return InputError(
        f"{folder}: tokenizer_class {name!r} is not supported{reason}; save the tokenizer as tokenizer.json with "
        f"tokenizer_class PreTrainedTokenizerFast, or pass a checkpoint with one of {', '.join(CLASSES)}"
    )


def _place(folder: Path) -> Path:
    files = sorted({file for pattern in MADE_OF for file in folder.glob(pattern) if file.is_file()})
    return cache_dir() / "tokenizers" / f"built-{hash_files(files)[:24]}"
