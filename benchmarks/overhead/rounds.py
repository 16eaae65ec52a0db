"""Rounds of overhead: the bare script and the worker, one right after the other."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import Struct

from backends import BACKENDS
from benchmarks.workers.attempts import attempts
from benchmarks.workers.launcher import check_finished, run_script, run_worker
from shared.answer import Trained
from shared.architecture import Architecture
from shared.encoding import Encoded, write_rows
from shared.errors import ProcessFailed
from shared.job import Job
from shared.recipe import Recipe

RECIPE = Recipe(max_len=64, batch_size=32, epochs=1, shuffle=False, schedule="constant", warm_up=0.0)
"""The work of the bare scripts, as a recipe."""

SHORTEST = 8
"""Tokens of the shortest row. The longest has max_len, so that rows are padded and the mask is at work."""


@dataclass(frozen=True)
class Cost:
    """The cost of one process."""

    step_seconds: float
    """The mean of the steps after the first, synchronised at both ends only."""
    start_seconds: float
    """Time from the process's first line to the first step: import, build and load."""
    first_step_seconds: float
    """Compilation included."""
    peak_memory_bytes: int


@dataclass(frozen=True)
class Round:
    """The bare script and the worker, one right after the other."""

    backend: str
    bare: Cost
    ours: Cost
    busy_cores: float
    """Cores that other processes kept busy meanwhile."""


@dataclass(frozen=True)
class SameWork:
    """The work that both sides of a backend are given."""

    backend: str
    python: Path
    checkpoint: Path
    folder: Path
    """Filled by `write_work`."""
    threads: int


class BareAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer of a bare script. Seconds count from its first line."""

    import_seconds: float
    load_seconds: float
    start_seconds: float
    """The first two together."""
    first_step_seconds: float
    other_steps_seconds: float
    peak_memory_bytes: int
    losses: list[float]
    """Losses, one a step."""


def write_work(folder: Path, architecture: Architecture, steps: int) -> None:
    """Writes the same rows twice: as `batches.npz` for the bare scripts (see `run_bare`), and as the encoded folder
    `encoded` (shared.encoding) for the worker, with the first batch as its dev split. Ids, labels and lengths from
    SHORTEST to max_len are random, and the same at every call."""
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


def measure_round(work: SameWork, bare_first: bool) -> Round:
    """Measures both sides, again if other processes disturb them. The least disturbed attempt counts. Raises
    ProcessFailed."""

    def both_sides() -> tuple[Cost, Cost]:
        if bare_first:
            bare, ours = run_bare(work), run_ours(work)
        else:
            ours, bare = run_ours(work), run_bare(work)
        return bare, ours

    (bare, ours), busy = min(attempts(both_sides), key=lambda attempt: attempt[1])
    return Round(work.backend, bare, ours, busy)


def run_bare(work: SameWork) -> Cost:
    """The cost of the backend's bare script: `bare.py` of its room, a page that trains BERT as a user of that library
    alone would, and that imports nothing of this project.

        python -P bare.py CHECKPOINT BATCHES.npz THREADS ANSWER.json

    BATCHES.npz holds `input_ids` and `attention_mask` int32 [steps, b, s], and `labels` int64 [steps, b]. The answer is
    a BareAnswer. Raises ProcessFailed."""
    BACKENDS[work.backend].module("bare")  # refused if the room lacks it
    script = BACKENDS[work.backend].folder / "bare.py"
    command = [work.python, "-P", script, work.checkpoint, work.folder / "batches.npz", work.threads]
    try:
        answer = run_script(command, work.folder / "bare.json", work.threads, BareAnswer)
    except ProcessFailed as failure:
        raise ProcessFailed(f"{work.backend}: {failure}", failure.tail) from None
    return Cost(
        step_seconds=answer.other_steps_seconds / (len(answer.losses) - 1),
        start_seconds=answer.start_seconds,
        first_step_seconds=answer.first_step_seconds,
        peak_memory_bytes=answer.peak_memory_bytes,
    )


def run_ours(work: SameWork) -> Cost:
    """The cost of a worker that trains the same steps. Raises ProcessFailed."""
    job = Job(
        kind="train",
        backend=work.backend,
        task="overhead",
        labels=("0", "1"),
        metrics=("accuracy",),
        data=str(work.folder / "encoded"),
        checkpoint=str(work.checkpoint),
        recipe=RECIPE,
        device="cpu",
        threads=work.threads,
    )
    with tempfile.TemporaryDirectory(dir=work.folder) as folder:
        job.write(Path(folder))
        try:
            answer = run_worker(work.python, Path(folder), work.threads, lambda event: None, Trained)
            check_finished(answer)
        except ProcessFailed as failure:
            raise ProcessFailed(f"{work.backend}: {failure}", failure.tail, failure.refused) from None
    (epoch,) = answer.epochs
    return Cost(
        step_seconds=(epoch.seconds - answer.first_step_seconds) / (epoch.steps - 1),
        start_seconds=answer.start_seconds,
        first_step_seconds=answer.first_step_seconds,
        peak_memory_bytes=answer.peak_memory_bytes,
    )
