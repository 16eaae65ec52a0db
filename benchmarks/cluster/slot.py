"""A unit of cells at its place on the cluster."""

from __future__ import annotations

import hashlib
import platform
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import structs

from benchmarks.cells.plan import Cell
from benchmarks.cluster.cell import MODEL, Asked, Failed, Told
from benchmarks.cluster.cluster import Cluster
from benchmarks.cluster.node import Done, Interpreter, Where, Work
from benchmarks.cluster.place import LastingPlace, Lost
from benchmarks.cluster.progress import ClusterProgress, UnitProgress
from benchmarks.workers.allocator import chosen_allocator
from benchmarks.workers.launcher import LOG, Limits
from benchmarks.workers.measured import CIRCUMSTANCES
from benchmarks.workers.processes import TAIL_LINES
from shared.errors import ProcessFailed
from shared.files import from_json, to_json
from shared.job import ANSWER, ARRAYS, ERROR, Job
from shared.records import Circumstances, Place


@dataclass
class ClusterSlot:
    """A lasting place for one unit of cells."""

    cluster: Cluster
    gpu: bool
    threads: int
    given: dict[str, Path]
    """Interpreters on the nodes, by backend."""
    shown: ClusterProgress
    lines: UnitProgress = field(init=False)
    place: LastingPlace = field(init=False)

    def __post_init__(self) -> None:
        self.lines = UnitProgress(self.shown)
        self.place = LastingPlace(self.cluster, self.gpu, self.threads, self.lines.line)

    def __enter__(self) -> Self:
        with suppress(self.cluster.ray.exceptions.RayError):  # `answer` tries again, and counts
            self.place.settle()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.place.leave()

    def answer(self, cell: Cell, folder: Path, limits: Limits, longest: int) -> Circumstances:
        """See benchmarks.cells.engine.Slot."""
        work = self._work(cell, folder, limits, longest)

        def starts(where: Where) -> None:
            self.shown.runs(cell, where.host)

        told, files = self.place.result(starts, lambda actor: actor.answer.remote(work), _read)
        return self._received(told, files, folder)

    def _work(self, cell: Cell, folder: Path, limits: Limits, longest: int) -> Work:
        shared = self.cluster.sharing.shared
        job = Job.read(folder)
        place = hashlib.sha256(f"{platform.node()} {folder}".encode()).hexdigest()[:8]
        asked = Asked(
            job=job, versions=cell.asked.versions, limits=limits, longest=longest, allocator=chosen_allocator()
        )
        return Work(
            name=f"{cell.id}-{place}",
            text=to_json(asked),
            data=self.cluster.travel.data(cell.question.data),
            checkpoint=self.cluster.travel.checkpoint(cell.question.checkpoint),
            interpreter=interpreter(cell.backend, self.gpu, self.given),
            shared=str(shared) if shared else None,
        )

    def _received(self, told: Told, files: dict[str, bytes], folder: Path) -> Circumstances:
        """Writes what came back into the job's folder. Raises ProcessFailed."""
        for line in told.remarks:
            self.lines.line(f"    {line}")
        _write(folder, files)
        if told.failed is not None or told.circumstances is None:
            raise told.failed.error() if told.failed else ProcessFailed("a node's answer is broken")
        where = self.place.where
        assert where is not None
        place = Place(
            node=where.node,
            host=where.host,
            alone=self.cluster.sharing.alone,
            attempts=len(self.place.lost) + 1,
            started=told.started,
            ended=told.ended,
        )
        circumstances = structs.replace(told.circumstances, place=place)
        (folder / CIRCUMSTANCES).write_text(to_json(circumstances), encoding="utf-8")
        return circumstances


def _read(done: Done) -> tuple[Told, dict[str, bytes]]:
    """Reads what a cell's process has told, and takes its files. One that ended without a word has failed. Raises Lost
    if it, or its worker, was killed."""
    try:
        told = from_json(done.told, Told)
    except (ValueError, RecursionError):
        tail = done.output.strip().splitlines()[-TAIL_LINES:]
        message = f"the cell's process ended with {done.code}"
        told = Told(started="", ended="", failed=Failed(message=message, tail=tail, killed=done.code < 0))
    if told.failed is not None and told.failed.killed:
        raise Lost(told.failed.message)
    return told, done.files


def interpreter(backend: str, gpu: bool, given: dict[str, Path]) -> Interpreter:
    """The interpreter that nodes run a backend in."""
    path = given.get(backend)
    return Interpreter(f"{backend}-cuda" if gpu else backend, str(path) if path else None)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Writes files of a job's folder, the answer last. Raises ProcessFailed if one has no place there."""
    for name, content in sorted(files.items(), key=lambda item: item[0] == ANSWER):
        parts = Path(name).parts
        if name not in (ANSWER, ARRAYS, LOG, ERROR) and not (
            len(parts) == 2 and parts[0] == MODEL and parts[1] != ".."
        ):
            raise ProcessFailed(f"a node's answer has a file {name!r}")
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
