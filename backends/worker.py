"""Runs one job inside the backend's own environment: python -m backends.worker JOB_FOLDER

The exit code is 0 with an answer, 2 if the job is refused as bad input, and 1 if the work fails.
"""

# ruff: noqa: E402  the clock is read before anything slow is imported
from __future__ import annotations

import time

STARTED = time.perf_counter()

import gc
import importlib
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from msgspec import structs

from backends import BACKENDS
from shared.answer import Event, Loaded, OneRecorded, Predicted, Recorded, Trained
from shared.architecture import Architecture
from shared.checkpoint.config import read_architecture
from shared.checkpoint.saved import write_folder
from shared.checkpoint.weights import first_weights, saved_weights
from shared.contract import Build, Compiled, Load, Model
from shared.encoding import Encoded, read_encoded, trained_ids
from shared.errors import InputError
from shared.files import to_json, write_whole
from shared.finetune import finetune, predict
from shared.job import ANSWER, ARRAYS, CHECKPOINT, ERROR, EVENTS, RECORDING, Job, recording_folder, spare_folder
from shared.pack import Pack
from shared.recipe import Recipe
from shared.recording import record, record_pack, trained_ids_of
from shared.resuming import Checkpoints


def run_job(folder: Path) -> None:
    """Runs the folder's job, and writes events, answer and arrays into the folder. Raises InputError if the job is bad
    input."""
    job = Job.read(folder)
    answer, arrays, afterwards = _answer(job, folder, Events(folder / EVENTS).add)
    try:
        _leave(folder, answer, arrays)
    except OSError:  # hours of work are worth another place
        spare = spare_folder(folder)
        spare.mkdir(exist_ok=True)
        _leave(spare, answer, arrays)
    afterwards()


@dataclass
class Events:
    """The file that tells of progress."""

    file: Path
    stopped: bool = False
    """The disk took no more: training goes on without telling."""

    def add(self, event: Event) -> None:
        """Adds a line for the event."""
        if self.stopped:
            return
        try:
            with self.file.open("a", encoding="utf-8") as events:
                events.write(to_json(event) + "\n")
        except OSError:
            self.stopped = True


def _leave(folder: Path, answer: Trained | Recorded | Predicted, arrays: dict[str, np.ndarray]) -> None:
    np.savez(folder / ARRAYS, **arrays)  # type: ignore[arg-type]
    write_whole(folder / ANSWER, to_json(answer))


Answered = tuple[Trained | Recorded | Predicted, dict[str, np.ndarray], Callable[[], None]]
"""An answer, the logits of each split, [rows, labels], and what is left to do once both are on the disk."""


def _nothing() -> None:
    """Does nothing."""


def _answer(job: Job, folder: Path, on_event: Callable[[Event], None]) -> Answered:
    data = read_encoded(Path(job.data)) if job.kind != "answer" else {}
    checkpoint = Path(job.checkpoint)
    read_architecture(checkpoint, job.recipe, len(job.labels))  # bad input is refused before the slow imports
    begin = time.perf_counter()
    load = _loader(job)
    imported = time.perf_counter()

    if job.kind == "answer":
        pack = Pack.read(Path(str(job.pack)))
        return (
            record_pack(partial(_build, job, load, data), job.recipe, job.metrics, pack, folder / RECORDING),
            {},
            _nothing,
        )
    if job.kind == "record":
        return _record(job, data, on_event, folder), {}, _nothing
    model = _build(job, load, data, job.recipe)
    model.synchronize()
    loaded = Loaded(import_seconds=imported - begin, load_seconds=time.perf_counter() - imported)
    on_event(loaded)
    if job.kind == "predict":
        logits = {name: predict(model, split, job.recipe) for name, split in data.items()}
        return Predicted(import_seconds=loaded.import_seconds, load_seconds=loaded.load_seconds), logits, _nothing
    return _train(job, model, data, loaded, on_event, folder)


