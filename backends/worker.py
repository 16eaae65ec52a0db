"""Runs one job inside the backend's own environment: `python -m backends.worker JOB_FOLDER`.

Exit code 0 with an answer, 2 where the job asks for what cannot be done, 1 where the work failed.
"""

# ruff: noqa: E402  the clock is read before anything slow is imported
from __future__ import annotations

import time

STARTED = time.time()

import importlib
import json
import os
import sys
import threading
import traceback
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from backends import BACKENDS
from shared.checkpoint.config import read_architecture
from shared.checkpoint.saved import write_folder
from shared.checkpoint.weights import first_weights, saved_weights
from shared.contract import Build, Load, Model
from shared.encoding import read_encoded
from shared.errors import InputError
from shared.files import write_whole
from shared.finetune import Event, finetune, predict
from shared.job import ANSWER, ARRAYS, ERROR, EVENTS, TRACE, Job
from shared.recipe import Recipe
from shared.trace import trace


def run_job(folder: Path) -> None:
    """Does what the folder's job asks, and leaves events, answer and arrays there. Raises InputError."""
    job = Job.read(folder)
    with (folder / EVENTS).open("a", encoding="utf-8", buffering=1) as events:

        def on_event(event: Event) -> None:
            events.write(json.dumps(event) + "\n")

        answer, arrays = _answer(job, folder, on_event)
    np.savez(folder / ARRAYS, **arrays)  # type: ignore[arg-type]
    write_whole(folder / ANSWER, json.dumps(answer))


def _answer(job: Job, folder: Path, on_event: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    data = read_encoded(Path(job.data))
    checkpoint = Path(job.checkpoint)
    architecture = read_architecture(checkpoint, job.recipe, len(job.labels))  # refused before anything is imported
    begin = time.perf_counter()
    load = _loader(job)
    imported = time.perf_counter()

    def build(recipe: Recipe) -> Model:
        architecture = read_architecture(checkpoint, recipe, len(job.labels))
        if job.kind == "predict":
            weights = saved_weights(checkpoint, architecture)
        else:
            weights = first_weights(checkpoint, architecture, recipe)
        return load(Build(architecture, weights, recipe, job.device, job.threads, job.precision, job.compile))

    if job.kind == "trace":
        found = trace(build, data, job.recipe, job.metrics, job.steep_clip, folder / TRACE, on_event)
        return {"trace": found}, {}
    model = build(job.recipe)
    model.synchronize()
    answer: dict[str, Any] = {
        "import_seconds": imported - begin,
        "load_seconds": time.perf_counter() - imported,
    }
    on_event({"event": "loaded"} | answer)
    if job.kind == "predict":
        arrays = {name: predict(model, split, job.recipe) for name, split in data.items()}
    else:
        run = finetune(model, data, job.recipe, job.metrics, on_event)
        arrays = run.logits
        answer |= {name: value for name, value in asdict(run).items() if name not in ("logits", "first_step_at")}
        answer["start_seconds"] = run.first_step_at - STARTED
        answer["predictions"] = {name: logits.argmax(-1).tolist() for name, logits in arrays.items()}
        if job.save:
            write_folder(
                Path(job.save), model.weights(), architecture, checkpoint, job.task, job.labels, job.recipe.max_len
            )
    return answer, arrays


def _loader(job: Job) -> Load:
    backend = BACKENDS[job.backend]
    if job.stock:
        return partial(importlib.import_module(backend.module("parts")).load, parts=job.stock)
    load: Load = importlib.import_module(backend.adapter).load
    return load


def end_with_the_launcher() -> None:
    """The launcher holds the other end of standard input: when it goes, however it goes, so does this process."""

    def wait() -> None:
        while os.read(0, 1):  # not through sys.stdin, whose lock would be held when the interpreter ends
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    folder = Path(sys.argv[1])
    end_with_the_launcher()
    try:
        run_job(folder)
    except InputError as error:
        write_whole(folder / ERROR, json.dumps({"message": str(error)}))
        return 2
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.stdout.flush()
    sys.exit(main())
