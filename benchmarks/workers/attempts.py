"""What measuring commands share: scripts run in a backend's interpreter, attempts repeated while others disturb them,
encoded rows of their own choice, and quartiles."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.workers.environments import CHECKOUT, worker_variables
from benchmarks.workers.launcher import TAIL_LINES
from benchmarks.workers.machine import BusyCores
from shared.encoding import PARTS, Encoded

T = TypeVar("T")

DISTURBED = 0.1
"""What is measured while other processes keep more cores busy than this is measured again."""

ATTEMPTS = 3
"""How often it is measured at most."""


class ScriptFailed(Exception):
    """A script ended without its answer."""

    def __init__(self, message: str, tail: tuple[str, ...]) -> None:
        super().__init__(message)
        self.tail = tail
        """The last lines that it printed."""


def run_script(command: list[Any], answer: Path, threads: int, variables: dict[str, str] | None = None) -> Any:
    """Runs an interpreter with a script and its arguments, `answer` after them, and gives the JSON that it leaves.
    Raises ScriptFailed."""
    process = subprocess.run(
        [*map(str, command), str(answer)],
        cwd=CHECKOUT,
        env=worker_variables(threads) | (variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if process.returncode:
        script = next(Path(part).name for part in map(str, command[1:]) if part not in ("-m", "-P"))
        raise ScriptFailed(
            f"{script} ended with exit code {process.returncode}", tuple(process.stdout.splitlines()[-TAIL_LINES:])
        )
    return json.loads(answer.read_text())


def attempts(measure: Callable[[], T]) -> list[tuple[T, float]]:
    """What each attempt gave, and how many cores other processes kept busy meanwhile: one attempt only where nothing
    disturbs it, and ATTEMPTS at most."""
    made: list[tuple[T, float]] = []
    while not made or (made[-1][1] > DISTURBED and len(made) < ATTEMPTS):
        busy = BusyCores()
        found = measure()
        made.append((found, busy.by_others()))
    return made


def write_rows(folder: Path, splits: dict[str, Encoded]) -> None:
    """An encoded folder that `shared.encoding.read_encoded` reads, of rows that are encoded already."""
    for name, split in splits.items():
        (folder / name).mkdir(parents=True)
        for part in PARTS:
            np.save(folder / name / f"{part}.npy", getattr(split, part))
        (folder / "pad_id").write_text(str(split.pad_id))


def take_rows(data: Encoded, rows: np.ndarray) -> Encoded:
    """These rows (int64 [n]), in this order."""
    spans = [slice(data.offsets[row], data.offsets[row + 1]) for row in rows]
    return Encoded(
        ids=np.concatenate([data.ids[span] for span in spans]),
        types=np.concatenate([data.types[span] for span in spans]),
        offsets=np.concatenate([[0], np.cumsum(data.lengths[rows])]).astype(np.int64),
        labels=data.labels[rows],
        pad_id=data.pad_id,
    )


def code_hash() -> str:
    """Of what decides how fast training is: what was measured before a change does not count after it."""
    digest = hashlib.sha256()
    for part in ("shared", "backends", "benchmarks"):
        for file in sorted((CHECKOUT / part).rglob("*.py")):
            digest.update(file.relative_to(CHECKOUT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def quartiles(values: np.ndarray, form: str) -> str:
    """The median and, in brackets, the quartiles; of one value, the value."""
    low, median, high = (format(v, form) for v in np.percentile(values, (25, 50, 75)))
    return f"{median} ({low} – {high})" if len(values) > 1 else median
