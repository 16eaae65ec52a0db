"""Folders of the cache. Each is made once, and holds a digest of its files: what was changed since is made again, and
never believed."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from shared.errors import InputError, tell
from shared.files import NOT_WRITABLE, hash_file, make_folder, refuse_cache, whole_folder
from shared.parsing import parse_json
from shared.partial import is_at, locked, remove, unheld

DIGEST = "digest.json"
"""File with the sha256 of every other file of its folder, by the file's path."""


def kept_folder(target: Path, fill: Callable[[Path], None]) -> Path:
    """Returns the folder `target`, with what `fill` writes into an empty one. It is filled if it is not there, and
    again if a file is not as it was written: then standard error names the folder. Other processes that want it wait.
    Raises InputError if what is damaged cannot be removed, and if the cache cannot be written to."""
    return _keep_sealed(target, fill)


def _keep_sealed(target: Path, fill: Callable[[Path], None], again: bool = False) -> Path:
    def fill_and_seal(partial: Path) -> None:
        fill(partial)
        seal(partial)

    return keep(target, fill_and_seal, is_sealed, again)


_HELD: dict[Path, int] = {}
"""Descriptors of the folders that this process holds."""


def held_folder(target: Path, fill: Callable[[Path], None], again: bool = False) -> Path:
    """As `kept_folder`, and holds the folder until this process ends: no other removes it as long. The time of the
    folder is that of its last use. With `again` it is filled though it is there, and the folder of before stays until
    that is done; raises InputError if another process holds it."""
    if again:
        _release(target)
        _keep_sealed(target, fill, again)
    kept_folder(target, fill)
    while target not in _HELD or not is_at(_HELD[target], target):  # not yet, or removed as it was damaged
        _release(target)
        with suppress(FileNotFoundError):  # another process was quicker to remove it
            _HELD[target] = os.open(target, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(_HELD[target], fcntl.LOCK_SH)
        kept_folder(target, fill)
    with suppress(OSError):  # a cache that can only be read
        os.utime(target)
    return target


def _release(target: Path) -> None:
    if target in _HELD:
        os.close(_HELD.pop(target))


def prune(parent: Path, most: int) -> None:
    """Removes the folders that were used longest ago until all in `parent` have at most so many bytes. Those that a
    process holds stay."""
    folders = [folder for folder in parent.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    sizes = {folder: sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) for folder in folders}
    size = sum(sizes.values())
    for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime_ns):
        if size <= most:
            return
        with unheld(folder) as free:
            if free:
                remove(folder)
                size -= sizes[folder]


def keep(target: Path, fill: Callable[[Path], None], is_whole: Callable[[Path], bool], again: bool = False) -> Path:
    """As `kept_folder`, if `fill` writes itself what `is_whole` looks at; `again` as of `held_folder`."""
    if is_whole(target) and not again:
        return target
    with ExitStack() as stack:
        try:
            make_folder(target.parent)
            stack.enter_context(locked(target))
        except OSError as error:
            refuse_cache(target, error, NOT_WRITABLE)
            raise
        if again and target.exists():
            stack.enter_context(_free(target))
            with whole_folder(target) as partial:
                fill(partial)
                remove(target)
        elif not is_whole(target):  # no other process has made it
            _remove_damaged(target)
            with whole_folder(target) as partial:
                fill(partial)
    return target


@contextmanager
def _free(target: Path) -> Iterator[None]:
    """Lets no other process take the folder. Raises InputError if one holds it."""
    with unheld(target) as free:
        if not free:
            raise InputError(f"{target} is in use by another process; run the command again once that has ended")
        yield


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
