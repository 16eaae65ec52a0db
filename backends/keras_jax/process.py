"""JAX's process: its device, precision and threads, and the programs that XLA made in it."""

from __future__ import annotations

import hashlib
import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import keras

from backends import check_compile, check_padding, check_precision
from backends.devices import check_capability, gpu_number
from shared.answer import Programs
from shared.cache import cache_dir
from shared.contract import Build
from shared.job import Precision, stored


def prepare(build: Build) -> Any:
    """Sets up the process for the model and gives JAX's device. Raises as `load` does."""
    check_compile("keras-jax", build.compile)
    check_padding("keras-jax", build.recipe)
    COMPILER.start(build.threads)
    dtype = stored(build.precision)
    jax.config.update("jax_enable_x64", dtype == "float64")
    keras.config.set_floatx(dtype)  # what Python's numbers become
    # What layers that are told nothing compute in; their variables are float32 in the mixed policy too.
    keras.config.set_dtype_policy("mixed_bfloat16" if build.precision == "bfloat16" else dtype)
    return _device(build.device, build.precision)


def _device(device: str, precision: Precision) -> Any:
    gpus = []
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")  # a GPU's memory is left alone
    else:
        with suppress(RuntimeError):  # a build of JAX without CUDA, or a machine without a GPU
            gpus = jax.devices("cuda")
    number = gpu_number(device, len(gpus))
    check_precision("keras-jax", device, precision)
    if number is None:
        return jax.devices("cpu")[0]
    major, minor = gpus[number].compute_capability.split(".")
    check_capability(device, precision, (int(major), int(minor)))
    # The default is tf32 on a GPU: 10 bits of mantissa are no float32.
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if precision == "tf32" else "float32")
    return gpus[number]


REQUESTED = "/jax/compilation_cache/compile_requests_use_cache"
FOUND = "/jax/compilation_cache/cache_hits"
SPENT = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)
"""JAX's names of the events. Reading a program from the folder is part of the last."""


@dataclass
class Compiler:
    """Counts the programs that JAX asks XLA for."""

    threads: int | None = None
    """Threads of XLA on the CPU; None before `start`."""
    requested: int = 0
    found: int = 0
    seconds: float = 0.0

    def start(self, threads: int) -> None:
        """Sets XLA's threads and the folder of programs. JAX takes both at its first operation and keeps them: raises
        RuntimeError if a second call asks for other threads."""
        if self.threads is not None:
            if self.threads != threads:
                raise RuntimeError(f"JAX runs with {self.threads} threads in this process; {threads} need another one")
            return
        self.threads = threads
        os.environ["NPROC"] = str(threads)
        jax.config.update("jax_compilation_cache_dir", str(_folder(threads)))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        jax.monitoring.register_event_listener(self._count)
        jax.monitoring.register_event_duration_secs_listener(self._add)

    def programs(self) -> Programs:
        """All programs of this process so far."""
        return Programs(compiled=self.requested - self.found, from_cache=self.found, seconds=self.seconds)

    def _count(self, event: str, **_: Any) -> None:
        self.requested += event == REQUESTED
        self.found += event == FOUND

    def _add(self, event: str, seconds: float, **_: Any) -> None:
        self.seconds += seconds if event in SPENT else 0.0


COMPILER = Compiler()


def _folder(threads: int) -> Path:
    """The folder of programs for this processor and these threads. XLA makes other code for others, and JAX's own key
    does not tell them apart."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.exists() else [platform.processor()]
    features = next((line for line in lines if line.startswith(("flags", "Features"))), lines[0])
    machine = hashlib.sha256(f"{platform.machine()} {features}".encode()).hexdigest()[:12]
    return cache_dir() / "xla" / f"{machine}-threads-{threads}"
