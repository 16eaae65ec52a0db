"""Processes that tests start, watch, and make fail."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.workers.environments import find_python

PATIENCE = 120
"""Longest wait of a test in seconds: far more than a busy machine needs."""


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Waits until the condition holds. Raises AssertionError with `what` if it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


def ended(process: psutil.Process) -> bool:
    """Whether the process has ended. It may still wait for its parent to ask how."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def workers_of(folder: Path) -> list[psutil.Process]:
    """Finds every worker that runs a job in this folder or in one below it."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "backends.worker" in command and Path(command[-1]).is_relative_to(folder) and not ended(process):
            found.append(process)
    return found


def obey_signals() -> None:
    """Makes this process, and those that it starts, obey Ctrl-C and a closed terminal. A process in the background of a
    shell ignores the one, a process under `nohup` the other, and both pass that on."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def broken_python(path: Path, backend: str, module: str, says: str, runs: int = 0) -> Path:
    """Writes an interpreter that runs all that the backend's own does, but this module or script only so many times:
    then it prints a line and exits with 3."""
    path.write_text(
        f'''#!/bin/sh
case "$*" in *{module}*)
    echo >> "{path}.runs"
    if [ $(wc -l < "{path}.runs") -gt {runs} ]; then echo "{says}"; exit 3; fi;;
esac
exec "{find_python(backend, {})}" "$@"
'''
    )
    path.chmod(0o755)
    return path
