"""Everything that is settled, and may be refused, before benchmarks.speed measures."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET

from benchmarks.cells.plan import Question, Request, plan_questions
from benchmarks.speed.asked import Asked, Processors
from benchmarks.speed.wanted import Wanted
from benchmarks.workers.allocator import shown_allocator
from benchmarks.workers.attempts import code_hash
from benchmarks.workers.environments import Environment, find_environments
from benchmarks.workers.machine import choose_device, choose_threads, describe_machine
from shared.checkpoint.sources import shown_model
from shared.checkpoint.weights import checkpoint_hash
from shared.splits import splits_hash


@dataclass(frozen=True)
class Prepared:
    """Data, checkpoint and interpreters, found and checked."""

    questions: list[Question]
    """One a recipe."""
    environments: dict[str, Environment]
    """Interpreters by backend."""
    asked: Asked


def prepare(wanted: Wanted) -> Prepared:
    """Reads and encodes the data, and finds checkpoint and interpreters. Raises InputError."""
    device, threads = choose_device(wanted.device), choose_threads(wanted.threads)
    questions = plan_questions(
        Request(
            backends=wanted.backends,
            tasks=[wanted.task],
            models=[wanted.model],
            recipes=wanted.recipes,
            device=wanted.device,
            threads=wanted.threads,
            limit=None,
            data_dir=wanted.data_dir,
            pythons=wanted.pythons,
        )
    )
    environments = find_environments(wanted.backends, wanted.pythons)
    asked = Asked(
        task=questions[0].task.name,
        model=shown_model(wanted.model),
        data=[splits_hash(question.splits) for question in questions],
        checkpoint=checkpoint_hash(questions[0].checkpoint),
        recipes=[question.recipe.asked() for question in questions],
        versions={backend: environment.versions for backend, environment in environments.items()},
        code=code_hash(),
        device=device,
        threads=threads,
        machine=Processors.of(describe_machine()),
        allocator=shown_allocator() or UNSET,
    )
    return Prepared(questions, environments, asked)
