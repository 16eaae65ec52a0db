"""Cells on a Ray cluster. A unit of cells is an actor: Ray keeps it waiting until a node has room for it, and holds its
cores or its GPU until the unit is done. Each unit has a thread here, which asks for its cells one after another. Ray is
the queue, and Ray notices that a node is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from rich.console import Console

from benchmarks.cells.engine import Turn, Unit
from benchmarks.cells.estimates import Estimates
from benchmarks.cells.plan import Cell
from benchmarks.cluster.cluster import Cluster, Sharing, Size, exclusive_cpus
from benchmarks.cluster.connecting import connected
from benchmarks.cluster.node import Unready
from benchmarks.cluster.progress import ClusterProgress
from benchmarks.cluster.slot import ClusterSlot, interpreter
from benchmarks.workers.environments import Environment, environment_told
from shared.errors import InputError
from shared.records import each_record

U = TypeVar("U")
R = TypeVar("R")

WAIT_SECONDS = 1.0
"""Time until a node is asked again, as one is lost."""

LOOKS = 10
"""Times that a node is asked for its environments. Ray needs some seconds to notice that one is lost."""

WAITING = 100
"""Units that wait in Ray's hands beyond those that have a place: its autoscaler sees them."""

MOST = 10_000
"""Units that are in Ray's hands at a time at most. Each has a thread here, with some 100 KB of memory."""

LOOK_SECONDS = 10.0
"""Time between two looks at how many places there are."""


@contextmanager
def ray_engine(address: str, sharing: Sharing) -> Iterator[RayEngine]:
    """An engine on the cluster at this address, for the time of the block. Raises InputError."""
    with connected(address) as ray:
        engine = RayEngine(Cluster(ray, sharing))
        engine.cluster.sizes()
        try:
            yield engine
        finally:
            engine.cluster.stop()


