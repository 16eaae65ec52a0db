"""Watching processes that tests start."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PATIENCE = 120
"""Seconds after which a test gives up: far more than a busy machine needs."""


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Returns once the condition holds. Raises AssertionError where it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


def ended(process: psutil.Process) -> bool:
    """Whether the process runs no more, be it waited for by its parent or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def workers_of(folder: Path) -> list[psutil.Process]:
    """Every worker that runs on a job in this folder or one below it."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "backends.worker" in command and Path(command[-1]).is_relative_to(folder) and not ended(process):
            found.append(process)
    return found


def obey_interrupts() -> None:
    """For `preexec_fn`: what a shell starts in the background ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
