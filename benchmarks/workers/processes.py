"""Processes that this one starts: they end with it, and what they print is bounded."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from shared.errors import one_line

HEAD = TAIL = 5 * 2**20
"""Bytes that are kept of a process's first output, and of its last."""

RECENT = 2**16
"""Bytes of the latest output in which the last lines are looked for."""

POLL_SECONDS = 0.1
"""Time between two looks at a process."""

TAIL_LINES = 5

AT_ONCE = 2**16
"""Bytes read at once: what a pipe holds."""

SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux' prctl."""

_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def started(
    command: Sequence[Any], end: Callable[[subprocess.Popen], None], **settings: Any
) -> Iterator[subprocess.Popen]:
    """Starts a process. However the block is left, also by an interruption that comes as the process starts, `end` ends
    it. On Linux the kernel kills it when the thread that started it ends, however that is."""
    with ExitStack() as stack:
        with _held_back():
            process = subprocess.Popen(list(map(str, command)), preexec_fn=partial(_end_with, os.getpid()), **settings)
            stack.callback(end, process)
        yield process


@contextmanager
def _held_back() -> Iterator[None]:
    """Holds interruptions back until the block is left."""
    came: list[tuple[int, FrameType | None]] = []
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
    if threading.current_thread() is threading.main_thread():
        for name in INTERRUPTIONS:
            handler = signal.getsignal(name)
            if callable(handler):
                handlers[name] = handler
                signal.signal(name, lambda *seen: came.append(seen))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number, frame in came[:1]:
            handlers[number](number, frame)


def _end_with(parent: int) -> None:
    if _prctl is not None:
        _prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


@contextmanager
def running(command: Sequence[Any], variables: dict[str, str], cwd: Path | None = None) -> Iterator[subprocess.Popen]:
    """Starts a process in a session of its own. Its standard input is a pipe that closes with this process, and its
    output is a pipe for `Output`. However the block is left, the process and its group have ended."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with started(command, _end_group, cwd=cwd, env=variables, start_new_session=True, **pipes) as process:
        yield process


def _end_group(process: subprocess.Popen) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nothing of the group is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


def end_with_children(process: subprocess.Popen) -> None:
    """Ends a process that shares this one's terminal, and all that it started."""
    with suppress(psutil.NoSuchProcess):
        for one in (*psutil.Process(process.pid).children(recursive=True), process):
            with suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()


def memory_of(number: int) -> int:
    """Bytes of memory that a process and all that it started have now; 0 if it has ended. What they share counts for
    each of them."""
    size = 0
    with suppress(psutil.Error):
        process = psutil.Process(number)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                size += one.memory_info().rss
    return size


class Output:
    """The output of a process, of any length: its first and last bytes are kept in a file, if one is given, and its
    last lines in memory."""

    def __init__(self, file: Path | None = None) -> None:
        self.opened = file.open("wb", buffering=0) if file else None
        self.size = 0
        """Bytes so far."""
        self.rest = bytearray()
        """Bytes after the head, at least the last TAIL of them."""
        self.recent = bytearray()

    def take(self, process: subprocess.Popen, seconds: float) -> None:
        """Takes what the process prints in so many seconds, or until it ends. With 0, takes what is there."""
        end = time.monotonic() + seconds
        left = seconds
        while _readable(process.stdout, left):
            chunk = os.read(process.stdout.fileno(), AT_ONCE)  # type: ignore[union-attr]
            left = max(0.0, end - time.monotonic())
            if not chunk:  # closed
                with suppress(subprocess.TimeoutExpired):
                    process.wait(left)
                return
            self.add(chunk)
            if not left:
                return

    def add(self, chunk: bytes) -> None:
        """Takes some more of it."""
        room = max(0, HEAD - self.size)
        self.size += len(chunk)
        self._write(chunk[:room])
        self.rest += chunk[room:]
        if len(self.rest) > 2 * TAIL:
            del self.rest[:-TAIL]
        self.recent += chunk
        del self.recent[:-RECENT]

    def close(self) -> None:
        """Writes the last bytes."""
        last = self.rest[-TAIL:]
        left_out = self.size - HEAD - len(last)
        if left_out > 0:
            self._write(f"\n... {left_out} bytes left out ...\n".encode())
        self._write(last)
        if self.opened:
            self.opened.close()

    def lines(self) -> list[str]:
        """The last lines that are not blank."""
        found = self.recent.decode(errors="replace").replace("\r", "\n").split("\n")
        return [line for line in found if line.strip()]

    @property
    def tail(self) -> tuple[str, ...]:
        """The last few of them, as they may be shown."""
        return tuple(map(one_line, self.lines()[-TAIL_LINES:]))

    def _write(self, content: bytes | bytearray) -> None:
        """Writes into the file, as long as the disk has room."""
        if self.opened and content:
            with suppress(OSError):
                self.opened.write(content)


def _readable(stream: Any, seconds: float) -> bool:
    """Whether the stream has bytes, or is closed, within so many seconds."""
    waiting = select.poll()
    waiting.register(stream, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def run_to_end(
    command: Sequence[Any], variables: dict[str, str], cwd: Path | None = None, timeout: float | None = None
) -> tuple[int, Output]:
    """Runs a command. Returns its exit code and its output. Raises TimeoutError if it takes longer than `timeout`."""
    with running(command, variables, cwd) as process:
        return wait_for(process, timeout)


def wait_for(process: subprocess.Popen, timeout: float | None = None) -> tuple[int, Output]:
    """Waits until the process ends. Returns its exit code and its output. Raises TimeoutError."""
    output, start = Output(), time.monotonic()
    while process.poll() is None:
        output.take(process, POLL_SECONDS)
        if timeout is not None and time.monotonic() - start > timeout:
            raise TimeoutError(f"it takes longer than {timeout:g} s")
    output.take(process, 0)
    return process.returncode, output
