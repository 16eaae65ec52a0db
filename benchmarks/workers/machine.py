"""The circumstances of a measurement: the machine, how fast it is just now, and how busy others keep it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from msgspec import UnsetType

from shared.errors import InputError
from shared.records import Machine

PRODUCT = 1024
"""Rows of the square matrices whose product is timed: 2.1 GFLOP, some tens of milliseconds on two cores."""

ADDED = 2**24
"""Numbers of each array whose sum is timed: 64 MiB, more than caches hold."""

TOOL_SECONDS = 60
"""Longest time in which the driver's tool has to answer."""


def describe_machine() -> Machine:
    """The machine that this process runs on."""
    return Machine(
        cpu=cpu_name(),
        cores=os.cpu_count(),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()}",
        gpus=gpus(),
    )


def with_node(nodes: list[str] | UnsetType) -> list[str] | UnsetType:
    """These nodes of a cluster, with the one that this command runs on, if it does; UNSET if there is none."""
    node, known = os.environ.get("CONCORD_NODE"), nodes or []
    return nodes if node is None or node in known else [*known, node]


def gpus() -> list[str]:
    """Names of the NVIDIA GPUs that the driver shows. Loads no framework."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return []
    command = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS)
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{tool} does not answer within {TOOL_SECONDS} s; mend the driver, or pass --device cpu"
        ) from None
    return run.stdout.strip().splitlines() if run.returncode == 0 else []


def matrix_product_rate(threads: int, repeats: int = 5) -> float:
    """FLOP/s of float32 matrix products with numpy's BLAS on so many threads, the best of `repeats`."""
    from threadpoolctl import threadpool_limits

    a = np.random.RandomState(0).rand(PRODUCT, PRODUCT).astype(np.float32)
    best = float("inf")
    with threadpool_limits(threads):
        a @ a  # wakes the threads
        for _ in range(repeats):
            start = time.perf_counter()
            a @ a
            best = min(best, time.perf_counter() - start)
    return 2 * PRODUCT**3 / best


def memory_bandwidth(threads: int, repeats: int = 5) -> float:
    """Bytes a second, read and written, of adding two large float32 arrays into a third on so many threads, the best of
    `repeats`."""
    parts = [np.ones((3, ADDED // threads), np.float32) for _ in range(threads)]

    def add(part: np.ndarray) -> None:
        np.add(part[0], part[1], out=part[2])

    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:  # numpy lets other threads run meanwhile
        for _ in range(repeats):
            start = time.perf_counter()
            list(pool.map(add, parts))
            best = min(best, time.perf_counter() - start)
    return sum(part.nbytes for part in parts) / best


class BusyCores:
    """Counts the cores that other processes keep busy from now on. Leaves out what this process uses, and the children
    that it has waited for."""

    def __init__(self) -> None:
        self.wall, self.busy, self.own = time.perf_counter(), _machine_seconds(), _own_seconds()

    def by_others(self) -> float:
        """Cores, on average since this was made."""
        wall = time.perf_counter() - self.wall
        return max(0.0, (_machine_seconds() - self.busy - (_own_seconds() - self.own)) / wall)


def _machine_seconds() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def cpu_name() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def choose_device(asked: str) -> str:
    """The device that is meant: `auto` is the first NVIDIA GPU that the driver shows, else the CPU; `cuda` is `cuda:0`.
    Raises InputError for a GPU that is not there."""
    if asked == "cpu":
        return "cpu"
    found = gpus()
    if asked == "auto":
        return "cuda:0" if found else "cpu"
    match = re.fullmatch(r"cuda(?::(\d+))?", asked)
    if not match:
        raise InputError(f"--device {asked!r} is none of auto, cpu, cuda and cuda:N")
    number = int(match[1] or 0)
    if number >= len(found):
        raise InputError(f"--device {asked}: the driver shows {len(found)} NVIDIA GPUs here; pass --device cpu")
    return f"cuda:{number}"


def choose_threads(asked: int | None) -> int:
    """The threads asked for, or one for each processor that this process may use. Raises InputError."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if asked is None:
        return available
    if not 1 <= asked <= available:
        raise InputError(f"--threads {asked}: pass 1 to {available}, the processors here")
    return asked
