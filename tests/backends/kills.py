"""Kills workers at random moments of their training, and compares what the trainings come to:

    CONCORD_TEST_BACKEND=torch python -m tests.backends.kills --kills 12 --out results/kills

in the environment of that backend. A training with checkpoints is run once without kills. Then it is run while its
worker is killed by SIGKILL, and started again until it is over, as often as it takes. Losses, scores, predictions,
logits and the hash of what the steps received must be those of the training that was not killed, bit by bit.
`OUT/inside-BACKEND.csv` has a line for each kill.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from shared.answer import Trained
from shared.checkpoint.sources import resolve_model
from shared.encoding import Encoded, write_rows
from shared.files import from_json
from shared.job import ANSWER, ARRAYS, CHECKPOINT, EVENTS, JOB, Job
from shared.recipe import Recipe
from tests.backends.conftest import ROOT, THREADS
from tests.backends.test_resuming import BACKEND, METRICS, WIDTH, split, unmeasured

EVERY = 4
RECIPE = Recipe(max_len=WIDTH, batch_size=8, epochs=3, learning_rate=1e-3, padding="bucket", keep="best")
ROWS = {"train": 101, "dev": 40, "test": 40}


@dataclass(frozen=True)
class Kill:
    """One kill."""

    training: int
    moment: float
    """Seconds after the worker's model was ready."""
    begun: int
    """Step that the worker had begun from."""
    kept: int
    """Step of the checkpoint that it left."""
    writing: bool
    """Whether it left a half-written checkpoint too."""


def write_job(folder: Path, data: dict[str, Encoded]) -> None:
    write_rows(folder / "data", data)
    (folder / "job").mkdir()
    Job(
        kind="train",
        backend=BACKEND,
        task="toy",
        labels=("0", "1", "2"),
        metrics=METRICS,
        data=str(folder / "data"),
        checkpoint=str(resolve_model("random:bert-tiny")),
        recipe=RECIPE,
        device="cpu",
        threads=THREADS,
        checkpoint_every=EVERY,
    ).write(folder / "job")


def work(folder: Path, kill_after: float | None = None) -> float:
    """Runs a worker on the job. It is killed so many seconds after its model is ready, unless it ends before. Returns
    the time from there to its end."""
    (folder / EVENTS).unlink(missing_ok=True)
    with subprocess.Popen(
        [sys.executable, "-m", "backends.worker", str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(THREADS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not (folder / EVENTS).is_file() and process.poll() is None:
            time.sleep(0.01)
        ready = time.perf_counter()
        try:
            process.wait(kill_after)
            assert process.returncode == 0, f"the worker in {folder} ended with {process.returncode}"
        except subprocess.TimeoutExpired:
            process.kill()
    return time.perf_counter() - ready


def step_of(folder: Path) -> int:
    """Step of the checkpoint that the folder holds; 0 if there is none."""
    return max((int(file.name.split("-")[0]) for file in (folder / CHECKPOINT).glob("*.npz")), default=0)


def outcome(folder: Path) -> tuple[int, object]:
    """Number of interruptions, and what the training came to, bit by bit."""
    answer = from_json((folder / ANSWER).read_bytes(), Trained)
    with np.load(folder / ARRAYS) as arrays:
        logits = {name: array.tobytes() for name, array in arrays.items()}
    return answer.interruptions, (unmeasured(answer), answer.predictions, logits)


def kill(base: Path, training: int, draw: random.Random, seconds: float) -> tuple[list[Kill], Path]:
    """Runs a training, killed at each of its workers' moments but the last's. Returns the kills and its folder."""
    folder = base / f"killed-{training}"
    folder.mkdir()
    shutil.copyfile(base / "job" / JOB, folder / JOB)
    kills: list[Kill] = []
    while True:
        begun, moment = step_of(folder), draw.uniform(0, seconds)
        work(folder, moment)
        if (folder / ANSWER).is_file():
            return kills, folder
        writing = (folder / CHECKPOINT / "partial").exists()
        kills.append(Kill(training, round(moment, 3), begun, step_of(folder), writing))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    draw = random.Random(1)
    kills: list[Kill] = []
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        write_job(base, {name: split(rows, seed) for seed, (name, rows) in enumerate(ROWS.items())})
        seconds = work(base / "job")
        _, whole = outcome(base / "job")
        equal = trainings = 0
        while len(kills) < options.kills:
            new, folder = kill(base, trainings, draw, seconds)
            interruptions, found = outcome(folder)
            went_on = sum(one.kept > 0 for one in new)  # one that was killed again before it went on is not counted
            assert interruptions <= went_on
            equal += found == whole
            trainings, kills = trainings + 1, kills + new
            print(f"{len(kills)} kills, {equal} of {trainings} trainings equal", flush=True)
            shutil.rmtree(folder)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / f"inside-{BACKEND}.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Kill)])
        table.writeheader()
        table.writerows(map(asdict, kills))
    writing = sum(one.writing for one in kills)
    print(f"{BACKEND}: {len(kills)} kills, {writing} in the writing of a checkpoint, {equal} of {trainings} equal")
    sys.exit(0 if equal == trainings else 1)


if __name__ == "__main__":
    main()