@dataclass
class RayEngine:
    """A cluster. `choose_device` and `choose_threads` come before all else that it is asked."""

    cluster: Cluster
    gpu: bool = False
    threads: int = 1
    given: dict[str, Path] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        """See benchmarks.cells.engine.Engine."""
        sizes = self.cluster.sizes()
        if self.gpu:
            return sum(size.gpus for size in sizes)
        if self.cluster.sharing.alone:
            return sum(size.cpus >= exclusive_cpus(sizes) for size in sizes)
        return sum(size.cpus // self.threads for size in sizes)

    def choose_device(self, asked: str) -> str:
        """See Engine. A unit sees one GPU of its node, which is the first for it."""
        if asked not in ("auto", "cpu", "cuda", "cuda:0"):
            raise InputError(f"--device {asked!r} is none of auto, cpu and cuda, the devices that a cluster gives")
        found = any(size.gpus for size in self.cluster.sizes())
        if asked.startswith("cuda") and not found:
            raise InputError(f"--device {asked}: no node has a GPU that Ray knows of; pass --device cpu")
        self.gpu = asked != "cpu" and found
        return "cuda:0" if self.gpu else "cpu"

    def choose_threads(self, asked: int | None, device: str) -> int:
        """See Engine. As many as every unit can have."""
        sizes = self.cluster.sizes()
        if self.gpu:
            most = min(max(1, size.cpus // size.gpus) for size in sizes if size.gpus)
        elif self.cluster.sharing.alone:
            most = exclusive_cpus(sizes)
        else:
            most = max(size.cpus for size in sizes)
        if asked is not None and not 1 <= asked <= most:
            raise InputError(f"--threads {asked}: pass 1 to {most}, the CPUs that a node gives")
        self.threads = most if asked is None else asked
        return self.threads

    def check_pythons(self, backends: Iterable[str], given: dict[str, Path]) -> None:
        """See Engine. Nodes tell later."""

    def find_environments(self, backends: Iterable[str], given: dict[str, Path]) -> dict[str, Environment]:
        """See Engine. A node that can run cells tells, and has made them then."""
        self.given = given
        ray, names = self.cluster.ray, list(backends)
        for left in reversed(range(LOOKS)):
            try:
                return self._environments(names)
            except ray.exceptions.RayTaskError as error:
                if isinstance(cause := getattr(error, "cause", error), Unready):
                    raise InputError(str(cause)) from None
                raise
            except ray.exceptions.RayError as error:  # such as of a node that is just lost
                if not left:
                    why = _first_line(error)
                    raise InputError(f"a node could not tell its environments ({why}); try again") from None
                time.sleep(WAIT_SECONDS)
        raise AssertionError("the last attempt returns or raises")

    def _environments(self, backends: list[str]) -> dict[str, Environment]:
        """Asks a node that can run cells. Raises Ray's errors, and InputError."""
        place = self.cluster.look_at(next(size for size in self.cluster.sizes() if self._fits(size)))
        try:
            found = {}
            for backend in backends:
                wanted = interpreter(backend, self.gpu, self.given)
                python, told = self.cluster.ray.get(place.packages.remote(wanted))
                found[backend] = environment_told(backend, Path(python), told)
            return found
        finally:
            self.cluster.leave(place)

    def _fits(self, size: Size) -> bool:
        return bool(size.gpus) if self.gpu else size.cpus >= self.threads

    def units(self, cells: Sequence[Cell]) -> list[Unit]:
        """See Engine. Cells of one question are compared with each other: they are a unit, unless times do not
        count."""
        if not self.cluster.sharing.alone:
            return [[cell] for cell in cells]
        units: dict[int, list[Cell]] = {}
        for cell in cells:
            units.setdefault(id(cell.question), []).append(cell)
        return list(units.values())

    @contextmanager
    def start(self, console: Console, cells: Sequence[Cell], out: Path) -> Iterator[ClusterRun]:
        """See Engine."""
        with ClusterProgress(console, cells, Estimates(each_record(out))) as shown:
            yield ClusterRun(self, shown)


@dataclass(frozen=True)
class ClusterRun:
    """Cells on their way through the cluster."""

    engine: RayEngine
    shown: ClusterProgress

    def line(self, text: str) -> None:
        """See benchmarks.cells.engine.Running."""
        self.shown.line(text)

    def run(self, units: Iterable[Unit], turn: Turn) -> Iterator[list[Cell]]:
        """See Running."""
        return side_by_side(self.engine, units, lambda unit: self._turn(unit, turn))

    def _turn(self, unit: Unit, turn: Turn) -> list[Cell]:
        engine = self.engine
        with ClusterSlot(engine.cluster, engine.gpu, engine.threads, engine.given, self.shown) as slot:
            return turn(unit, slot)


def side_by_side(engine: RayEngine, units: Iterable[U], run: Callable[[U], R]) -> Iterator[R]:
    """Runs units, each in a thread, as many at a time as there are places, and WAITING more. Returns what is returned,
    each as it ends. However this is left, nothing of them runs any more."""
    waiting, ended, room = iter(units), SimpleQueue[Future[R]](), Room(engine)

    def at_work(unit: U) -> R:
        with engine.cluster.at_work:
            return run(unit)

    with ThreadPoolExecutor(MOST) as pool:

        def begin(under_way: int) -> int:
            some = list(islice(waiting, max(0, room.units() - under_way)))
            for unit in some:
                pool.submit(at_work, unit).add_done_callback(ended.put)
            return under_way + len(some)

        try:
            under_way = begin(0)
            while under_way:
                future = ended.get()
                under_way = begin(under_way - 1)
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            engine.cluster.stop()
            raise


@dataclass
class Room:
    """The number of units that may be in Ray's hands."""

    engine: RayEngine
    places: int = 0
    looked: float = float("-inf")

    def units(self) -> int:
        """The number now, by places that were counted LOOK_SECONDS ago or later."""
        if time.monotonic() - self.looked > LOOK_SECONDS:
            with suppress(InputError):  # all nodes are lost, and may come back
                self.places = self.engine.slots
            self.looked = time.monotonic()
        return min(MOST, self.places + WAITING)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
