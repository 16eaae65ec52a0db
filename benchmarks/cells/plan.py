"""From a request to cells. Everything that can be refused is refused here, before anything runs."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

from backends import BACKENDS, check_compile, check_embedding_update, check_padding, check_precision
from benchmarks.cells.embedding_update import quicker_update
from benchmarks.cells.engine import LOCAL, Engine
from benchmarks.workers.conversion import converter, tokenizer_builder
from benchmarks.workers.environments import Environment
from shared.architecture import Architecture
from shared.batching import check_steps
from shared.checkpoint.config import OF_RECIPE, read_architecture
from shared.checkpoint.sources import find_model
from shared.checkpoint.start import PLAIN, Head, Start, choose_start
from shared.checkpoint.tokenizer import tokens_version
from shared.checkpoint.weights import check_finite, check_weights, checkpoint_hash
from shared.encoding import encode, read_encoded
from shared.errors import InputError
from shared.job import EmbeddingUpdate, Every, Job, Precision
from shared.presets import Preset, differing_fields
from shared.recipe import Recipe
from shared.records import Asked, PresetUse, cell_id
from shared.splits import CHOOSING, choose_splits, rows_of_steps, splits_hash
from shared.tasks import Reading, Rows, Task, get_task


@dataclass(frozen=True)
class Request:
    """The user's request. Every combination of its lists is a cell."""

    backends: list[str]
    tasks: list[str]
    models: list[str]
    recipes: list[Recipe]
    device: str
    threads: int | None
    limit: int | None
    """The most rows of each split."""
    data_dir: Path | None
    pythons: dict[str, Path]
    steps: int | None = None
    """Training steps. If given, the training split is cut to the rows of so many (`shared.splits.rows_of_steps`),
    `limit` cuts dev alone, and there is no test."""
    preset: Preset | None = None
    """The published recipe that was asked for. What differs from it is overridden."""
    precisions: tuple[Precision, ...] = ("float32",)
    compile: tuple[bool, ...] = (False,)
    embedding_updates: tuple[EmbeddingUpdate, ...] = ()
    """None for the one that is quicker (`quicker_update`)."""
    head: Head = "new"
    reading: Reading | None = None
    """How own data among the tasks is read."""
    checkpoint_every: Every | None = None
    """How often a training keeps a checkpoint."""


@dataclass(frozen=True)
class Question:
    """A task, a checkpoint and a recipe: what a cell asks, whatever the backend."""

    task: Task
    model: str
    checkpoint: Path
    recipe: Recipe
    labels: tuple[str, ...]
    """Names of the head's labels. There may be more than the task's."""
    splits: dict[str, Rows]
    data: Path
    """The splits, encoded."""
    start: Start = PLAIN
    """The head and the pooler that training starts from."""
    model_commit: str | None = None
    """The hub's commit of the checkpoint; None if it is not from the hub."""

    @property
    def architecture(self) -> Architecture:
        """The architecture of the checkpoint under this head."""
        return read_architecture(self.checkpoint, self.recipe, len(self.labels))

    @property
    def commits(self) -> dict[str, str]:
        """The hub's commit of the model and of the data, as far as they are from there."""
        known = {"model": self.model_commit, "data": self.splits["train"].commit}
        return {name: commit for name, commit in known.items() if commit is not None}

    def job(self, backend: str, device: str, threads: int) -> Job:
        """The job that trains a backend on it."""
        return Job(
            kind="train",
            backend=backend,
            task=self.task.name,
            labels=self.labels,
            metrics=self.task.metrics,
            data=str(self.data),
            checkpoint=str(self.checkpoint),
            recipe=self.recipe,
            device=device,
            threads=threads,
            head=self.start.rows,
        )


