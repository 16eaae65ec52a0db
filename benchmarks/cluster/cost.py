"""Measures what a command that sweeps over a cluster costs a cell: python -m benchmarks.cluster.cost --cells 2000

The workers only answer, at once. With `--address` each unit is an actor of that cluster; without, Ray is imitated in
this process, and what is measured is this project's own part, at sizes that no cluster here could take. The processor's
time is that of the whole process, Ray's threads included; that of flushing the disk is given apart."""

from __future__ import annotations

import io
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
from rich.console import Console

from backends import BACKENDS
from benchmarks.cells.answer import How, answer_cells
from benchmarks.cells.plan import Cell, Request, plan_cells
from benchmarks.cli.parser import Parser, one_line_errors
from benchmarks.cluster.cell import Told
from benchmarks.cluster.cluster import Cluster, Sharing
from benchmarks.cluster.connecting import connected
from benchmarks.cluster.engine import RayEngine
from benchmarks.cluster.node import Done, Interpreter, Node, Where, Work
from benchmarks.workers.machine import describe_machine
from shared.answer import Epoch, Scores, Trained
from shared.files import to_json
from shared.job import ANSWER, ARRAYS
from shared.recipe import Recipe
from shared.records import Circumstances
from shared.tasks import get_task

STEPS = 1000
"""Steps of each training that is answered: as many as four epochs of CoLA have."""
NODES = 16
"""Nodes of the imitation."""
NODE = "0" * 56
TIME = "2026-01-01T00:00:00.000+00:00"


@dataclass
class Cost:
    """Figures of a measurement."""

    cells: int
    planned: float
    """Processor seconds of planning a cell."""
    answered: float
    """Processor seconds of answering a cell, flushes apart."""
    system: float
    """The part of these that the operating system takes."""
    flushes: float
    """Processor seconds of its flushes."""
    wall: float
    memory: list[tuple[int, int]] = field(default_factory=list)
    """Resident bytes of the process after so many cells."""

    def lines(self) -> Iterator[str]:
        """The figures."""
        yield f"{self.cells} cells in {self.wall:.0f} s"
        yield f"planning: {1e3 * self.planned:.2f} ms of processor time a cell"
        system = f"{1e3 * self.system:.2f} of them the system's"
        yield f"answering: {1e3 * self.answered:.2f} ms a cell, {system}, and {1e3 * self.flushes:.2f} ms in flushes"
        for cells, size in self.memory:
            yield f"after {cells} cells: {size / 2**20:.0f} MiB"


def measure(engine: RayEngine, request: Request, out: Path) -> Cost:
    """Plans and answers the request's cells."""
    begun = time.process_time()
    cells = plan_cells(request, engine)
    planned = (time.process_time() - begun) / len(cells)
    memory = _memory_watched(engine.cluster, cells, len(engine.units(cells)))
    with _flushes_counted() as flushed, open(os.devnull, "w", encoding="utf-8") as shown:
        wall, before = time.perf_counter(), os.times()
        answers = answer_cells(Console(file=shown), cells, out, "", How(failed="not"), engine)
        after, wall = os.times(), time.perf_counter() - wall
    assert (len(answers.answered), answers.code) == (len(cells), 0), answers.failed[:1]
    each, flushes = len(cells), flushed[0]
    system = after.system - before.system - flushes
    answered = after.user - before.user + system
    return Cost(each, planned, answered / each, system / each, flushes / each, wall, memory)


