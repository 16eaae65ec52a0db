"""Locks of cells: one process at a time has a cell, however many run on one folder."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from shared.errors import InputError
from shared.partial import NO_LOCKS, file_lock, remove, unheld


@contextmanager
def cell_lock(out: Path, cell: str) -> Iterator[bool]:
    """Tells whether this process has the cell to itself until the block is left. Raises InputError if the file system
    has no locks."""
    file = lock_file(out, cell)
    file.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            held = stack.enter_context(file_lock(file, wait=False))
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            raise InputError(f"{file} cannot be locked ({error.strerror}); pass an --out on another disk") from None
        if held is not None:
            os.truncate(held, 0)
            os.write(held, f"process {os.getpid()} on {platform.node()}".encode())
        yield held is not None


def lock_file(out: Path, cell: str) -> Path:
    """The file that is locked. It says who holds it."""
    return out / "jobs" / f"{cell}.lock"


def remove_ended(out: Path) -> None:
    """Removes the files of locks whose owners were killed before they could."""
    for file in (out / "jobs").glob("*.lock"):
        with unheld(file) as ended:
            if ended:
                remove(file)


def holder(out: Path, cell: str) -> str:
    """The process that has the cell, in words."""
    try:
        return lock_file(out, cell).read_text(encoding="utf-8", errors="replace")[:100].strip() or "another process"
    except OSError:  # it has just given the cell back
        return "another process"
