"""Runs a job in this machine's interpreter of its backend, and measures the machine before and after."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs

from benchmarks.workers.environments import Environment, worker_settings
from benchmarks.workers.launcher import Limits, run_worker
from benchmarks.workers.machine import BusyCores, describe_machine, matrix_product_rate, memory_bandwidth
from shared.answer import Event, Trained
from shared.files import to_json, write_whole
from shared.records import Circumstances

CIRCUMSTANCES = "circumstances.json"
"""File of a job's folder: circumstances of the run, as far as they are known."""


def run_measured(
    folder: Path,
    threads: int,
    environment: Environment,
    on_event: Callable[[Event], None],
    limits: Limits,
    longest: int,
) -> Circumstances:
    """Runs the folder's job on so many threads. The worker leaves an answer of `longest` bytes at most there. Returns
    the circumstances. Those that are known before the worker starts, and before the machine is measured again, are kept
    in the folder. Raises ProcessFailed."""
    circumstances = _before(environment, threads)
    keep_circumstances(folder, circumstances)
    busy, start = BusyCores(), time.perf_counter()
    run_worker(environment.python, folder, threads, on_event, Trained, limits=limits, longest=longest)
    circumstances = structs.replace(
        circumstances, worker_seconds=time.perf_counter() - start, cores_busy_with_others=busy.by_others()
    )
    with suppress(OSError):  # the disk may be full now
        keep_circumstances(folder, circumstances)
    return structs.replace(
        circumstances,
        matrix_product_flops_after=matrix_product_rate(threads),
        memory_bandwidth_after=memory_bandwidth(threads),
    )


def keep_circumstances(folder: Path, circumstances: Circumstances) -> None:
    """Keeps what is known of the circumstances, for a process that takes the answer up."""
    write_whole(folder / CIRCUMSTANCES, to_json(circumstances))


def _before(environment: Environment, threads: int) -> Circumstances:
    return Circumstances(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        interpreter=environment.shown,
        python=environment.python_version,
        packages=environment.packages,
        settings=worker_settings(threads),
        machine=describe_machine(),
        matrix_product_flops_before=matrix_product_rate(threads),
        memory_bandwidth_before=memory_bandwidth(threads),
        worker_seconds=None,
        cores_busy_with_others=None,
        matrix_product_flops_after=None,
    )
