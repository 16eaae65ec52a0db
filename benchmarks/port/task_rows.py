"""The source of a pack of a real checkpoint and a task's rows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

import numpy as np

from benchmarks.cells.plan import Question
from benchmarks.port.pack import Source
from shared.batching import evaluation_order, make_batch
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import shown_model
from shared.checkpoint.tokenizer import tokenizer_files
from shared.checkpoint.weights import first_weights
from shared.encoding import Encoded, read_encoded
from shared.files import read_json, write_json
from shared.finetune import epochs
from shared.pack import PACK_WEIGHTS
from shared.recipe import Recipe
from shared.recording import GIVEN


@contextmanager
def of_task(question: Question, steps: int, dev_batches: int | None = 2) -> Iterator[Source]:
    """The source of a checkpoint and the first batches of a task: those of `steps` training steps, and of dev this
    many, or all."""
    recipe, checkpoint = question.recipe, question.checkpoint
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_batches(read_encoded(question.data), recipe, steps, dev_batches, folder)
        architecture = read_architecture(checkpoint, recipe, len(question.labels))
        np.savez(folder / PACK_WEIGHTS, **first_weights(checkpoint, architecture, recipe))  # type: ignore[arg-type]
        config = read_json(checkpoint / "config.json")
        config |= {"id2label": {str(n): name for n, name in enumerate(question.labels)}}
        config |= {"label2id": {name: n for n, name in enumerate(question.labels)}}
        write_json(folder / "config.json", config)
        for file in tokenizer_files(checkpoint):
            shutil.copy(file, folder)
        yield Source(folder, f"{shown_model(question.model)} on {question.task.name}", recipe)


def write_batches(data: dict[str, Encoded], recipe: Recipe, steps: int, dev_batches: int | None, folder: Path) -> None:
    """Writes the first batches of `train` and `dev`, in the loop's order, under the names that `_runs` reads."""
    rows = [rows for rows, _ in islice(chain.from_iterable(epochs(data["train"], recipe)), steps)]
    dev = evaluation_order(recipe, data["dev"].lengths)[:dev_batches]
    named = {f"train-{n}": ("train", batch) for n, batch in enumerate(rows, 1)}
    named |= {f"dev-{n}": ("dev", batch) for n, batch in enumerate(dev, 1)}
    named |= {"eval": ("train", rows[0]), "dropout": ("train", rows[0])}
    (folder / "batches").mkdir()
    for name, (split, batch) in named.items():
        asked = make_batch(data[split], batch, recipe).asked
        as_int64 = {key: asked[given].astype(np.int64) for given, key in GIVEN.items()}
        np.savez(folder / "batches" / f"{name}.npz", **as_int64)  # type: ignore[arg-type]
