"""Failures of cells, kept until the cell is answered: `failed/ID.json` under the folder of a run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from benchmarks.cells.plan import Cell
from shared.errors import ProcessFailed
from shared.files import from_json, to_json, write_whole
from shared.partial import remove_left_over
from shared.records import Asked

LARGEST = 2**20
"""Bytes of a file that may be a failure."""


class Failure(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cell that failed."""

    id: str
    asked: Asked
    title: str
    reason: str
    tail: list[str]
    """The last lines that its worker printed."""
    ended: str
    """ISO 8601, UTC."""

    @property
    def line(self) -> str:
        """Cell and reason."""
        return f"{self.title}: {self.reason}"


def failure_path(out: Path, cell: str) -> Path:
    """The file of a cell's failure."""
    return out / "failed" / f"{cell}.json"


def remove_half_kept(out: Path) -> None:
    """Removes failures that a process was killed at keeping. A run without failures writes none, and else removes
    none."""
    remove_left_over(failure_path(out, "").parent)


def keep_failure(out: Path, cell: Cell, failure: ProcessFailed) -> None:
    """Keeps the failure of a cell, as long as the disk has room."""
    kept = Failure(
        id=cell.id,
        asked=cell.asked,
        title=cell.title,
        reason=str(failure),
        tail=list(failure.tail),
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    with suppress(OSError):
        write_whole(failure_path(out, cell.id), to_json(kept, indent=1))


def read_failure(out: Path, cell: str) -> Failure | None:
    """The failure of a cell; None if there is none. A file that is broken says nothing, and the cell runs again."""
    path = failure_path(out, cell)
    try:
        if path.stat().st_size > LARGEST:
            return None
        failure = from_json(path.read_bytes(), Failure)
    except (OSError, ValueError, RecursionError):
        return None
    return failure if failure.id == cell else None


def forget_failure(out: Path, cell: str) -> None:
    """Removes the failure of a cell that is answered now."""
    with suppress(OSError):
        failure_path(out, cell).unlink()


@dataclass
class Alike:
    """Counts failures in a row that are alike, for each backend by itself."""

    most: int
    """Number of them after which a backend's other cells are left out; 0 for no limit."""
    found: dict[str, tuple[str, int]] = field(default_factory=dict)

    def add(self, backend: str, reason: str | None) -> bool:
        """A cell has failed for this reason, or was answered. Returns whether that was one failure too many."""
        before, count = self.found.get(backend, (None, 0))
        count = 0 if reason is None else count + 1 if reason == before else 1
        self.found[backend] = str(reason), count
        return self.reached(backend)

    def reached(self, backend: str) -> bool:
        """Whether the backend's other cells are left out."""
        return bool(self.most) and self.found.get(backend, ("", 0))[1] >= self.most
