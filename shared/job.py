"""The job folder: the runner's question to a worker in another interpreter, and the worker's answer.

`job.json` is the question. The worker appends to `events.jsonl` as it works, and leaves `answer.json` and `arrays.npz`,
or `error.txt`. A `record` or an `answer` leaves the folder `recording` too (shared.recording); a `train` may keep
checkpoints in the folder `checkpoint` (shared.resuming). Standard output is left to the frameworks' messages, and
nobody reads it.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from shared.files import from_json, to_json, write_whole
from shared.recipe import Recipe

Precision = Literal["float32", "bfloat16", "float16", "tf32", "float64"]
"""Precision of the arithmetic. bfloat16, float16 (whose loss is scaled) and tf32 apply to matrix products and what lies
between them; the last layer, the loss, gradients, moments and parameters stay float32 (see `stored`). float64 applies
to everything; parity takes its results as the truth."""

EmbeddingUpdate = Literal["dense", "rows"]
"""How the word embedding is updated: all of its rows at every step, or only those that training can touch, while the
others' decay waits until they are read (backends/word_rows.py)."""

EMBEDDING_UPDATES: tuple[EmbeddingUpdate, ...] = get_args(EmbeddingUpdate)

TRAINED: tuple[Precision, ...] = ("float32", "bfloat16", "float16", "tf32")
"""Precisions that trainings are compared in."""


def stored(precision: Precision) -> Literal["float32", "float64"]:
    """The type of parameters, gradients, moments and loss, and of every array that a model returns."""
    return "float64" if precision == "float64" else "float32"


JOB, EVENTS, ANSWER, ARRAYS, ERROR = "job.json", "events.jsonl", "answer.json", "arrays.npz", "error.txt"
RECORDING = "recording"
CHECKPOINT = "checkpoint"


def recording_folder(folder: Path, number: int) -> Path:
    """The place of one of the job's recordings, counted from 0."""
    return folder / (f"{RECORDING}-{number}" if number else RECORDING)


Every = int | Literal["epoch"]
"""How often a training keeps a checkpoint: after so many steps each time, or after each epoch."""


def spare_folder(folder: Path) -> Path:
    """The place of answer and arrays if the job's folder cannot take them, as on a full disk: in the system's folder
    for temporary files."""
    return Path(tempfile.gettempdir()) / f"concord-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Job:
    """The work that a worker is asked to do. Paths are absolute."""

    kind: Literal["train", "record", "answer", "predict"]
    """`record` and `answer` both record a pack: the one by the loop over `data`, the other by the pack's batches."""
    backend: str
    task: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    data: str
    """An encoded folder (shared.encoding) with the splits train, dev and, if there is one, test; empty for `answer`."""
    checkpoint: str
    """A folder in HuggingFace's layout. For `predict` it has the head too; for `answer` it is the pack."""
    recipe: Recipe
    device: str
    threads: int
    precision: Precision = "float32"
    compile: bool = False
    """Whether to compile with the framework's compiler (see `shared.contract.Build`)."""
    embedding_update: EmbeddingUpdate = "dense"
    pack: str | None = None
    """For `record` and `answer`: the pack (shared.pack)."""
    parts: tuple[str, ...] = ()
    """For `record` and `answer`: names of the framework's own parts (backends.parts) in place of the adapter's."""
    then: tuple[tuple[str, ...], ...] = ()
    """For `record`: more such sets of names. Each is recorded after the one before, in the same process."""
    head: tuple[int, ...] = ()
    """For `train`: the stored head's row for each label, to start from; empty to draw a new head."""
    save: str | None = None
    """For `train`: folder to save the fine-tuned model in; None to save none."""
    checkpoint_every: Every | None = None
    """For `train`: how often a checkpoint is kept in the folder `checkpoint` (shared.resuming); None to keep none. A
    worker that is started on the folder again goes on from it."""

    def write(self, folder: Path) -> None:
        """Writes the job into its folder."""
        write_whole(folder / JOB, to_json(self, indent=1))

    def question(self) -> str:
        """The text of what is asked: the job without what does not change its answer. (A backend whose answer changes
        with its checkpoints has other cells, and so other folders, with them.)"""
        return to_json(replace(self, save=None, checkpoint_every=None))

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Reads the job of a folder."""
        return from_json((folder / JOB).read_bytes(), cls)
