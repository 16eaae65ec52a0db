"""Reads texts, asks each backend for their labels, and prints the answers."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from backends import BACKENDS
from benchmarks.cells.plan import check_pairs, check_token_ids
from benchmarks.cli.options import chosen_backends, chosen_pythons
from benchmarks.predict.output import Shown, largest_difference, predictions, print_predictions
from benchmarks.predict.task_split import read_task_split
from benchmarks.predict.texts import read_texts
from benchmarks.workers.conversion import converter, tokenizer_builder
from benchmarks.workers.environments import Environment, find_environments, find_python
from benchmarks.workers.launcher import ask
from benchmarks.workers.machine import choose_device, choose_threads
from benchmarks.workers.progress import RunProgress, terminal
from shared.answer import Predicted
from shared.checkpoint.config import read_architecture
from shared.checkpoint.saved import Saved, read_saved
from shared.checkpoint.sources import resolve_model
from shared.checkpoint.weights import check_weights
from shared.encoding import read_encoded, write_encoded
from shared.errors import InputError
from shared.job import ARRAYS, Job
from shared.metrics import probabilities, sigmoid
from shared.recipe import Recipe
from shared.tasks import Rows

BATCH = 32
"""Rows of a batch. They are of similar length, so that there is little padding."""

SPLIT = "texts"
"""Name of the encoded texts between this process and the workers."""


def predict(options: argparse.Namespace) -> None:
    """Reads, checks and encodes the texts, asks each backend, prints. Raises InputError and ProcessFailed."""
    names, texts = _names_and_texts(options)
    backends, pythons = chosen_backends(names), chosen_pythons(options.python)
    split = read_task_split(options, texts)
    if split is not None and split.files and len(backends) > 1:
        raise InputError(f"--submission is the answer of one backend; pass one of {', '.join(backends)}")
    rows = split.rows if split else read_texts(texts, options.file)
    with tempfile.TemporaryDirectory(prefix="concord.") as made:
        folder = Path(made)
        job, saved = _plan(rows, options, backends, pythons, folder)
        logits = _ask_each(job, find_environments(backends, pythons), folder)
    if split is not None:
        split.show_scores(options.model, job.labels, logits)
        if split.files:
            (of_one,) = logits.values()
            for line in split.submit(options.submission, split.columns(options.model, job.labels), of_one):
                print(line)
            return
    to_probabilities = sigmoid if saved.each_by_itself else probabilities
    found = {backend: to_probabilities(array) for backend, array in logits.items()}
    shown = Shown(backend=len(found) > 1, every_label=options.all, id=rows.ids is not None)
    print_predictions(predictions(rows, job.labels, found), shown, options.format)
    if len(found) > 1:
        print(
            f"largest difference of a probability between {', '.join(found)}: {largest_difference(found):.1e}",
            file=sys.stderr,
        )


def _names_and_texts(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The values of --backend as the command line has them, and the texts. argparse takes texts that directly follow
    --backend for its values. Raises InputError if texts stand in two places."""
    values = options.backend
    end = next((n for n, value in enumerate(values) if n and value not in (*BACKENDS, "all")), len(values))
    if options.texts and values[end:]:
        raise InputError(f"{values[end]!r} and {options.texts[0]!r} stand apart; pass the texts side by side")
    return values[:end], options.texts or values[end:]


def _plan(
    rows: Rows, options: argparse.Namespace, backends: list[str], pythons: dict[str, Path], to: Path
) -> tuple[Job, Saved]:
    """The job for the first backend, with the texts encoded in a new folder below `to`, and the model's use. Raises
    InputError for all that can be refused before anything runs."""
    device, threads = choose_device(options.device), choose_threads(options.threads)
    for backend in backends:
        find_python(backend, pythons)
    checkpoint = resolve_model(options.model, converter(pythons), tokenizer_builder(pythons))
    saved = read_saved(checkpoint)
    max_len = saved.max_len if options.max_len is None else options.max_len
    recipe = Recipe(max_len=max_len, padding="longest", batch_size=BATCH)
    architecture = read_architecture(checkpoint, recipe, len(saved.labels))
    if rows.second is not None:
        check_pairs(architecture, options.model, "the input", "single texts")
    check_weights(checkpoint, architecture, head=True)
    data = to / "encoded"
    data.mkdir()
    write_encoded({SPLIT: rows}, checkpoint, max_len, architecture.pad_id, data)
    check_token_ids(data, options.model, architecture)
    job = Job(
        kind="predict",
        backend=backends[0],
        task=saved.task_name or "",
        labels=saved.labels,
        metrics=(),
        data=str(data),
        checkpoint=str(checkpoint),
        recipe=recipe,
        device=device,
        threads=threads,
    )
    return job, saved


def _ask_each(job: Job, environments: dict[str, Environment], folder: Path) -> dict[str, np.ndarray]:
    """Each backend's logits, [texts, labels]; shows progress on standard error. Raises ProcessFailed, and InputError if
    logits are not finite."""
    logits = {}
    with RunProgress(terminal(stderr=True), len(environments)) as progress:
        longest, lengths = job.recipe.max_len, read_encoded(Path(job.data))[SPLIT].lengths
        if filled := int((lengths == longest).sum()):
            progress.line(f"{filled} of {len(lengths)} inputs fill {longest} tokens: longer ones are cut (--max-len)")
        for backend, environment in environments.items():
            own, python = replace(job, backend=backend), environment.python
            answer = ask(backend, own, python, folder / backend, Predicted, progress)
            with np.load(folder / backend / ARRAYS) as arrays:
                logits[backend] = arrays[SPLIT]
            if not np.isfinite(logits[backend]).all():
                raise InputError(f"{job.checkpoint}: {backend} computes NaN or infinity with its weights; mend them")
            progress.end(f"loaded in {answer.import_seconds + answer.load_seconds:.1f} s")
    return logits