@dataclass(frozen=True)
class Cell:
    """One run: a question, and the backend, device and precision that answer it."""

    question: Question
    backend: str
    device: str
    threads: int
    precision: Precision
    compile: bool
    environment: Environment
    asked: Asked
    """The cell is known by this."""
    preset: PresetUse | None
    """Not part of what the cell is known by."""
    checkpoint_every: Every | None = None
    """Neither is this, but for a backend that starts dropout's stream again at each checkpoint."""
    embedding_update: EmbeddingUpdate = "dense"
    named_update: bool = False
    """Whether the title names the update: it was asked for."""

    @cached_property
    def id(self) -> str:
        """The name of the cell's record."""
        return cell_id(self.asked)

    @property
    def recipe(self) -> Recipe:
        """The question's recipe."""
        return self.question.recipe

    @property
    def title(self) -> str:
        """The label of the progress line."""
        recipe = self.recipe
        words = f"{self.question.task.name} {self.backend} len {recipe.max_len} batch {recipe.batch_size}"
        words += f" seed {recipe.seed}"
        words += "" if self.precision == "float32" else f" {self.precision}"
        words += " compiled" if self.compile else ""
        return words + (f" {self.embedding_update}" if self.named_update else "")

    def job(self, save: Path | None) -> Job:
        """The job for the worker, which leaves the fine-tuned model in `save` if that is given."""
        job = self.question.job(self.backend, self.device, self.threads)
        return replace(
            job,
            precision=self.precision,
            compile=self.compile,
            embedding_update=self.embedding_update,
            save=str(save) if save else None,
            checkpoint_every=self.checkpoint_every,
        )


def plan_cells(request: Request, engine: Engine = LOCAL) -> list[Cell]:
    """The request's cells, as the engine can run them. Backends vary fastest, so that what is compared runs close
    together. Raises InputError."""
    device = engine.choose_device(request.device)
    threads = engine.choose_threads(request.threads, device)
    _refuse_what_backends_lack(request, device)
    questions = plan_questions(request, engine)
    if "rows" in request.embedding_updates:
        for q in questions:
            check_embedding_update("rows", q.recipe, q.architecture.word_table)
    # The slowest checks come last, when little else can be refused.
    hashes: dict[str, str] = {}
    for q in questions:
        if q.model not in hashes:
            check_finite(q.checkpoint, q.architecture)
            hashes[q.model] = checkpoint_hash(q.checkpoint)
    version_of = cache(tokens_version)
    environments = engine.find_environments(request.backends, request.pythons)
    cells = []
    for q in questions:
        data_hash, named = splits_hash(q.splits), bool(request.embedding_updates)
        updates = request.embedding_updates or (quicker_update(q, device),)
        for precision, compile, update, backend in itertools.product(
            request.precisions, request.compile, updates, request.backends
        ):
            environment = environments[backend]
            asked = Asked(
                kind="train",
                backend=backend,
                revision=BACKENDS[backend].revision,
                versions=environment.versions,
                task=q.task.name,
                data=data_hash,
                checkpoint=hashes[q.model],
                recipe=q.recipe.asked(),
                device=device,
                threads=threads,
                precision=precision,
                compile=compile,
                embedding_update=update,
                head=q.start.head,
                tokens=version_of(q.checkpoint, q.task.pair),
                labels=list(q.task.labels) if q.task.own else [],
                reseeded=request.checkpoint_every if BACKENDS[backend].reseeded else None,
            )
            preset, every = _preset_use(request, q), request.checkpoint_every
            cells.append(
                Cell(q, backend, device, threads, precision, compile, environment, asked, preset, every, update, named)
            )
    return list({cell.id: cell for cell in cells}.values())


def _refuse_what_backends_lack(request: Request, device: str) -> None:
    for backend, precision in itertools.product(request.backends, request.precisions):
        check_precision(backend, device, precision)
    for backend, compile in itertools.product(request.backends, request.compile):
        check_compile(backend, compile)
    for backend, recipe, compile in itertools.product(request.backends, request.recipes, request.compile):
        check_padding(backend, recipe, compile)


