"""Files: the cache, whole writes, hashes, JSON."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.errors import InputError


def cache_dir() -> Path:
    """$CONCORD_CACHE, else `concord` under $XDG_CACHE_HOME or ~/.cache."""
    if chosen := os.environ.get("CONCORD_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "concord"


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `target` when the block ends well and vanishes when it does not. Another
    process that made `target` meanwhile wins."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield partial
        partial.chmod(0o755)
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_whole(target: Path, content: str) -> None:
    """Writes a text file so that no reader, and no interruption, sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_text(content, encoding="utf-8")
    partial.replace(target)


def hash_files(files: Iterable[Path]) -> str:
    """sha256, hex, over the names and contents of files."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing; pass a folder in HuggingFace's layout") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); restore the checkpoint's file") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no JSON object; restore the checkpoint's file")
    return values


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
