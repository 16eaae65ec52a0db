"""A job folder: how the runner asks a worker, in another interpreter, and how the worker answers.

`job.json` is the question. The worker appends to `events.jsonl` as it goes and leaves `answer.json` and `arrays.npz`,
or `error.json`; a `trace` leaves the folder `trace` too (shared.trace). Standard output belongs to the frameworks' own
chatter and means nothing.
"""

from __future__ import annotations

import json
import typing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from shared.files import write_whole
from shared.recipe import Recipe

Precision = Literal["float32", "bfloat16", "float16", "tf32", "float64"]
"""Of arithmetic: with bfloat16, float16 (whose loss is scaled) and tf32 that of matrix products and what lies between
them, while the last layer, the loss, gradients, moments and parameters are float32 (see `stored`). float64, in all of
it, is what parity takes as the truth."""

TRAINED: tuple[Precision, ...] = ("float32", "bfloat16", "float16", "tf32")
"""What trainings are compared in."""


def stored(precision: Precision) -> Literal["float32", "float64"]:
    """The type of parameters, gradients, moments and loss, and of every array that a model gives."""
    return "float64" if precision == "float64" else "float32"


JOB, EVENTS, ANSWER, ARRAYS, ERROR = "job.json", "events.jsonl", "answer.json", "arrays.npz", "error.json"
TRACE = "trace"


@dataclass(frozen=True)
class Job:
    """What a worker needs to know. Paths are absolute."""

    kind: Literal["train", "trace", "predict"]
    backend: str
    task: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    data: str
    """An encoded folder (shared.encoding) with the splits train, dev and, where there is one, test."""
    checkpoint: str
    """A folder in HuggingFace's layout; for `predict` one with the head too."""
    recipe: Recipe
    device: str
    threads: int
    precision: Precision = "float32"
    compile: bool = False
    """The framework's compiler is to make one program of a training step (see `shared.contract.Load`)."""
    steep_clip: float | None = None
    """`trace`: the clip at the steep settings (shared.trace); None to take a tenth of the gradient's norm."""
    stock: tuple[str, ...] = ()
    """`trace`: names of the framework's own parts (backends.parts) that take the place of the adapter's."""
    save: str | None = None
    """`train`: where to leave the fine-tuned model."""

    def write(self, folder: Path) -> None:
        values = asdict(self) | {"recipe": self.recipe.to_json()}
        write_whole(folder / JOB, json.dumps(values, indent=1))

    @classmethod
    def read(cls, folder: Path) -> Job:
        values: dict[str, Any] = json.loads((folder / JOB).read_text(encoding="utf-8"))
        values["recipe"] = Recipe.from_json(values["recipe"])
        for name in ("labels", "metrics", "stock"):
            values[name] = tuple(values[name])
        return cls(**values)


PRECISIONS = typing.get_args(Precision)