def plan_questions(request: Request, engine: Engine = LOCAL) -> list[Question]:
    """Every task with every model and recipe of the request. Each is read, checked and encoded once, however many cells
    use it. Raises InputError."""
    tasks = [get_task(name, request.reading) for name in request.tasks]
    if twice := [name for name, count in Counter(task.name for task in tasks).items() if count > 1]:
        raise InputError(f"two tasks are called {twice[0]}; give one another name by a task.toml")
    if request.limit is not None and request.limit < 1:
        raise InputError(f"--limit {request.limit}: pass 1 or more rows")
    engine.check_pythons(request.backends, request.pythons)
    convert, build = converter(request.pythons), tokenizer_builder(request.pythons)
    found = {name: find_model(name, convert, build) for name in request.models}
    checkpoints = {name: one.folder for name, one in found.items()}
    rows = {task.name: task.load(request.data_dir) for task in tasks}

    @cache
    def splits_of(task: str, recipe: Recipe) -> dict[str, Rows]:
        return choose_splits(task, rows[task], recipe, request.limit if request.steps is None else None)

    @cache
    def architecture_of(model: str, labels: int, recipe: Recipe) -> Architecture:
        return read_architecture(checkpoints[model], recipe, labels)

    @cache
    def start_of(model: str, labels: tuple[str, ...], architecture: Architecture) -> Start:
        check_weights(checkpoints[model], architecture)
        return choose_start(checkpoints[model], architecture, labels, request.head)

    questions = []
    encoded: dict[tuple[str, str, int], Path] = {}
    for task, model, recipe in itertools.product(tasks, request.models, request.recipes):
        labels = recipe.label_names(task.labels)
        architecture = architecture_of(model, len(labels), recipe.only(OF_RECIPE))
        if task.pair:
            check_pairs(architecture, model, task.name, "task")
        start = start_of(model, labels, architecture)
        splits = splits_of(task.name, recipe.only(CHOOSING))
        if request.steps is not None:
            dev = splits["dev"] if request.limit is None else splits["dev"].head(request.limit)
            splits = {"train": _rows_of_steps(splits["train"], recipe, request.steps), "dev": dev}
        check_steps(recipe, len(splits["train"]))
        wanted = splits_hash(splits), model, recipe.max_len
        if wanted not in encoded:
            encoded[wanted] = encode(splits, checkpoints[model], recipe.max_len, architecture.pad_id)
            check_token_ids(encoded[wanted], model, architecture)
        data, commit = encoded[wanted], found[model].commit
        questions.append(Question(task, model, checkpoints[model], recipe, labels, splits, data, start, commit))
    return questions


def check_pairs(architecture: Architecture, model: str, source: str, kind: str) -> None:
    """Refuses pairs of texts if the model has no token type for the second. `source` names what has the pairs, and
    `kind` says what that is. Raises InputError."""
    if architecture.model_type == "bert" and architecture.type_vocab_size < 2:
        raise InputError(f"{model} has type_vocab_size 1, and {source} has pairs; pass another model or {kind}")


def check_token_ids(data: Path, model: str, architecture: Architecture) -> None:
    """Raises InputError if the tokenizer gives an id for which the checkpoint has no embedding. There torch would fail,
    and MXNet would take the table's last row."""
    largest = max((int(split.ids.max(initial=0)) for split in read_encoded(data).values()), default=0)
    if largest >= architecture.vocab_size:
        raise InputError(
            f"{model}: its tokenizer gives token id {largest}, its config.json has vocab_size "
            f"{architecture.vocab_size}; pass a folder whose files belong together"
        )


def _preset_use(request: Request, question: Question) -> PresetUse | None:
    preset = request.preset
    if preset is None:
        return None
    changed = {
        "task": question.task.name != preset.task,
        "model": question.model != preset.model,
        "limit": request.limit is not None,
    }
    overridden = [name for name, differs in changed.items() if differs]
    return PresetUse(preset.name, overridden + differing_fields(preset, question.recipe))


def _rows_of_steps(rows: Rows, recipe: Recipe, steps: int) -> Rows:
    wanted = rows_of_steps(recipe, steps)
    if wanted > len(rows):
        raise InputError(
            f"--steps {steps}: {steps} batches of {recipe.batch_size} need {wanted} training rows, there are "
            f"{len(rows)}; pass fewer"
        )
    return rows.head(wanted)
