"""Reads JSON and TOML that anybody may have written: what is no such text, or is too large or too deeply nested, is an
ordinary ValueError."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

from shared.errors import InputError
from shared.limits import SMALL_FILE, TOML, TOML_LINE


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_toml(text: str) -> dict[str, Any]:
    """The values of a TOML text. Raises ValueError."""
    if (longest := max(map(len, text.split("\n")))) > TOML_LINE or len(text) > TOML:
        raise ValueError(f"it has {len(text):,} characters, {longest:,} in a line; {TOML:,} and {TOML_LINE:,} are read")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def small_text(file: Path) -> str:
    """The text of a small file in UTF-8, with or without its mark. Raises InputError if it is larger than SMALL_FILE or
    is no plain file, ValueError if it is not UTF-8, and OSError."""
    about = file.stat()
    if not stat.S_ISREG(about.st_mode):
        raise InputError(f"{file} is no file; pass one")
    if about.st_size > SMALL_FILE:
        raise InputError(f"{file} has {about.st_size:,} bytes, and {SMALL_FILE:,} are read at most; pass another")
    return file.read_text(encoding="utf-8-sig")
