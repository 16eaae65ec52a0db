"""Rounds of overhead: the bare script and the worker, one right after the other."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from benchmarks.workers.attempts import attempts
from benchmarks.workers.environments import CHECKOUT
from benchmarks.workers.launcher import ScriptFailed, run_script, run_worker
from shared.architecture import Architecture
from shared.encoding import Encoded, write_rows
from shared.job import Job
from shared.recipe import Recipe

RECIPE = Recipe(max_len=64, batch_size=32, epochs=1, shuffle=False, schedule="constant", warm_up=0.0)
"""What the bare scripts do, in this project's words."""


SHORTEST = 8
"""Tokens of the shortest row; the longest has max_len. So rows are padded, and the mask is at work."""


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    step_seconds: float
    """Mean of the steps after the first, synchronised at both ends only."""
    start_seconds: float
    """From the process's first line to the first step: import, build and load."""
    first_step_seconds: float
    """With tracing or compilation."""
    peak_memory_bytes: int


@dataclass(frozen=True)
class Round:
    """The bare script and the worker, one right after the other."""

    backend: str
    bare: Cost
    ours: Cost
    busy_cores: float
    """Kept busy by other processes meanwhile."""


@dataclass(frozen=True)
class Setting:
    """What both sides of a backend are given."""

    backend: str
    python: Path
    checkpoint: Path
    work: Path
    """The folder that `write_work` filled."""
    threads: int


def write_work(folder: Path, architecture: Architecture, steps: int) -> None:
    """The same rows twice: as `batches.npz` for the bare scripts (see `run_bare`) and as the encoded
    folder `encoded` (see shared/encoding.py) for the worker, there with a dev split of the first batch. Ids, lengths
    from SHORTEST to max_len and labels are random, the same at every call."""
    random = np.random.RandomState(0)
    lengths = random.randint(SHORTEST, RECIPE.max_len + 1, (steps, RECIPE.batch_size))
    labels = random.randint(0, 2, lengths.shape)
    real = np.arange(RECIPE.max_len) < lengths[..., None]
    ids = np.where(real, random.randint(0, architecture.vocab_size, real.shape), architecture.pad_id).astype(np.int32)
    np.savez(folder / "batches.npz", input_ids=ids, attention_mask=real.astype(np.int32), labels=labels)
    splits = {}
    for split, count in (("train", steps), ("dev", 1)):
        tokens = ids[:count][real[:count]]
        offsets = np.concatenate([[0], np.cumsum(lengths[:count])])
        types = np.zeros(len(tokens), np.uint8)
        splits[split] = Encoded(tokens, types, offsets, labels[:count].ravel(), architecture.pad_id)
    write_rows(folder / "encoded", splits)


def measure_round(setting: Setting, bare_first: bool) -> Round:
    """The least disturbed of the attempts, of which there is one only where nothing disturbs it."""

    def both_sides() -> tuple[Cost, Cost]:
        if bare_first:
            bare, ours = run_bare(setting), run_ours(setting)
        else:
            ours, bare = run_ours(setting), run_bare(setting)
        return bare, ours

    (bare, ours), busy = min(attempts(both_sides), key=lambda attempt: attempt[1])
    return Round(setting.backend, bare, ours, busy)


def run_bare(setting: Setting) -> Cost:
    """The cost of the backend's bare script: `bare.py` of its room, a page that trains BERT as a user of that library
    alone would and imports nothing of this project.

        python -P bare.py CHECKPOINT BATCHES.npz THREADS ANSWER.json

    BATCHES.npz holds `input_ids` and `attention_mask` int32 [steps, b, s], and `labels` int64 [steps, b]. The answer's
    seconds count from the script's first line; memory is in bytes. Raises SystemExit if it fails."""
    script = CHECKOUT / "backends" / setting.backend / "bare.py"
    command = [setting.python, "-P", script, setting.checkpoint, setting.work / "batches.npz", setting.threads]
    try:
        took: dict[str, Any] = run_script(command, setting.work / "bare.json", setting.threads)
    except ScriptFailed as failure:
        _fail(str(failure), failure.tail)
    return Cost(
        step_seconds=took["other_steps_seconds"] / (len(took["losses"]) - 1),
        start_seconds=took["start_seconds"],
        first_step_seconds=took["first_step_seconds"],
        peak_memory_bytes=took["peak_memory_bytes"],
    )


def run_ours(setting: Setting) -> Cost:
    """What a real worker takes for a training job of the same steps. Raises SystemExit where it fails."""
    job = Job(
        kind="train",
        backend=setting.backend,
        task="overhead",
        labels=("0", "1"),
        metrics=("accuracy",),
        data=str(setting.work / "encoded"),
        checkpoint=str(setting.checkpoint),
        recipe=RECIPE,
        device="cpu",
        threads=setting.threads,
    )
    with tempfile.TemporaryDirectory(dir=setting.work) as folder:
        job.write(Path(folder))
        outcome = run_worker(setting.python, Path(folder), setting.threads, lambda event: None)
    if outcome.answer is None:
        _fail(f"{setting.backend}: {outcome.error}", outcome.tail)
    epoch, first = outcome.answer["epochs"][0], outcome.answer["first_step_seconds"]
    return Cost(
        step_seconds=(epoch["seconds"] - first) / (epoch["steps"] - 1),
        start_seconds=outcome.answer["start_seconds"],
        first_step_seconds=first,
        peak_memory_bytes=outcome.answer["peak_memory_bytes"],
    )


def _fail(message: str, tail: tuple[str, ...]) -> NoReturn:
    for line in tail:
        print(f"  | {line}", file=sys.stderr)
    raise SystemExit(f"benchmarks.overhead: {message}")
