"""A connected cluster: its nodes, and the places on them that this command has."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.cluster.node import Node
from benchmarks.cluster.travel import Travel
from shared.errors import InputError


@dataclass(frozen=True)
class Size:
    """A node's resources."""

    node: str
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Sharing:
    """How cells share the cluster."""

    alone: bool = True
    """Whether a unit has its GPU, or the node's cores, to itself."""
    retries: int = 2
    """How often a cell is started again because its node was lost."""
    shared: Path | None = None
    """A folder that every node sees."""


AT_WORK = 4
"""Threads of units that work at a time here, or wait for the disk. Python runs one of them at a time: more spend the
system's time on taking turns, at every file that one of them opens."""


@dataclass
class Cluster:
    """The cluster, and the actors that this command has there."""

    ray: ModuleType
    sharing: Sharing
    kind: type[Node] = Node
    """Class of the places."""
    travel: Travel = field(init=False)
    actors: set[Any] = field(default_factory=set)
    stopped: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    at_work: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_WORK))
    """A thread of a unit has one of its places, but while it waits for Ray."""
    exclusive: int = 1
    """CPUs of a unit that is alone on its node, by the nodes that were there last."""

    def __post_init__(self) -> None:
        self.travel = Travel(self.ray, self.sharing.shared)

    def sizes(self) -> list[Size]:
        """The resources of each living node that has a CPU. Raises InputError if there is none."""
        alive = (node for node in self.ray.nodes() if node["Alive"])
        found = [
            Size(node["NodeID"], int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
            for node in alive
        ]
        usable = [size for size in found if size.cpus]
        if not usable:
            raise InputError("the cluster has no node with a CPU now; start one, or let its autoscaler keep one")
        return usable

    def take(self, gpu: bool, threads: int) -> Any:
        """A place for a unit: an actor that waits in Ray until a node has room for it. Raises KeyboardInterrupt once
        the command was stopped."""
        alone = self.sharing.alone and not gpu
        if alone:
            with suppress(InputError):  # all nodes are lost: the unit waits for another of their size
                self.exclusive = exclusive_cpus(self.sizes())
        cpus = max(threads, self.exclusive) if alone else threads
        return self._start({"num_cpus": cpus, "num_gpus": int(gpu)}, alone)

    def look_at(self, size: Size) -> Any:
        """A place on this node beside what runs there, only to look at it."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        strategy = NodeAffinitySchedulingStrategy(size.node, soft=True)
        return self._start({"num_cpus": 0, "scheduling_strategy": strategy}, alone=False)

    def _start(self, options: dict[str, Any], alone: bool) -> Any:
        made = self.ray.remote(self.kind).options(max_restarts=0, max_task_retries=0, **options)
        with self.lock:
            if self.stopped:
                raise KeyboardInterrupt
            actor = made.remote(alone)
            self.actors.add(actor)
            return actor

    def wait(self, reference: Any) -> Any:
        """The result of an actor's work, once it is there. The thread's place at work goes to others meanwhile. Raises
        Ray's errors."""
        self.at_work.release()
        try:
            return self.ray.get(reference)
        finally:
            self.at_work.acquire()

    def leave(self, actor: Any) -> None:
        """Gives a place back. What runs there ends."""
        with self.lock:
            self.actors.discard(actor)
        self.ray.kill(actor)

    def stop(self) -> None:
        """Ends everything that this command runs in the cluster."""
        with self.lock:
            self.stopped, actors = True, list(self.actors)
        for actor in actors:
            self.ray.kill(actor)


def exclusive_cpus(sizes: Iterable[Size]) -> int:
    """The number of CPUs of which no node has twice as many: a unit that asks for these is alone on its node. Nodes
    with fewer have none: they are at most half as large as the largest."""
    cpus = [size.cpus for size in sizes]
    return min(number for number in cpus if 2 * number > max(cpus))
