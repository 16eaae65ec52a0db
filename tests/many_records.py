"""Measures the cost of many records: planning cells that are all answered, and the report of their folder.

    python -m tests.many_records --out results/many

in the environment bench. Makes a sweep's records, of 30 KB each, gives the sweep's command again, which has nothing to
run, and then the report without pictures. `OUT/many.md` has CPU seconds and peak memory of each command's own process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from msgspec.structs import replace

from benchmarks.cells.plan import Cell, Request, plan_cells
from benchmarks.cli.options import chosen_pythons
from benchmarks.reporting.page import Heading, Notes, Page, Table
from benchmarks.workers.environments import CHECKOUT
from shared.answer import Trained
from shared.metrics import METRICS, details
from shared.recipe import Recipe
from shared.records import SPLITS, Record, write_record
from tests.factories import answer, circumstances, epoch

COUNTS = (100, 1000, 10_000)
BACKENDS = ("torch", "keras")
STEPS, ROWS, LABELS = 400, 1000, ("unacceptable", "acceptable")

VARIANTS = 23
"""Answers that differ in their scores."""

SWEEP = ("--task", "acceptability", "--model", "random:bert-tiny", "--max-len", "16", "--limit", "20")
WHERE = ("--threads", "1", "--device", "cpu")

MEASURED = """
import json, resource, runpy, sys
told, sys.argv = sys.argv[1], sys.argv[2:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    with open("/proc/self/status") as status:  # ru_maxrss has the memory of the process that started this one, too
        (peak,) = [int(line.split()[1]) for line in status if line.startswith("VmHWM:")]
    with open(told, "w") as file:
        json.dump([used.ru_utime + used.ru_stime, peak / 1024], file)
"""
"""Runs a module as a command, and leaves its own CPU seconds and peak MiB in a file."""


@dataclass(frozen=True)
class Cost:
    """The cost of one command."""

    seconds: float
    """CPU seconds of its own process."""
    mebibytes: float


def sweep(count: int, seeds: int) -> list[str]:
    """The options of a sweep of so many cells: rates and seeds on two backends."""
    rates = [f"{1e-5 * (1 + n / 1000):.8f}" for n in range(count // (len(BACKENDS) * seeds))]
    numbers = [str(seed) for seed in range(1, seeds + 1)]
    return ["--backend", *BACKENDS, *SWEEP, *WHERE, "--learning-rate", *rates, "--seed", *numbers]


def planned(count: int, seeds: int) -> list[Cell]:
    """The cells of that sweep."""
    options = sweep(count, seeds)
    rates = options[options.index("--learning-rate") + 1 : options.index("--seed")]
    recipes = [Recipe(max_len=16, learning_rate=float(r), seed=n) for r in rates for n in range(1, seeds + 1)]
    request = Request(
        backends=list(BACKENDS),
        tasks=["acceptability"],
        models=["random:bert-tiny"],
        recipes=recipes,
        device="cpu",
        threads=1,
        limit=20,
        data_dir=None,
        pythons=chosen_pythons([]),
    )
    return plan_cells(request)


def scored(random: np.random.Generator) -> Trained:
    """An answer of predictions that are drawn at random, as many as those of CoLA, with their scores."""
    truth = random.integers(0, 2, ROWS)
    predicted = {split: np.where(random.random(ROWS) < 0.8, truth, 1 - truth) for split in SPLITS}
    scores = {
        split: {"loss": 0.5} | {name: float(METRICS[name](truth, one)) for name in ("accuracy", "mcc", "f1")}
        for split, one in predicted.items()
    }
    return answer(
        [replace(epoch(10 + random.random(), steps=STEPS), dev=scores["dev"])],
        predictions={split: one.tolist() for split, one in predicted.items()},
        details={split: details(truth, one, LABELS, 32) for split, one in predicted.items()},
    )


def made_up(cell: Cell, trained: Trained, random: np.random.Generator) -> Record:
    """A record of the cell, of this answer with losses of its own."""
    losses, right = random.random(STEPS), random.integers(0, 33, STEPS) / 32
    test = trained.epochs[0].dev
    return Record(
        id=cell.id,
        asked=cell.asked,
        model="random:bert-tiny",
        recipe=cell.recipe,
        start=cell.question.start,
        rows={"train": 32 * STEPS, "dev": ROWS, "test": ROWS},
        majority=dict.fromkeys(("train", *SPLITS), 0.5),
        answer=replace(trained, step_loss=losses.tolist(), step_accuracy=right.tolist(), test=test),
        circumstances=circumstances(packages=cell.environment.packages),
    )


def cost_of(module: str, *arguments: object) -> Cost:
    """Runs a command, which must end well, and measures it."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "told")
        subprocess.run(
            [sys.executable, "-c", MEASURED, told, module, *map(str, arguments)],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=CHECKOUT,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        )
        return Cost(*json.loads(told.read_text()))


def measured(count: int, seeds: int, out: Path) -> dict[str, str]:
    """A line of the table."""
    random = np.random.default_rng(count)
    sizes = []
    answers = [scored(random) for _ in range(VARIANTS)]
    for number, cell in enumerate(planned(count, seeds)):
        write_record(out, made_up(cell, answers[number % VARIANTS], random), {})
        sizes.append((out / "records" / f"{cell.id}.json").stat().st_size)
    first = cost_of("benchmarks.run", *sweep(count, seeds), "--out", out)
    again = cost_of("benchmarks.run", *sweep(count, seeds), "--out", out)
    report = cost_of("benchmarks.report", out, "--pictures", 0)
    costs = {"planned, tables written": first, "planned again": again, "report": report}
    named = {
        f"{name}, {unit}": f"{value:.{digits}f}"
        for name, cost in costs.items()
        for unit, value, digits in (
            ("CPU s", cost.seconds, 2),
            ("peak MiB", cost.mebibytes, 0),
        )
    }
    return {"records": f"{count:,}", "KB each": f"{sum(sizes) / len(sizes) / 1000:.0f}"} | named


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of the table; without it, it is printed alone")
    parser.add_argument("--count", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each row of the tables (5)")
    options = parser.parse_args(arguments)
    lines = []
    for count in options.count:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(measured(count, options.seeds, Path(folder)))
        print(lines[-1], flush=True)
    notes = [
        f"records of {len(BACKENDS)} backends and {options.seeds} seeds each, made up; CPU seconds and peak memory are "
        "of the command's own process, without the interpreters that it asks for their versions",
        "planned: `benchmarks.run` with a sweep whose cells are all answered; the first time it writes the tables, the "
        "second time they are there",
        "report: `benchmarks.report --pictures 0`",
    ]
    page = Page([Heading("# Many records"), Table(pd.DataFrame(lines)), Notes(notes)])
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        page.write(options.out / "many.md")
    print(page.markdown())


if __name__ == "__main__":
    main()
