"""Plans of the parity command, made from its options. This module is quick to import, so that bad input is refused at
once."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace
from typing import Any

from backends import BACKENDS, check_embedding_update, check_padding, check_precision
from backends.parts import Part, parts_of
from benchmarks.cells.engine import Engine
from benchmarks.cells.plan import Cell, Question, Request, plan_cells, plan_questions
from benchmarks.cli.options import chosen_backends, chosen_pythons
from benchmarks.cli.recipe_options import recipes
from benchmarks.parity.variants import TRUTH, LadderVariant, noise_of
from benchmarks.workers.environments import Environment, find_environments
from benchmarks.workers.machine import choose_device, choose_threads
from shared.errors import InputError
from shared.job import EmbeddingUpdate, Precision
from shared.recipe import Recipe
from shared.records import SPLITS

STEPS = 20
"""Training steps that the ladder follows unless told otherwise."""
FEWEST_SEEDS = 3
"""With two seeds a t-test has one degree of freedom, and shows next to nothing."""
ONE_EPOCH: dict[str, Any] = {"epochs": 1, "keep": "last", "eval_before": False, "test_split": "test"}
"""Recipe fields that the ladder does not use, and their values there."""


@dataclass(frozen=True)
class LadderPlan:
    """One training, and the variants that follow it."""

    question: Question
    steps: int
    device: str
    threads: int
    environments: dict[str, Environment]
    together: list[LadderVariant]
    """Columns of the ladder."""
    alone: dict[Part, LadderVariant]
    """Variants by one of the frameworks' own parts, which they have alone. Empty without `--against stock`."""
    rerun: bool
    """The reference computes again what the cache has."""

    @property
    def variants(self) -> list[LadderVariant]:
        """All that climb, each once."""
        return [variant for variant in dict.fromkeys([*self.together, *self.alone.values()]) if variant != TRUTH]

    @property
    def noises(self) -> list[LadderVariant]:
        """Torch in each precision and place whose errors the reference does not give, each once."""
        found = [noise_of(variant, self.device) for variant in self.variants]
        return [variant for variant in dict.fromkeys(found) if variant is not None]

    @property
    def recordings(self) -> int:
        """The number of recordings, the reference's counted as one."""
        return 1 + len({*self.noises, *self.variants})


def plan_ladder(options: argparse.Namespace) -> LadderPlan:
    """The plan for one seed. Raises InputError."""
    backends, pythons = chosen_backends(options.backend), chosen_pythons(options.python)
    recipe = check_one_seed(options)
    precisions: list[Precision] = options.precision or ["float32"]
    updates: list[EmbeddingUpdate] = options.embedding_update or ["dense"]
    steps = STEPS if options.steps is None else options.steps
    if steps < 2:
        raise InputError(f"--steps {steps}: pass 2 or more")
    if backends == ["torch"] and precisions == ["float64"] and "rows" not in updates:
        raise InputError("torch in float64 is the truth that others are compared with; pass another backend or float32")
    if options.against:
        _refuse_what_own_parts_lack(backends, recipe, precisions, updates)
    elif options.document:
        raise InputError("--document is what --against stock writes; pass that too")
    device, threads = choose_device(options.device), choose_threads(options.threads)
    variants = _usual_variants(backends, precisions, updates, device)
    for backend in backends:
        check_padding(backend, recipe)
    request = Request(
        backends=list(dict.fromkeys(["torch", *backends])),
        tasks=options.task,
        models=options.model,
        recipes=[recipe],
        device=device,
        threads=threads,
        limit=options.limit,
        data_dir=options.data_dir,
        pythons=pythons,
        steps=steps,
    )
    (question,) = plan_questions(request)
    for update in updates:
        check_embedding_update(update, recipe, question.architecture.word_table)
    if question.splits["dev"].labels is None:
        raise InputError(f"{question.task.name}'s split {recipe.dev_split!r} has no labels; pass --dev-split")
    parts = _own_parts(backends, question) if options.against else []
    return LadderPlan(
        question=question,
        steps=steps,
        device=device,
        threads=threads,
        environments=find_environments(request.backends, pythons),
        together=_with_usual_parts(backends, parts) if parts else variants,
        alone={part: LadderVariant(part.backend, parts=(part.name,)) for part in parts},
        rerun=bool(options.rerun),
    )


def _usual_variants(
    backends: list[str], precisions: list[Precision], updates: list[EmbeddingUpdate], device: str
) -> list[LadderVariant]:
    """Each backend with each update in each precision. Raises InputError for a precision that a backend lacks."""
    variants = [
        LadderVariant(backend, precision, embedding_update=update)
        for precision in precisions
        for update in updates
        for backend in backends
    ]
    for variant in variants:
        check_precision(variant.backend, variant.place(device), variant.precision)
    return variants


