"""Names and locks of files that are being written, and removal of what processes that ended left half-written."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path

PARTIAL = ".partial"
"""End of the name of what is being written. The process that writes it holds its lock."""

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""Numbers of the errors that a file system without locks gives."""


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
        if is_at(held, partial):  # another process may have removed it before it was locked
            return partial, held
        os.close(held)


def is_at(held: int, path: Path) -> bool:
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
        yield is_at(held, path)
    finally:
        os.close(held)


@lru_cache(maxsize=64)
def remove_left_over(folder: Path) -> None:
    """Removes what processes that ended left half-written in the folder, once in a process as long as it writes into
    few folders. What a living process writes stays."""
    for path in folder.glob(f".*{PARTIAL}"):
        with unheld(path) as ended:
            if ended:
                remove(path)


def whole_files(folder: Path) -> Iterator[Path]:
    """The files under a folder, without those that are being written or were left half-written. The folder may change
    meanwhile."""
    for place, folders, names in os.walk(folder):
        folders[:] = (name for name in folders if not name.endswith(PARTIAL))
        paths = (Path(place, name) for name in names if not name.endswith(PARTIAL))
        yield from (path for path in paths if path.is_file())


def remove(path: Path) -> None:
    """Removes a file or a folder, as far as the disk allows."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of this path, which one process has at a time; waits for it. A process that ends loses it. On a
    file system without locks nobody waits: all work, and the first result stays."""
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path.with_name(f".{path.name}.lock{PARTIAL}"), wait=True))
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield


@contextmanager
def file_lock(file: Path, wait: bool) -> Iterator[int | None]:
    """Holds the lock of a file, which is made for it and removed after the block, and gives its descriptor. If another
    process has the lock, it is waited for, or with `wait` false the descriptor is None. The operating system holds the
    lock: it is free as soon as its owner has ended, however that is. Raises OSError; its number is in NO_LOCKS if the
    file system has no locks."""
    held = _take(file, wait)
    if held is None:
        yield None
        return
    try:
        yield held
    finally:
        file.unlink(missing_ok=True)  # before it is free, so that nobody has a lock that another cannot see
        os.close(held)


def _take(file: Path, wait: bool) -> int | None:
    """Takes the lock. Returns its descriptor, which no other program inherits."""
    while True:
        held = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(held)
            return None
        except OSError:
            file.unlink(missing_ok=True)
            os.close(held)
            raise
        if is_at(held, file):
            return held
        os.close(held)  # the owner before has removed it
