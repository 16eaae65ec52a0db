"""Folders of the cache. Each is made once, and holds a digest of its files: what was changed since is made again, and
never believed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from shared.errors import InputError, tell
from shared.files import NOT_WRITABLE, hash_file, make_folder, refuse_cache, whole_folder
from shared.parsing import parse_json
from shared.partial import locked, remove

DIGEST = "digest.json"
"""File with the sha256 of every other file of its folder, by the file's path."""


def kept_folder(target: Path, fill: Callable[[Path], None]) -> Path:
    """Returns the folder `target`, with what `fill` writes into an empty one. It is filled if it is not there, and
    again if a file is not as it was written: then standard error names the folder. Other processes that want it wait.
    Raises InputError if what is damaged cannot be removed, and if the cache cannot be written to."""

    def fill_and_seal(partial: Path) -> None:
        fill(partial)
        seal(partial)

    return keep(target, fill_and_seal, is_sealed)


def keep(target: Path, fill: Callable[[Path], None], is_whole: Callable[[Path], bool]) -> Path:
    """As `kept_folder`, if `fill` writes itself what `is_whole` looks at."""
    if is_whole(target):
        return target
    with ExitStack() as stack:
        try:
            make_folder(target.parent)
            stack.enter_context(locked(target))
        except OSError as error:
            refuse_cache(target, error, NOT_WRITABLE)
            raise
        if not is_whole(target):  # no other process has made it
            _remove_damaged(target)
            with whole_folder(target) as partial:
                fill(partial)
    return target


def _remove_damaged(target: Path) -> None:
    if not os.path.lexists(target):
        return
    tell(f"{target} is not as it was written: it is made again")
    remove(target)
    if os.path.lexists(target):
        raise InputError(f"{target} is damaged and cannot be removed; remove it")


def seal(folder: Path) -> None:
    """Writes the digest of the folder's files, which is complete then."""
    digest = {path: hash_file(folder / path) for path in _files(folder)}
    (folder / DIGEST).write_text(json.dumps(digest, indent=1), encoding="utf-8")


def is_sealed(folder: Path) -> bool:
    """Whether the folder's files are those that its digest tells. A process reads them once, and again if one is
    touched."""
    try:
        found = ((path, (folder / path).stat()) for path in (*_files(folder), DIGEST))
        return _fits(folder, tuple((path, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in found))
    except (OSError, ValueError):
        return False


@cache
def _fits(folder: Path, files: tuple[tuple[str, int, int, int, int], ...]) -> bool:
    told = parse_json((folder / DIGEST).read_bytes())
    return bool({path: hash_file(folder / path) for path, *_ in files if path != DIGEST} == told)


def _files(folder: Path) -> list[str]:
    """Paths of the folder's files but for the digest, within it."""
    found = (path for path in folder.rglob("*") if not path.is_dir())
    return sorted(name for path in found if (name := path.relative_to(folder).as_posix()) != DIGEST)
