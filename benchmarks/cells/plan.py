"""From a request to cells: everything that can be refused is refused here, before anything runs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from backends import BACKENDS, check_precision
from benchmarks.workers.environments import (
    Environment,
    find_environments,
    find_python,
    torch_converter,
)
from benchmarks.workers.machine import choose_device, choose_threads
from shared.architecture import Architecture
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import resolve_model, shown_model
from shared.checkpoint.weights import check_weights, checkpoint_hash
from shared.encoding import encode, read_encoded
from shared.errors import InputError
from shared.job import Job, Precision
from shared.presets import Preset, differing_fields
from shared.recipe import Recipe
from shared.records import cell_id
from shared.splits import choose_splits, choosing, rows_of_steps, splits_hash
from shared.tasks import Rows, Task, get_task


@dataclass(frozen=True)
class Request:
    """What the user asks for; the cells are its product."""

    backends: list[str]
    tasks: list[str]
    models: list[str]
    recipes: list[Recipe]
    device: str
    threads: int | None
    limit: int | None
    """Rows of each split, at most."""
    data_dir: Path | None
    pythons: dict[str, Path]
    steps: int | None = None
    """Of training: the training split is cut to what makes so many (`shared.splits.rows_of_steps`), `limit` to dev
    alone, and there is no test."""
    preset: Preset | None = None
    """Whose values were asked for; what differs from it is overridden."""
    precisions: tuple[Precision, ...] = ("float32",)
    compile: tuple[bool, ...] = (False,)


@dataclass(frozen=True)
class Question:
    """A task, a checkpoint and a recipe, which every backend can be asked."""

    task: Task
    model: str
    checkpoint: Path
    recipe: Recipe
    labels: tuple[str, ...]
    """Names, of those too that the head has beyond the task's."""
    splits: dict[str, Rows]
    data: Path
    """The splits, encoded."""

    def job(self, backend: str, device: str, threads: int, **fields: Any) -> Job:
        """To train on it; `fields` are others of Job, or in place of the question's own."""
        return _training(self, backend=backend, device=device, threads=threads, **fields)


@dataclass(frozen=True)
class Cell:
    """One run: a backend, a task, a checkpoint and a recipe on a device."""

    backend: str
    task: Task
    model: str
    checkpoint: Path
    recipe: Recipe
    labels: tuple[str, ...]
    device: str
    threads: int
    precision: Precision
    compile: bool
    splits: dict[str, Rows]
    data: Path
    """The splits, encoded."""
    environment: Environment
    asked: dict[str, Any]
    """What the cell is known by."""
    preset: dict[str, Any] | None
    """The `name` of the published recipe that was asked for, and what in it is `overridden`; no part of what the cell
    is known by."""

    @property
    def id(self) -> str:
        return cell_id(self.asked)

    @property
    def title(self) -> str:
        recipe = self.recipe
        mode = "" if self.precision == "float32" else f" {self.precision}"
        mode += " compiled" if self.compile else ""
        return (
            f"{self.task.name} {self.backend} len {recipe.max_len} batch {recipe.batch_size} seed {recipe.seed}{mode}"
        )

    def job(self, save: Path | None) -> Job:
        """The question for the worker, which leaves the fine-tuned model in `save` where that is given."""
        return _training(
            self,
            backend=self.backend,
            device=self.device,
            threads=self.threads,
            precision=self.precision,
            compile=self.compile,
            save=str(save) if save else None,
        )


def _training(asked: Question | Cell, **fields: Any) -> Job:
    own: dict[str, Any] = {
        "task": asked.task.name,
        "labels": asked.labels,
        "metrics": asked.task.metrics,
        "data": str(asked.data),
        "checkpoint": str(asked.checkpoint),
        "recipe": asked.recipe,
    }
    return Job(kind="train", **(own | fields))


