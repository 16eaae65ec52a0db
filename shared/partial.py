"""Names and locks of files that are being written, and removal of what processes that ended left half-written."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

PARTIAL = ".partial"
"""End of the name of what is being written. The process that writes it holds its lock."""


def begin(target: Path, make: Callable[[Path], int | None]) -> tuple[Path, int]:
    """Makes a file or folder beside the target, and takes its lock. Returns its path, and the descriptor that holds the
    lock. `make` gives None if another process has removed it at once."""
    while True:
        partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}{PARTIAL}")
        held = make(partial)
        if held is None:
            continue
        with suppress(OSError):  # a file system without locks: nobody can take what is left over for ended
            fcntl.flock(held, fcntl.LOCK_EX)
        if _is_at(held, partial):  # another process may have removed it before it was locked
            return partial, held
        os.close(held)


def _is_at(held: int, path: Path) -> bool:
    """Whether the descriptor is of what has this path now."""
    try:
        return os.path.samestat(os.fstat(held), os.lstat(path))
    except FileNotFoundError:
        return False


@contextmanager
def unheld(path: Path) -> Iterator[bool]:
    """Takes the lock of a file or folder if no living process holds it, and tells whether that succeeded."""
    try:
        held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield _is_at(held, path)
    finally:
        os.close(held)


@cache
def remove_left_over(folder: Path) -> None:
    """Removes what processes that ended left half-written in the folder, once in a process. What a living process
    writes stays."""
    for path in folder.glob(f".*{PARTIAL}"):
        with unheld(path) as ended:
            if ended:
                remove(path)


def remove(path: Path) -> None:
    """Removes a file or a folder, as far as the disk allows."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of this path, which one process has at a time; waits for it. A process that ends loses it."""
    file = path.with_name(f".{path.name}.lock{PARTIAL}")
    while True:
        held = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        with suppress(OSError):  # a file system without locks: both work, and the first result stays
            fcntl.flock(held, fcntl.LOCK_EX)
        if _is_at(held, file):
            break
        os.close(held)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(held)
