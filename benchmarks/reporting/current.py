"""Whether a folder's tables are of the records that are there now, so that thousands need not be read to write the same
tables again. The cache remembers the state of the folder's files, nothing of their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from benchmarks.workers.attempts import code_hash
from shared.cache import cache_dir
from shared.files import write_whole
from shared.records import record_files

TABLES = ("table.csv", "table.md", "published.md", "report.html")


def state_of_records(out: Path) -> str:
    """A state of this code and of the records and pictures under `out`, which the tables follow from. It changes if one
    is added, removed or written: the system's own time of a file's change cannot be set back, as its date can."""
    return f"{code_hash()} {_state([*record_files(out), *sorted(out.glob('pictures/*.png'))])}"


def are_current(out: Path) -> bool:
    """Whether the tables under `out` are of this state, and nothing was written to them since."""
    try:
        return _memory(out).read_text(encoding="utf-8") == _whole(out, state_of_records(out))
    except OSError:
        return False


def remember(out: Path, state: str) -> None:
    """Remembers that the tables under `out` were just written from records of this state, as it was before they were
    read."""
    with suppress(OSError):  # then they are written again
        write_whole(_memory(out), _whole(out, state))


def _whole(out: Path, state: str) -> str:
    return f"{state} {_state(out / name for name in TABLES if (out / name).exists())}"


def _memory(out: Path) -> Path:
    return cache_dir() / "tables" / hashlib.sha256(os.fsencode(out.resolve())).hexdigest()[:16]


def _state(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        about = file.stat()
        digest.update(f"{file.name} {about.st_ino} {about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}\n".encode())
    return digest.hexdigest()
