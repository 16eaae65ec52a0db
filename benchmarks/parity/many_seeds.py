"""Parity over several seeds: plans and answers a cell for every seed and backend, or every seed and value of an option,
and compares what they score."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace

from benchmarks.cli.options import chosen_backends, chosen_pythons
from benchmarks.cli.parser import check_writable
from benchmarks.cli.recipe_options import recipes
from shared.errors import InputError

FEWEST_SEEDS = 3
"""With two, a t-test has one degree of freedom, and shows next to nothing."""


def compare_seeds(options: argparse.Namespace) -> int:
    """Plans, runs what is not answered yet, compares, prints and writes. Returns the exit code. Raises InputError."""
    backends, pythons, grid = chosen_backends(options.backend), chosen_pythons(options.python), recipes(options)
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
    for name in ("steps", "precision", "against", "document"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} is for one seed; with several, whole trainings are compared: leave it out")
    if options.margin is not None and not 0 < options.margin < math.inf:
        raise InputError(f"--margin {options.margin:g}: pass a number above 0")
    if trainings * len(backends) < 2:
        raise InputError(
            f"{backends[0]} alone has nothing to be compared with; pass another --backend too, or two values of an "
            "option"
        )
    if options.margin is None and trainings == 1 and "torch" not in backends:
        raise InputError("the margin is torch's deviation over the seeds; add torch to --backend, or pass --margin")
    check_writable("--out", options.out)

    from benchmarks.cells.plan import Request, plan_cells
    from shared.records import SPLITS

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
        )
    )
    splits = cells[0].splits
    if all(name not in splits or splits[name].labels is None for name in SPLITS):
        raise InputError(f"{cells[0].task.name}'s dev and test have no labels; pass another --dev-split")

    # pandas, which makes the tables, takes longer to import than planning does to refuse.
    from benchmarks.cells.answer import answer_cells
    from benchmarks.parity.equivalence_report import Report, print_report, write_report
    from benchmarks.workers.progress import terminal

    console = terminal()
    answers = answer_cells(console, cells, options.out, f"records in {options.out}/records")
    if answers.failed:
        print(
            f"benchmarks.parity: {len(answers.failed)} of {answers.ran} cells failed, and nothing is compared: "
            f"{', '.join(cell.title for cell in answers.failed)}",
            file=sys.stderr,
        )
        return answers.code
    report = Report.of(cells, answers.records, options.margin)
    print_report(console, report)
    write_report(options.out, report)
    console.print(f"\n{options.out}/equivalence.md, equivalence.json and equivalence.png hold this", style="dim")
    return 0 if report.holds else 1
