"""From a request to cells: everything that can be refused is refused here, before anything runs."""

from __future__ import annotations

import itertools
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends import BACKENDS
from benchmarks.environments import Environment, find_environment, find_python
from benchmarks.machine import gpus
from shared.architecture import Architecture
from shared.checkpoint import check_weights, checkpoint_hash, read_architecture
from shared.encoding import encode, read_encoded
from shared.errors import InputError
from shared.job import Job
from shared.models import resolve_model
from shared.recipe import Recipe
from shared.records import cell_id
from shared.splits import choose_splits, splits_hash
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
    data_dir: Path | None
    pythons: dict[str, Path]


@dataclass(frozen=True)
class Cell:
    """One run: a backend, a task, a checkpoint and a recipe on a device."""

    backend: str
    task: Task
    model: str
    checkpoint: Path
    recipe: Recipe
    device: str
    threads: int
    splits: dict[str, Rows]
    data: Path
    """The splits, encoded."""
    environment: Environment
    asked: dict[str, Any]
    """What the cell is known by."""

    @property
    def id(self) -> str:
        return cell_id(self.asked)

    @property
    def title(self) -> str:
        recipe = self.recipe
        return f"{self.task.name} {self.backend} len {recipe.max_len} batch {recipe.batch_size} seed {recipe.seed}"

    def job(self, save: Path | None) -> Job:
        """The question for the worker, which leaves the fine-tuned model in `save` where that is given."""
        return Job(
            kind="train",
            backend=self.backend,
            task=self.task.name,
            labels=self.task.labels,
            metrics=self.task.metrics,
            data=str(self.data),
            checkpoint=str(self.checkpoint),
            recipe=self.recipe,
            device=self.device,
            threads=self.threads,
            save=str(save) if save else None,
        )


def plan_cells(request: Request) -> list[Cell]:
    """The request's cells, backends varying fastest: what is compared runs close together. Raises InputError."""
    tasks = [get_task(name) for name in request.tasks]
    device = choose_device(request.device)
    threads = choose_threads(request.threads)
    if request.limit is not None and request.limit < 1:
        raise InputError(f"--limit {request.limit}: pass 1 or more rows")
    for backend in request.backends:
        find_python(backend, request.pythons)
    checkpoints = {name: resolve_model(name, lambda: _torch_python(request.pythons)) for name in request.models}
    rows = {task.name: task.load(request.data_dir) for task in tasks}
    questions = []
    for task, model, recipe in itertools.product(tasks, request.models, request.recipes):
        architecture = read_architecture(checkpoints[model], recipe, len(task.labels))
        if task.pair and architecture.model_type == "bert" and architecture.type_vocab_size < 2:
            raise InputError(f"{model} has type_vocab_size 1, and {task.name} has pairs; pass another model or task")
        check_weights(checkpoints[model], architecture)
        splits = choose_splits(task.name, rows[task.name], recipe, request.limit)
        data = encode(splits, checkpoints[model], recipe.max_len, architecture.pad_id)
        _check_token_ids(data, model, architecture)
        questions.append((task, model, recipe, splits, data))
    # What takes longest comes last, when little else can be refused.
    hashes = {name: checkpoint_hash(folder) for name, folder in checkpoints.items()}
    environments = _environments(request)
    cells = []
    for task, model, recipe, splits, data in questions:
        data_hash = splits_hash(splits)
        for backend in request.backends:
            asked = {
                "kind": "train",
                "backend": backend,
                "revision": BACKENDS[backend].revision,
                "versions": environments[backend].versions,
                "task": task.name,
                "data": data_hash,
                "checkpoint": hashes[model],
                "recipe": recipe.asked(),
                "device": device,
                "threads": threads,
            }
            cells.append(
                Cell(
                    backend=backend,
                    task=task,
                    model=_model_name(model),
                    checkpoint=checkpoints[model],
                    recipe=recipe,
                    device=device,
                    threads=threads,
                    splits=splits,
                    data=data,
                    environment=environments[backend],
                    asked=asked,
                )
            )
    return list({cell.id: cell for cell in cells}.values())


def choose_device(asked: str) -> str:
    """`auto` is the first NVIDIA GPU that the driver shows, else the CPU; `cuda` is `cuda:0`. Raises InputError for a
    GPU that is not there."""
    if asked == "cpu":
        return "cpu"
    found = gpus()
    if asked == "auto":
        return "cuda:0" if found else "cpu"
    match = re.fullmatch(r"cuda(?::(\d+))?", asked)
    if not match:
        raise InputError(f"--device {asked!r} is none of auto, cpu, cuda and cuda:N")
    number = int(match[1] or 0)
    if number >= len(found):
        raise InputError(f"--device {asked}: the driver shows {len(found)} NVIDIA GPUs here; pass --device cpu")
    return f"cuda:{number}"


def choose_threads(asked: int | None) -> int:
    """The number asked for, or one for each processor that this process may use. Raises InputError."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if asked is None:
        return available
    if not 1 <= asked <= available:
        raise InputError(f"--threads {asked}: pass 1 to {available}, the processors here")
    return asked


def _check_token_ids(data: Path, model: str, architecture: Architecture) -> None:
    """Raises InputError where the tokenizer gives an id for which the checkpoint has no embedding. Frameworks differ
    there: torch fails, MXNet takes the table's last row."""
    largest = max((int(split.ids.max(initial=0)) for split in read_encoded(data).values()), default=0)
    if largest >= architecture.vocab_size:
        raise InputError(
            f"{model}: its tokenizer gives token id {largest}, its config.json has vocab_size "
            f"{architecture.vocab_size}; pass a folder whose files belong together"
        )


def _environments(request: Request) -> dict[str, Environment]:
    with ThreadPoolExecutor() as pool:  # an interpreter takes half a second to tell what it has
        found = pool.map(lambda backend: find_environment(backend, request.pythons), request.backends)
        return dict(zip(request.backends, found, strict=True))


def _torch_python(given: dict[str, Path]) -> str:
    return str(find_environment("torch", given).python)


def _model_name(model: str) -> str:
    """As asked, but a folder is named by its last part: records carry no paths."""
    return Path(model).resolve().name if Path(model).is_dir() else model
