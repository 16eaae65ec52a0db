"""Locks of cells: one process at a time has a cell, however many run on one folder."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import InputError


@contextmanager
def cell_lock(out: Path, cell: str) -> Iterator[bool]:
    """Tells whether this process has the cell to itself until the block is left. The operating system holds the lock:
    it is free as soon as its owner has ended, however that is. Raises InputError if the file system has no locks."""
    file = lock_file(out, cell)
    file.parent.mkdir(parents=True, exist_ok=True)
    held = _take(file)
    if held is None:
        yield False
        return
    try:
        yield True
    finally:
        file.unlink(missing_ok=True)  # before it is free, so that nobody has a lock that another cannot see
        os.close(held)


def lock_file(out: Path, cell: str) -> Path:
    """The file that is locked. It says who holds it."""
    return out / "jobs" / f"{cell}.lock"


def holder(out: Path, cell: str) -> str:
    """The process that has the cell, in words."""
    try:
        return lock_file(out, cell).read_text(encoding="utf-8", errors="replace")[:100].strip() or "another process"
    except OSError:  # it has just given the cell back
        return "another process"


def _take(file: Path) -> int | None:
    """Takes the lock. Returns its descriptor, which no other program inherits; None if another process has it."""
    while True:
        opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(opened), os.stat(file)):
                os.truncate(opened, 0)
                os.write(opened, f"process {os.getpid()} on {platform.node()}".encode())
                return opened
        except BlockingIOError:
            os.close(opened)
            return None
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(opened)
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
            raise InputError(f"{file} cannot be locked ({error.strerror}); pass an --out on another disk") from None
        os.close(opened)  # the owner before has removed it
