"""The work of `pack`: makes a pack, and says what it can show."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from pathlib import Path

from benchmarks.cells.plan import Request, plan_questions
from benchmarks.port.generated import STEPS
from benchmarks.port.pack import USUAL, Source, generated, make_pack, of_checkpoint
from benchmarks.port.reference import Reference
from benchmarks.port.shows import show_page
from benchmarks.port.task_rows import of_task
from benchmarks.workers.conversion import converter, tokenizer_builder
from benchmarks.workers.progress import terminal
from shared.checkpoint.sources import resolve_model, shown_model
from shared.errors import InputError
from shared.files import read_json
from shared.pack import OF_RECIPE
from shared.recipe import Recipe

WIDTH = 80
"""Columns of output that does not go to a terminal."""

OPTIMIZER = (*OF_RECIPE, "schedule", "warm_up", "decay_exempt")
"""Fields of the recipe that a pack of generated ids keeps."""


def pack_for(options: argparse.Namespace, recipe: Recipe, pythons: dict[str, Path], threads: int) -> int:
    """Makes the pack, and prints which known mistakes it shows. Returns the exit code. Raises InputError and
    ProcessFailed."""
    reference = Reference.find(pythons, threads)
    with _source(options, recipe, pythons, threads) as source:
        sketches = None if options.sketches is None else options.sketches == "yes"
        pack = make_pack(replace(source, sketches=sketches), options.out, reference)
    console = terminal(width=WIDTH)
    size = sum(file.stat().st_size for file in pack.folder.rglob("*") if file.is_file())
    console.print(
        f"{options.out}: pack {pack.contents.id}, {pack.contents.about}, {size / 2**20:.1f} MiB; its README.md says "
        "how to record",
        highlight=False,
        soft_wrap=True,
    )
    if options.shows == "yes" or (options.shows is None and options.model is None):
        show_page(pack, reference).print(console)
    elif options.shows is None:
        console.print("which known mistakes it shows was not tried: pass --shows yes", highlight=False, soft_wrap=True)
    return 0


def _source(
    options: argparse.Namespace, recipe: Recipe, pythons: dict[str, Path], threads: int
) -> AbstractContextManager[Source]:
    if options.config is not None and options.model is not None:
        raise InputError("--config is for random weights; leave it out with --model")
    if options.task is None:
        _refuse_what_rows_decide(options, recipe)
    if options.model is None:
        return generated(None if options.config is None else read_json(options.config), recipe)
    if options.task is None:
        checkpoint = resolve_model(options.model, converter(pythons), tokenizer_builder(pythons))
        return of_checkpoint(checkpoint, shown_model(options.model), recipe)
    request = Request(
        backends=["torch"],
        tasks=[options.task],
        models=[options.model],
        recipes=[recipe],
        device="cpu",
        threads=threads,
        limit=None,
        data_dir=options.data_dir,
        pythons=pythons,
    )
    (question,) = plan_questions(request)
    steps = STEPS if options.steps is None else options.steps
    if steps < 2:
        raise InputError(f"--steps {steps}: pass 2 or more")
    return of_task(question, steps)


def _refuse_what_rows_decide(options: argparse.Namespace, recipe: Recipe) -> None:
    """Raises InputError for an option that generated ids leave without effect."""
    without = [f.name for f in fields(recipe) if getattr(recipe, f.name) != getattr(USUAL, f.name)]
    without = [name for name in without if name not in OPTIMIZER]
    if options.steps is not None:
        without.append("steps")
    if without:
        option = f"--{without[0].replace('_', '-')}"
        raise InputError(f"{option} is for a task's rows; leave it out with generated ids, or pass --task and --model")