def _memory_watched(cluster: Cluster, cells: list[Cell], units: int) -> list[tuple[int, int]]:
    """Notes the process's resident bytes eight times, as units end."""
    process, memory, original, ended = psutil.Process(), [], cluster.leave, [0]

    def leave(actor: Any) -> None:
        original(actor)
        ended[0] += 1
        if ended[0] % max(1, units // 8) == 0:
            memory.append((ended[0] * len(cells) // units, process.memory_info().rss))

    cluster.leave = leave  # type: ignore[method-assign]
    return memory


@contextmanager
def _flushes_counted() -> Iterator[list[float]]:
    """Counts the processor's time in flushes of the disk."""
    original, spent = os.fsync, [0.0]

    def fsync(descriptor: int) -> None:
        begun = time.thread_time()
        original(descriptor)
        spent[0] += time.thread_time() - begun

    os.fsync = fsync  # type: ignore[assignment]
    try:
        yield spent
    finally:
        os.fsync = original


def answering_at_once(rows: dict[str, int], packages: str) -> type[Node]:
    """A node whose cells are answered before they begin, with predictions for so many rows."""
    arrays = io.BytesIO()
    logits = {name: np.random.RandomState(1).rand(rows[name], 2).astype("f") for name in ("dev", "test")}
    np.savez(arrays, **logits)  # type: ignore[arg-type]
    told = to_json(Told(started=TIME, ended=TIME, circumstances=_circumstances()))
    files = {ANSWER: to_json(_trained(rows)).encode(), ARRAYS: arrays.getvalue()}

    class AtOnce(Node):
        """A node whose cells are answered before they begin."""

        def packages(self, interpreter: Interpreter) -> tuple[str, str]:
            """See Node."""
            return "python", packages

        def answer(self, work: Work) -> Done:
            """See Node."""
            return Done(told, files, 0, "")

    return AtOnce


def _trained(rows: dict[str, int]) -> Trained:
    scores: Scores = {"loss": 0.5, "accuracy": 0.5, "mcc": 0.0, "f1": 0.5}
    epoch = Epoch(
        seconds=10.0,
        steps=STEPS,
        rows=rows["train"],
        tokens=10 * rows["train"],
        padded_tokens=12 * rows["train"],
        train_loss=0.5,
        train_accuracy=0.8,
        dev=scores,
        dev_seconds=1.0,
    )
    return Trained(
        total_steps=STEPS,
        received="0" * 64,
        first_step_seconds=0.1,
        step_loss=[n / STEPS for n in range(STEPS)],
        step_accuracy=[0.75] * STEPS,
        dev_before=None,
        epochs=[epoch],
        kept_epoch=1,
        test=scores,
        test_seconds=1.0,
        peak_memory_bytes=2**29,
        import_seconds=1.0,
        load_seconds=1.0,
        start_seconds=3.0,
        predictions={name: [n % 2 for n in range(rows[name])] for name in ("dev", "test")},
    )


def _circumstances() -> Circumstances:
    return Circumstances(
        started=TIME,
        interpreter="python",
        python="3.11",
        packages={f"package-{n}": "1.0" for n in range(80)},
        settings={},
        machine=describe_machine(),
        matrix_product_flops_before=1e11,
        memory_bandwidth_before=1e11,
        worker_seconds=20.0,
        cores_busy_with_others=0.0,
        matrix_product_flops_after=1e11,
    )


class Actor:
    """Imitates the handle of an actor: what `remote` of a method gives is for `Imitated.get`."""

    def __init__(self, node: Node, places: threading.Semaphore) -> None:
        self.places, self.settled = places, False
        self.where = SimpleNamespace(remote=partial(partial, self.settle))
        self.packages = SimpleNamespace(remote=partial(partial, node.packages))
        self.answer = SimpleNamespace(remote=partial(partial, node.answer))

    def settle(self) -> Where:
        """Waits for a place."""
        self.places.acquire()
        self.settled = True
        return Where(NODE, "imitated")


class Imitated:
    """Ray's part that `benchmarks.cluster` uses, in this process, with so many nodes."""

    exceptions = SimpleNamespace(RayError=ConnectionError, RayTaskError=ConnectionAbortedError)

    def __init__(self, nodes: int) -> None:
        self.number, self.places = nodes, threading.Semaphore(nodes)

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes."""
        return [{"NodeID": NODE, "Alive": True, "Resources": {"CPU": 1.0}}] * self.number

    def put(self, content: bytes) -> int:
        """Keeps nothing."""
        return len(content)

    def get(self, asked: Callable[[], Any]) -> Any:
        """Calls what `remote` gave."""
        return asked()

    def kill(self, actor: Actor) -> None:
        """Frees its place."""
        if actor.settled:
            self.places.release()

    def remote(self, kind: type[Node]) -> Any:
        """The class of actors."""

        def make(alone: bool) -> Actor:
            return Actor(kind(alone), self.places)

        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=make))


def request_of(cells: int) -> Request:
    """A request of so many cells: every backend with so many seeds."""
    return Request(
        backends=list(BACKENDS),
        tasks=["acceptability"],
        models=["random:bert-tiny"],
        recipes=[Recipe(max_len=16, epochs=1, seed=seed) for seed in range(1, cells // len(BACKENDS) + 1)],
        device="cpu",
        threads=1,
        limit=None,
        data_dir=None,
        pythons={},
    )


def packages() -> str:
    """The answer of an interpreter with every module of the registry."""
    versions = {module: "1.0" for backend in BACKENDS.values() for module in backend.modules}
    return json.dumps({"packages": versions, "versions": versions, "python": "3.11.0"})


@contextmanager
def engine_at(address: str | None, kind: type[Node]) -> Iterator[RayEngine]:
    """An engine whose nodes are of this kind: on the cluster, or on an imitation."""
    if address is None:
        yield RayEngine(Cluster(Imitated(NODES), Sharing(), kind))  # type: ignore[arg-type]
        return
    with connected(address) as ray:
        yield RayEngine(Cluster(ray, Sharing(), kind))


def main() -> None:
    """Measures and prints."""
    parser = Parser(prog="benchmarks.cluster.cost", description=__doc__)
    parser.add_argument("--cells", type=int, default=2000, metavar="N", help="cells")
    parser.add_argument("--address", metavar="ADDRESS", help="a cluster that runs (an imitation)")
    options = parser.parse_args()
    with one_line_errors("benchmarks.cluster.cost"), tempfile.TemporaryDirectory() as folder:
        rows = {name: len(part) for name, part in get_task("acceptability").load(None).items()}
        with engine_at(options.address, answering_at_once(rows, packages())) as engine:
            for line in measure(engine, request_of(options.cells), Path(folder)).lines():
                print(line)


if __name__ == "__main__":
    main()
