"""The connection of a command to a running Ray cluster."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import signal
import socket
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from benchmarks.cluster.node import COMMAND
from benchmarks.workers.environments import CHECKOUT
from shared.errors import InputError
from shared.files import hash_file

CODE = ("shared", "backends", "benchmarks", "recorder", "requirements")
"""Parts of the checkout that nodes get."""

WAIT_SECONDS = 10
"""Longest wait for the head's answer."""

SETTINGS = {
    # Any patch of the same Python unpickles the same.
    "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",
}
"""Ray's settings for the command's own process, unless the user has set them."""


@contextmanager
def connected(address: str) -> Iterator[ModuleType]:
    """Connects to the cluster at this address for the time of the block, and gives the module `ray`. What the block has
    left running in the cluster ends with it. Raises InputError if nothing answers, or another Ray or Python does."""
    if "://" in address:
        raise InputError(f"--address {address}: pass auto or HOST:PORT, on a machine that is a node of the cluster")
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    _check_address(address)
    try:
        import ray
    except ImportError:
        raise InputError("this interpreter has no Ray; make one that has with: tox run -e cluster") from None
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        _connect(ray, address)
        for number, handler in handlers.items():  # Ray's own would end the command without a word
            signal.signal(number, handler)
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raises InputError if nothing listens there: Ray itself would try for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), WAIT_SECONDS).close()
    except (OSError, ValueError, OverflowError):
        raise _nobody(address) from None


def _nobody(address: str) -> InputError:
    where = "on this machine" if address == "auto" else f"at {address}"
    return InputError(
        f"--address {address}: no Ray answers {where}; start a node here with: ray start --address HEAD:6379"
    )


@contextmanager
def _code() -> Iterator[Path]:
    """The code that nodes get, in a folder unlike any other's. Ray sends a folder once if two commands have the same,
    and removes it when the first has ended, though the second may not have begun."""
    with tempfile.TemporaryDirectory() as folder:
        for name in CODE:
            shutil.copytree(CHECKOUT / name, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__", "build"))
        digest = hashlib.sha256()
        for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            digest.update(f"{file.relative_to(folder).as_posix()} {hash_file(file)}\n".encode())
        (Path(folder) / COMMAND).write_text(f"{digest.hexdigest()[:16]} {uuid.uuid4().hex}", encoding="utf-8")
        yield Path(folder)


def _connect(ray: ModuleType, address: str) -> None:
    from ray._private import worker

    worker.print_to_stdstream = lambda *message, **settings: None  # Ray's tales of lost nodes; we tell ourselves
    try:
        with _code() as folder:
            ray.init(
                address=address,
                runtime_env={"working_dir": str(folder)},
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
    except ConnectionError:
        raise _nobody(address) from None
    except (RuntimeError, ValueError) as error:
        raise InputError(f"--address {address}: {_reason(str(error))}") from None


def _reason(message: str) -> str:
    """Ray's reason on one line."""
    if "Version mismatch" not in message:
        return " ".join(message.split())
    told = [
        line.split(":", 1)[1].strip() for line in message.splitlines() if line.strip().startswith(("Ray:", "Python:"))
    ]
    return (
        f"the cluster has Ray {told[0]} on Python {told[1]}, and this interpreter Ray {told[2]} on Python {told[3]}; "
        "install the same on both sides"
    )
