"""Fills a disk while a cell runs, and tells what was lost:

    python -m tests.full_disk --out results/full_disk

in the environment bench, as a user who may mount, or under `unshare -rm`: the disk is a tmpfs. A tiny training on torch
keeps checkpoints and saves its model. At each stage the disk is filled but for some pages. Then it is emptied and the
same command is given again. No output may hold a traceback, the second run must end well, and losses, scores and logits
must be those of a disk with room. `OUT/full_disk.md` has a line for each try.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from benchmarks.workers.environments import CHECKOUT
from shared.job import ANSWER, CHECKPOINT, EVENTS, JOB
from shared.records import read_records
from tests.arrays import read_arrays

CELL = ("--backend", "torch", "--task", "acceptability", "--model", "random:bert-tiny", "--max-len", "16", "--limit")
COMMAND = (*CELL, "256", "--batch-size", "8", "--epochs", "4", "--threads", "1", "--checkpoint-every", "epoch")
SIZE = "200m"
PAGE = 4096
PAGES = (0, 1, 8, 64, 512, 4096)
"""Free pages that are left."""


def _any(pattern: str) -> Callable[[Path], bool]:
    return lambda out: any(out.glob(pattern))


STAGES: dict[str, Callable[[Path], bool]] = {
    "planning": lambda out: True,
    "loading": _any(f"jobs/*/{JOB}"),
    "first steps": _any(f"jobs/*/{EVENTS}"),
    "after a checkpoint": _any(f"jobs/*/{CHECKPOINT}/*"),
    "answered": _any(f"jobs/*/{ANSWER}"),
    "recorded": _any("records/*.json"),
}
"""Signs in the folder that a stage is reached."""


@dataclass(frozen=True)
class Try:
    """One filling of the disk."""

    stage: str
    pages: int
    code: int
    """Exit code of the command while the disk was full."""
    said: str
    """Its last line."""
    again: int
    """Exit code of the same command, once there was room."""
    trained_again: bool
    """Whether the second run trained."""
    holds: bool
    """Whether nothing was lost, and no traceback was told."""


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A disk of SIZE on the folder."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def start(disk: Path) -> subprocess.Popen[str]:
    """Starts the cell's command."""
    places = ("--out", disk / "out", "--save", disk / "saved")
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.run", *COMMAND, *map(str, places)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )


def fill(file: Path, pages: int) -> None:
    """Fills the disk that the file is on, but for so many pages."""
    with file.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(2**20))
        except OSError:
            pass
        try:
            while True:
                stream.write(bytes(PAGE))
        except OSError:
            pass
        stream.truncate(max(0, stream.tell() - pages * PAGE))


def outcome(disk: Path) -> tuple[object, ...]:
    """Losses, scores and logits of the cell, to the last bit, and the names of its saved model's files."""
    (record,) = read_records(disk / "out")
    arrays = {name: array.tobytes() for name, array in read_arrays(disk / "out", record).items()}
    saved = sorted(path.name for path in (disk / "saved" / record.id).iterdir())
    return record.answer.step_loss, record.answer.test, record.answer.predictions, arrays, saved


def try_once(place: Path, stage: str, pages: int, expected: tuple[object, ...]) -> Try:
    """Fills a disk at a stage, and empties it again."""
    with small_disk(place) as disk:
        full = disk / "full"
        with start(disk) as command:
            while command.poll() is None and not STAGES[stage](disk / "out"):
                time.sleep(0.01)
            fill(full, pages)
            output, _ = command.communicate()
        full.unlink()
        with start(disk) as again:
            second, _ = again.communicate()
        whole = again.returncode == 0 and outcome(disk) == expected
    place.rmdir()
    holds = whole and "Traceback" not in output + second
    return Try(stage, pages, command.returncode, told(output), again.returncode, "epoch 4/4" in second, holds)


def told(output: str) -> str:
    """Finds the line in which a command tells of the full disk; its last line if it says nothing."""
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    of_room = [line for line in lines if "room" in line or "No space" in line]
    return re.sub(r"/\S*/", "", (of_room or lines)[-1])


def main() -> int:
    """Tries each stage with each number of pages. Returns 1 if something was lost."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", type=Path, default=Path("full_disk"), help="folder of the results (full_disk)")
    made.add_argument("--stage", nargs="+", choices=STAGES, default=list(STAGES), help="stages (all)")
    made.add_argument("--pages", nargs="+", type=int, default=PAGES, help="free pages that are left (%(default)s)")
    options = made.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        with small_disk(Path(scratch, "roomy")) as disk:
            with start(disk) as command:
                assert command.wait() == 0
            expected = outcome(disk)
        tries = []
        for stage, pages in itertools.product(options.stage, options.pages):
            tries.append(try_once(Path(scratch, "disk"), stage, pages, expected))
            print(tries[-1], flush=True)
    table = pd.DataFrame([asdict(one) for one in tries])
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "full_disk.md").write_text(table.to_markdown(index=False) + "\n", encoding="utf-8")
    return 0 if all(one.holds for one in tries) else 1


if __name__ == "__main__":
    sys.exit(main())