def _build(job: Job, load: Load, data: dict[str, Encoded], recipe: Recipe) -> Model:
    """A model of the job for the recipe."""
    checkpoint = Path(job.checkpoint)
    architecture = read_architecture(checkpoint, recipe, len(job.labels))
    if job.kind == "predict":
        weights = saved_weights(checkpoint, architecture)
    elif job.kind == "answer":
        weights = Pack.read(checkpoint).weights
    else:
        weights = first_weights(checkpoint, architecture, recipe, job.head)
    touched = _touched(job, data, architecture) if job.embedding_update == "rows" else None
    return load(Build(architecture, weights, recipe, job.device, job.threads, job.precision, job.compile, touched))


def _record(job: Job, data: dict[str, Encoded], on_event: Callable[[Event], None], folder: Path) -> Recorded:
    """Records the job's parts, then those of `then`, each from a new model. Tells of each but the last by an event."""
    pack, each = Pack.read(Path(str(job.pack))), (job.parts, *job.then)
    for number, parts in enumerate(each):
        build = partial(_build, job, _loader(replace(job, parts=parts)), data)
        recorded = record(build, data, job.recipe, job.metrics, pack, recording_folder(folder, number), on_event)
        if number < len(job.then):
            on_event(OneRecorded(dev=recorded.dev))
            gc.collect()  # models, which refer to themselves
    return recorded


def _touched(job: Job, data: dict[str, Encoded], architecture: Architecture) -> np.ndarray:
    """Ids of the words whose gradients the job asks for: those trained on, and those in the pack of a recording."""
    ids = trained_ids(data, architecture.vocab_size)
    return ids if job.pack is None else np.union1d(ids, trained_ids_of(Pack.read(Path(job.pack))))


def _train(
    job: Job,
    model: Model,
    data: dict[str, Encoded],
    loaded: Loaded,
    on_event: Callable[[Event], None],
    folder: Path,
) -> Answered:
    checkpoints = None
    if job.checkpoint_every is not None:
        checkpoints = Checkpoints(folder / CHECKPOINT, job.question().encode(), job.checkpoint_every)
    run = finetune(model, data, job.recipe, job.metrics, on_event, compiled=job.compile, checkpoints=checkpoints)
    answer = Trained(
        **structs.asdict(run.fit),
        import_seconds=loaded.import_seconds,
        load_seconds=loaded.load_seconds,
        start_seconds=run.first_step_at - STARTED,
        programs=model.programs() if isinstance(model, Compiled) else None,
        predictions={name: array.argmax(-1).tolist() for name, array in run.logits.items()},
    )
    if job.save and run.fit.diverged is None:
        return answer, run.logits, partial(_save, job, Path(job.save), model, folder)
    return answer, run.logits, _nothing


def _save(job: Job, target: Path, model: Model, folder: Path) -> None:
    """Saves the model, if need be in the spare folder. If that fails too, leaves the reason in the job's folder: the
    scores are answered already."""
    source = Path(job.checkpoint)
    architecture = read_architecture(source, job.recipe, len(job.labels))
    for place in (target, spare_folder(folder) / target.name):
        try:
            write_folder(place, model.weights(), architecture, source, job.task, job.labels, job.recipe.max_len)
            return
        except Exception as error:
            traceback.print_exc()
            reason = str(error)
    with suppress(OSError):
        write_whole(folder / ERROR, reason)


def _loader(job: Job) -> Load:
    backend = BACKENDS[job.backend]
    if job.device == "cpu":
        for name, value in backend.on_cpu.items():
            os.environ.setdefault(name, value)
    if job.parts:
        return partial(importlib.import_module(backend.module("parts")).load, parts=job.parts)
    load: Load = importlib.import_module(backend.adapter).load
    return load


def end_with_the_launcher() -> None:
    """Ends this process when the launcher ends, for whatever reason. The launcher holds the other end of standard
    input, so that this end is then closed."""

    def wait() -> None:
        while os.read(0, 1):  # sys.stdin would hold its lock when the interpreter ends
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    """Runs the job whose folder the command line names, and returns the exit code."""
    folder = Path(sys.argv[1])
    end_with_the_launcher()
    try:
        run_job(folder)
    except InputError as error:
        write_whole(folder / ERROR, str(error))
        return 2
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.stdout.flush()
    sys.exit(main())
