"""Measures the overhead of backends, prints the table and writes it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from backends import BACKENDS
from backends.bare import check_bare
from benchmarks.overhead.report import overhead_page, round_line, rounds_frame
from benchmarks.overhead.rounds import RECIPE, Round, SameWork, measure_round, run_bare, write_work
from benchmarks.reporting.page import write_csv
from benchmarks.workers.conversion import converter
from benchmarks.workers.environments import find_environment
from benchmarks.workers.machine import choose_threads, describe_machine
from benchmarks.workers.progress import terminal
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import resolve_model
from shared.checkpoint.weights import check_weights


def measure_overhead(backends: list[str], model: str, steps: int, rounds: int, threads: int | None, out: Path) -> None:
    """Measures rounds of so many steps. `threads` None takes all processors. Writes overhead.csv and overhead.md under
    `out`. Raises InputError and ProcessFailed."""
    for backend in backends:
        BACKENDS[backend].module("bare")  # refuses a backend without a bare script
    threads = choose_threads(threads)
    pythons = {backend: find_environment(backend, {}).python for backend in backends}
    checkpoint = resolve_model(model, converter({}))
    architecture = read_architecture(checkpoint, RECIPE, num_labels=2)
    check_weights(checkpoint, architecture)
    check_bare(checkpoint, architecture)
    console = terminal()
    measured: list[Round] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_work(folder, architecture, steps)
        for backend in backends:
            work = SameWork(backend, pythons[backend], checkpoint, folder, threads)
            run_bare(work)  # not counted: it brings the framework's files into the page cache
            for number in range(rounds):
                measured.append(measure_round(work, bare_first=number % 2 == 0))
                console.print(round_line(measured[-1], number + 1, rounds), highlight=False)
    machine = describe_machine()
    note = (
        f"{model}, batch {RECIPE.batch_size} x {RECIPE.max_len}; median (quartiles) of {rounds} rounds "
        f"of {steps} steps; {machine.cpu}, {machine.cores} cores, {threads} threads; other processes "
        f"kept at most {max(r.busy_cores for r in measured):.2f} cores busy"
    )
    page = overhead_page(measured, note)
    write_csv(out / "overhead.csv", rounds_frame(measured), form=None)
    page.write(out / "overhead.md")
    page.print(console)