def plan_cells(request: Request) -> list[Cell]:
    """The request's cells, backends varying fastest: what is compared runs close together. Raises InputError."""
    device = choose_device(request.device)
    threads = choose_threads(request.threads)
    for backend, precision in itertools.product(request.backends, request.precisions):
        check_precision(backend, device, precision)
    questions = plan_questions(request)
    # What takes longest comes last, when little else can be refused.
    hashes = {name: checkpoint_hash(folder) for name, folder in {q.model: q.checkpoint for q in questions}.items()}
    environments = find_environments(request.backends, request.pythons)
    cells = []
    for q in questions:
        data_hash = splits_hash(q.splits)
        for precision, compile, backend in itertools.product(request.precisions, request.compile, request.backends):
            asked = {
                "kind": "train",
                "backend": backend,
                "revision": BACKENDS[backend].revision,
                "versions": environments[backend].versions,
                "task": q.task.name,
                "data": data_hash,
                "checkpoint": hashes[q.model],
                "recipe": q.recipe.asked(),
                "device": device,
                "threads": threads,
            }
            # Left out at their defaults, as a recipe's fields are: no record from before them is orphaned.
            if precision != "float32":
                asked["precision"] = precision
            if compile:
                asked["compile"] = True
            cells.append(
                Cell(
                    backend=backend,
                    task=q.task,
                    model=shown_model(q.model),
                    checkpoint=q.checkpoint,
                    recipe=q.recipe,
                    labels=q.labels,
                    device=device,
                    threads=threads,
                    precision=precision,
                    compile=compile,
                    splits=q.splits,
                    data=q.data,
                    environment=environments[backend],
                    asked=asked,
                    preset=_named(request, q),
                )
            )
    return list({cell.id: cell for cell in cells}.values())


def plan_questions(request: Request) -> list[Question]:
    """Every task with every model and recipe of the request, read, checked and encoded, each once however many ask for
    it. Raises InputError."""
    tasks = [get_task(name) for name in request.tasks]
    if request.limit is not None and request.limit < 1:
        raise InputError(f"--limit {request.limit}: pass 1 or more rows")
    for backend in request.backends:
        find_python(backend, request.pythons)
    checkpoints = {name: resolve_model(name, torch_converter(request.pythons)) for name in request.models}
    rows = {task.name: task.load(request.data_dir) for task in tasks}

    @cache
    def splits_of(task: str, recipe: Recipe) -> dict[str, Rows]:
        return choose_splits(task, rows[task], recipe, request.limit if request.steps is None else None)

    questions = []
    encoded: dict[tuple[str, str, int], Path] = {}
    for task, model, recipe in itertools.product(tasks, request.models, request.recipes):
        labels = recipe.label_names(task.labels)
        architecture = read_architecture(checkpoints[model], recipe, len(labels))
        if task.pair:
            check_pairs(architecture, model, task.name, "task")
        check_weights(checkpoints[model], architecture)
        splits = splits_of(task.name, choosing(recipe))
        if request.steps is not None:
            dev = splits["dev"] if request.limit is None else splits["dev"].head(request.limit)
            splits = {"train": _rows_of_steps(splits["train"], recipe, request.steps), "dev": dev}
        wanted = splits_hash(splits), model, recipe.max_len
        if wanted not in encoded:
            encoded[wanted] = encode(splits, checkpoints[model], recipe.max_len, architecture.pad_id)
            check_token_ids(encoded[wanted], model, architecture)
        questions.append(Question(task, model, checkpoints[model], recipe, labels, splits, encoded[wanted]))
    return questions


def check_pairs(architecture: Architecture, model: str, source: str, kind: str) -> None:
    """Raises InputError where the network has no token type for the second text of a pair, and the source, which is of
    this kind, has pairs."""
    if architecture.model_type == "bert" and architecture.type_vocab_size < 2:
        raise InputError(f"{model} has type_vocab_size 1, and {source} has pairs; pass another model or {kind}")


def check_token_ids(data: Path, model: str, architecture: Architecture) -> None:
    """Raises InputError where the tokenizer gives an id for which the checkpoint has no embedding. Frameworks differ
    there: torch fails, MXNet takes the table's last row."""
    largest = max((int(split.ids.max(initial=0)) for split in read_encoded(data).values()), default=0)
    if largest >= architecture.vocab_size:
        raise InputError(
            f"{model}: its tokenizer gives token id {largest}, its config.json has vocab_size "
            f"{architecture.vocab_size}; pass a folder whose files belong together"
        )


def _named(request: Request, question: Question) -> dict[str, Any] | None:
    preset = request.preset
    if preset is None:
        return None
    overridden = [
        name
        for name, changed in (
            ("task", question.task.name != preset.task),
            ("model", question.model != preset.model),
            ("limit", request.limit is not None),
        )
        if changed
    ]
    return {"name": preset.name, "overridden": overridden + differing_fields(preset, question.recipe)}


def _rows_of_steps(rows: Rows, recipe: Recipe, steps: int) -> Rows:
    wanted = rows_of_steps(recipe, steps)
    if wanted > len(rows):
        raise InputError(
            f"--steps {steps}: {steps} batches of {recipe.batch_size} need {wanted} training rows, there are "
            f"{len(rows)}; pass fewer"
        )
    return rows.head(wanted)