def plan_seeds(options: argparse.Namespace, engine: Engine) -> list[Cell]:
    """The cells for several seeds, as the engine can run them: one for each seed and backend, or for each seed and
    value of an option. Raises InputError."""
    backends, pythons, grid = chosen_backends(options.backend), chosen_pythons(options.python), recipes(options)
    _refuse_what_seeds_cannot_compare(options, backends, grid)
    cells = plan_cells(
        Request(
            backends=backends,
            tasks=options.task,
            models=options.model,
            recipes=grid,
            device=options.device,
            threads=options.threads,
            limit=options.limit,
            data_dir=options.data_dir,
            pythons=pythons,
        ),
        engine,
    )
    question = cells[0].question
    if all(name not in question.splits or question.splits[name].labels is None for name in SPLITS):
        raise InputError(f"{question.task.name}'s dev and test have no labels; pass another --dev-split")
    return cells


def check_one_seed(options: argparse.Namespace) -> Recipe:
    """The one recipe that the ladder follows. Raises InputError for options that only several seeds can have."""
    recipe, *others = recipes(options)
    if options.power:
        raise InputError("--power needs several seeds, such as --seed 1 2 3; with one, nothing is tested over seeds")
    if options.margin is not None:
        raise InputError("--margin needs several seeds, such as --seed 1 2 3; with one, each rung has its own bound")
    for name, value in ONE_EPOCH.items():
        if getattr(options, name) != [value]:
            raise InputError(
                f"--{name.replace('_', '-')} needs several seeds, such as --seed 1 2 3; with one, parity follows the "
                "steps of one epoch and tests nothing"
            )
    if others or len(options.task) * len(options.model) > 1:
        raise InputError("parity follows one training; pass one task, one model and one value of each recipe option")
    return recipe


def _refuse_what_own_parts_lack(
    backends: list[str], recipe: Recipe, precisions: list[Precision], updates: list[EmbeddingUpdate]
) -> None:
    if precisions != ["float32"]:
        raise InputError("--against stock compares in float32; leave --precision out")
    if updates != ["dense"]:
        raise InputError("--against stock compares with each framework's own update; leave --embedding-update out")
    if recipe.padding == "none":
        raise InputError("--against stock compares with each framework's own padded network; pass --padding longest")
    for name, value in (("optimizer", "adamw"), ("eps_place", "after"), ("bias_correction", True)):
        if getattr(recipe, name) != value:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"--against stock takes each framework's own optimizer; leave {option} out")
    for backend in backends:
        BACKENDS[backend].module("parts")


def _refuse_what_seeds_cannot_compare(options: argparse.Namespace, backends: list[str], grid: list[Recipe]) -> None:
    trainings = len({replace(recipe, seed=0) for recipe in grid})
    if len(options.task) * len(options.model) > 1:
        raise InputError("several seeds compare one training; pass one task and one model")
    if trainings > 1 and len(backends) > 1:
        raise InputError(
            "several seeds compare either backends or values of an option; pass one --backend, or one value of each"
        )
    if len(options.seed) < FEWEST_SEEDS:
        raise InputError(
            f"{len(options.seed)} seeds show next to nothing; pass {FEWEST_SEEDS} or more, or one for the ladder"
        )
    for name in ("steps", "precision", "embedding_update", "against", "document", "rerun"):
        if getattr(options, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} is for one seed; with several, whole trainings are compared: leave it out")
    if options.margin is not None and not 0 < options.margin < math.inf:
        raise InputError(f"--margin {options.margin:g}: pass a number above 0")
    if trainings * len(backends) < 2:
        raise InputError(
            f"{backends[0]} alone has nothing to be compared with; pass another --backend too, or two values of an "
            "option"
        )
    if options.margin is None and trainings == 1 and "torch" not in backends:
        raise InputError("the margin is torch's deviation over the seeds; add torch to --backend, or pass --margin")


def _own_parts(backends: list[str], question: Question) -> list[Part]:
    return [part for backend in backends for part in parts_of(backend, question.architecture.model_type)]


def _with_usual_parts(backends: list[str], parts: list[Part]) -> list[LadderVariant]:
    """Each backend with all the parts that a usual port takes."""
    usual = [part for part in parts if part.usual]
    return [LadderVariant(name, parts=tuple(part.name for part in usual if part.backend == name)) for name in backends]
