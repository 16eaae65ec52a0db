"""A place on the cluster that outlasts its node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from benchmarks.cluster.cluster import Cluster
from benchmarks.cluster.node import Unready, Where
from benchmarks.workers.launcher import Killed
from shared.errors import ProcessFailed

T = TypeVar("T")


class Lost(Exception):
    """The work at a place was killed from outside; the message says how."""


@dataclass
class LastingPlace:
    """A place for one unit. If its node is lost, another takes its place."""

    cluster: Cluster
    gpu: bool
    threads: int
    tell: Callable[[str], None]
    """Shows a line."""
    actor: Any = None
    where: Where | None = None
    lost: list[str] = field(default_factory=list)
    """Nodes that were lost with what runs now."""

    def result(self, starts: Callable[[Where], None], ask: Callable[[Any], Any], read: Callable[[Any], T]) -> T:
        """Asks the actor, and reads what comes back. If the node is lost meanwhile, or `read` raises Lost, another is
        asked, as often as the cluster's `retries` say. `starts` is called before each. Raises ProcessFailed, and
        KeyboardInterrupt once the command was stopped."""
        errors = self.cluster.ray.exceptions
        self.lost.clear()
        while True:
            try:
                starts(self.settle())
                return read(self.cluster.wait(ask(self.actor)))
            except errors.RayTaskError as error:
                if not isinstance(getattr(error, "cause", None), OSError):
                    raise self._told(error) from None
                self._lose(" ".join(str(error.cause).split()))  # such as a node's files, which go before it
            except errors.RayError as error:
                self._lose(type(error).__name__)
            except Lost as lost:  # a node that ends kills what runs there before it is lost itself
                self._lose(str(lost))

    def settle(self) -> Where:
        """Waits for a place, if there is none yet, and for a node, if all are lost. Raises Ray's errors, and
        KeyboardInterrupt once the command was stopped."""
        if self.where is None:
            self.actor = self.cluster.take(self.gpu, self.threads)
            try:
                self.where = self.cluster.wait(self.actor.where.remote())
            except self.cluster.ray.exceptions.RayError:
                self.leave()
                raise
        return self.where

    def leave(self) -> None:
        """Gives the place back."""
        if self.actor is not None:
            self.cluster.leave(self.actor)
        self.actor = self.where = None

    @property
    def host(self) -> str:
        """The node's machine, in words."""
        return self.where.host if self.where else "a node"

    def _lose(self, reason: str) -> None:
        """The place is lost, or what ran there was killed. Raises Killed if that was once too often."""
        host = self.host
        self.leave()
        if self.cluster.stopped:
            raise KeyboardInterrupt
        self.lost.append(host)
        if len(self.lost) > self.cluster.sharing.retries:
            raise Killed(
                f"its place was lost {len(self.lost)} times ({', '.join(self.lost)}; {reason}): give the "
                "same command again, or more --retries"
            )
        self.tell(f"    its place on {host} was lost ({reason}): it is started again")

    def _told(self, error: Exception) -> ProcessFailed:
        """The error of a node that says why it cannot do what it was asked."""
        cause = getattr(error, "cause", error)
        if isinstance(cause, Unready):
            return ProcessFailed(str(cause), refused=True)
        return ProcessFailed(f"{self.host}: {type(cause).__name__}: {cause}")
