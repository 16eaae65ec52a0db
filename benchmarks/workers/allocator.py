"""The allocator of a worker's memory: glibc's with SETTINGS, or a library that is loaded before everything else in the
worker's process, the same for every backend."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from shared.errors import InputError

ALLOCATOR = "CONCORD_ALLOCATOR"
"""Environment variable that names the allocator of all workers. `--allocator` sets it, for whatever process starts a
worker in the end."""

JEMALLOC = "jemalloc"

LIBRARY = "libjemalloc.so.2"
"""The file of jemalloc 5 in every distribution; the dynamic loader knows its folder."""

REMEDY = "install it with apt-get install libjemalloc2 (or your system's package), or pass the path of the library"

SETTINGS = {
    # glibc gives the memory of every large array back as it is freed, and the kernel zeroes each page again when the
    # next step takes as much: an embedding's gradient alone is 47 MB in MiniLM. These make one heap that keeps what it
    # has.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_ARENA_MAX": "1",
}
"""Settings of glibc's allocator; libc reads them as the process starts. A variable that the user has set takes the
place of the one here."""

CONF = "MALLOC_CONF"
"""Environment variable of jemalloc's settings."""

OF_JEMALLOC = "narenas:1,oversize_threshold:0,dirty_decay_ms:-1,muzzy_decay_ms:-1"
"""One heap for all threads and sizes, which keeps what it has, as glibc's does with SETTINGS."""


def choose_allocator(name: str | None) -> None:
    """Makes this the allocator of all workers that this process starts: `jemalloc`, the path of a library, or None to
    leave it as the environment has it. Raises InputError if it cannot be loaded."""
    if name is not None:
        os.environ[ALLOCATOR] = name
    if (whole := chosen_allocator()) is not None:
        os.environ[ALLOCATOR] = whole  # programs that are started may have another folder
    allocator_settings()


def chosen_allocator() -> str | None:
    """The allocator of all workers: `jemalloc`, or the whole path of a library; None for glibc's."""
    name = os.environ.get(ALLOCATOR)
    if not name:
        return None
    return name if name == JEMALLOC else str(Path(name).absolute())


def shown_allocator() -> str | None:
    """Its name, or its library's file."""
    name = chosen_allocator()
    return None if name is None else Path(name).name


def allocator_settings() -> dict[str, str]:
    """Environment variables that give a worker its allocator. Raises InputError if its library cannot be loaded."""
    name = chosen_allocator()
    if name is None:
        return {variable: os.environ.get(variable, default) for variable, default in SETTINGS.items()}
    library = LIBRARY if name == JEMALLOC else name
    if not _loads(library):
        raise InputError(f"--allocator {name}: {library} cannot be loaded into a process; {REMEDY}")
    others = os.environ.get("LD_PRELOAD", "")
    return {
        "LD_PRELOAD": f"{library} {others}".strip(),
        CONF: os.environ.get(CONF, OF_JEMALLOC),
    }


@cache
def _loads(library: str) -> bool:
    """Whether the dynamic loader puts the library into a process. It goes on without one that it cannot load."""
    if not sys.platform.startswith("linux"):
        return False
    show = "print(open('/proc/self/maps').read())"
    shown = subprocess.run(
        [sys.executable, "-I", "-S", "-c", show], env={"LD_PRELOAD": library}, capture_output=True, text=True
    )
    names = {Path(line.split()[-1]).name for line in shown.stdout.splitlines() if "/" in line}
    return bool(names & {Path(library).name, Path(library).resolve().name})
