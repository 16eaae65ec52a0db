"""Checks of devices, and the process's memory, for all adapters."""

from __future__ import annotations

import os
import re
import resource
import sys

from shared.errors import InputError
from shared.job import Precision


def gpu_number(device: str, seen: int) -> int | None:
    """Returns the n of `cuda:n`, or None for `cpu`. `seen` is the number of GPUs that the framework sees. Raises
    InputError for any other device, and if there are too few GPUs."""
    if device == "cpu":
        return None
    match = re.fullmatch(r"cuda:(\d+)", device)
    if not match:
        raise InputError(f"device {device!r} is neither cpu nor cuda:N; pass one of these")
    if int(match[1]) >= seen:
        raise InputError(
            f"device {device}: the backend's framework sees {seen} GPUs; pass --device cpu, or an environment with the "
            "framework's CUDA build"
        )
    return int(match[1])


def alone(device: str) -> str:
    """The value of CUDA_VISIBLE_DEVICES that shows a program this GPU of those that are shown to this one, and no
    other; of a CPU none."""
    number, shown = device.removeprefix("cuda:").removeprefix("cpu"), os.environ.get("CUDA_VISIBLE_DEVICES")
    return shown.split(",")[int(number)] if number and shown else number


def check_capability(device: str, precision: Precision, capability: tuple[int, int]) -> None:
    """Raises InputError if a GPU of this CUDA compute capability has no arithmetic in this precision. The framework
    would emulate it, or compute in float32 without saying so. bfloat16 and tf32 came with Ampere, 8.0."""
    if precision in ("bfloat16", "tf32") and capability < (8, 0):
        raise InputError(
            f"{device} has compute capability {capability[0]}.{capability[1]}, and {precision} needs 8.0; pass "
            "--precision float32"
        )


def peak_resident_memory() -> int:
    """Largest resident set of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
