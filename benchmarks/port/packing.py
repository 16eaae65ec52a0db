"""The work of `pack`: makes a pack, and says what it can show."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.cells.plan import Request, plan_questions
from benchmarks.port.pack import Source, generated, make_pack, of_checkpoint, of_task
from benchmarks.port.reference import Reference
from benchmarks.port.shows import show_page
from benchmarks.workers.environments import torch_converter
from benchmarks.workers.progress import terminal
from shared.checkpoint.sources import resolve_model, shown_model
from shared.errors import InputError
from shared.files import read_json
from shared.recipe import Recipe


def pack_for(options: argparse.Namespace, recipe: Recipe, pythons: dict[str, Path], threads: int) -> int:
    """Makes the pack, and prints which known mistakes it shows. Returns the exit code. Raises InputError and
    ProcessFailed."""
    reference = Reference.find(pythons, threads)
    with _source(options, recipe, pythons, threads) as source:
        pack = make_pack(source, options.out, reference)
    console = terminal()
    size = sum(file.stat().st_size for file in pack.folder.rglob("*") if file.is_file())
    console.print(
        f"{options.out}: pack {pack.contents.id}, {pack.contents.about}, {size / 2**20:.1f} MiB; its README.md says "
        "how to record",
        highlight=False,
        soft_wrap=True,
    )
    if options.model is None:
        show_page(pack, reference).print(console)
    return 0


def _source(
    options: argparse.Namespace, recipe: Recipe, pythons: dict[str, Path], threads: int
) -> AbstractContextManager[Source]:
    if options.config is not None and options.model is not None:
        raise InputError("--config is for random weights; leave it out with --model")
    if options.model is None:
        return generated(None if options.config is None else read_json(options.config))
    if options.task is None:
        checkpoint = resolve_model(options.model, torch_converter(pythons))
        return of_checkpoint(checkpoint, shown_model(options.model))
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
    if options.steps < 2:
        raise InputError(f"--steps {options.steps}: pass 2 or more")
    return of_task(question, options.steps)
