"""Clusters of several nodes on this machine, sweeps on them, and workers that answer at once or wait."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ray.cluster_utils import Cluster

from benchmarks.workers.environments import CHECKOUT, find_python
from shared.files import to_json
from shared.job import ANSWER, ARRAYS
from tests.factories import answer, epoch
from tests.processes import PATIENCE

MEMORY = 80 * 2**20
"""Bytes of a node's object store."""
ROWS = 20
GRID = (
    "--task",
    "acceptability",
    "--model",
    "random:bert-tiny",
    "--max-len",
    "16",
    "--device",
    "cpu",
    "--threads",
    "1",
)
TOY = (*GRID, "--limit", str(ROWS), "--epochs", "1")


@contextmanager
def cluster_of(nodes: int, head_cpus: int = 1) -> Iterator[Cluster]:
    """A cluster of so many nodes with one CPU each. The first is its head, with so many."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}  # else a busy machine starves it
    settings = {"memory_monitor_refresh_ms": 0}  # the machine's other processes are no affair of these nodes
    head = {
        "num_cpus": head_cpus,
        "object_store_memory": MEMORY,
        "include_dashboard": False,
        "_system_config": settings,
    }
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(nodes - 1):
            add_node(cluster)
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Cluster) -> None:
    """Starts another node."""
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)


def lose_node(cluster: Cluster) -> None:
    """Kills a node that is not the head."""
    node = next(node for node in cluster.list_all_nodes() if not node.is_head())
    cluster.remove_node(node, allow_graceful=False)


def sweep(out: Path, *arguments: object, path: Path = CHECKOUT) -> subprocess.Popen[str]:
    """Starts benchmarks.run, with another folder on its Python's path before the checkout if that is given."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.run", *TOY, *map(str, arguments), "--out", str(out)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": f"{path}:{CHECKOUT}"},
    )


def pythons(*backends: str) -> tuple[str, ...]:
    """Options for the interpreters that tox has made."""
    return tuple(f"--python={backend}={find_python(backend, {})}" for backend in backends)


@dataclass(frozen=True)
class Quick:
    """An interpreter that is torch's, but for its worker: that one notes its job's folder in `runs`, waits until there
    is a file `go`, and answers."""

    folder: Path

    @property
    def option(self) -> str:
        """The option that names it."""
        return f"--python=torch={self.folder / 'python'}"

    def go(self) -> None:
        """Lets the workers answer."""
        (self.folder / "go").touch()

    def runs(self) -> list[str]:
        """The cells whose workers were started."""
        file = self.folder / "runs"
        return [Path(line).name.split("-")[0] for line in file.read_text().split()] if file.is_file() else []

    def wait_for_runs(self, number: int, runner: subprocess.Popen[str]) -> None:
        """Waits until the runner has started so many workers. Raises AssertionError with its output if it never
        does."""
        end = time.monotonic() + PATIENCE
        while len(self.runs()) < number:
            if runner.poll() is not None or time.monotonic() > end:
                runner.kill()
                raise AssertionError(f"{self.runs()} have started: {''.join(runner.communicate())}")
            time.sleep(0.05)


def make_quick(folder: Path, first: str = "true") -> Quick:
    """Makes such an interpreter. `first` is what its worker does before it waits, in the shell's words."""
    folder.mkdir()
    python = find_python("torch", {})
    told = subprocess.run(
        [python, "-m", "backends", "--json"], capture_output=True, text=True, cwd=CHECKOUT, check=True
    ).stdout
    (folder / "told").write_text(told)
    (folder / "answer").write_text(to_json(answer([epoch(10.0)])))
    np.savez(folder / "arrays.npz", dev=np.zeros((ROWS, 2), np.float32))
    answers = f"""while [ ! -e go ]; do sleep 0.05; done
    cp arrays.npz "$3/{ARRAYS}" && cp answer "$3/partial" && mv "$3/partial" "$3/{ANSWER}\""""
    (folder / "python").write_text(
        f"""#!/bin/sh
cd "{folder}"
case "$*" in
*--json*) cat told;;
*backends.worker*)
    echo "$3" >> runs
    {first}
    {answers};;
esac
"""
    )
    (folder / "python").chmod(0o755)
    return Quick(folder)
