"""What this project costs on top of its frameworks: each backend's worker against a bare script of the same steps."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from backends import BACKENDS
from benchmarks.cli.parser import Parser, one_line_errors
from benchmarks.overhead.report import print_summary, round_line, write_tables
from benchmarks.overhead.rounds import (
    RECIPE,
    Round,
    Setting,
    measure_round,
    run_bare,
    write_work,
)
from benchmarks.workers.bare import check_bare
from benchmarks.workers.environments import find_environment
from benchmarks.workers.machine import choose_threads, describe_machine
from benchmarks.workers.progress import terminal
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import resolve_model
from shared.checkpoint.weights import check_weights
from shared.errors import InputError


def main(arguments: list[str] | None = None) -> None:
    with one_line_errors("benchmarks.overhead"):
        run(_parser().parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    """Measures, prints the table and writes it. Raises InputError, and SystemExit where a process fails."""
    backends = list(BACKENDS) if "all" in options.backend else list(dict.fromkeys(options.backend))
    if options.steps < 2:
        raise InputError(f"--steps {options.steps}: pass 2 or more, as the first step is told apart")
    if options.rounds < 1:
        raise InputError(f"--rounds {options.rounds}: pass 1 or more")
    threads = choose_threads(options.threads)
    pythons = {backend: find_environment(backend, {}).python for backend in backends}
    checkpoint = resolve_model(options.model)
    architecture = read_architecture(checkpoint, RECIPE, num_labels=2)
    check_weights(checkpoint, architecture)
    check_bare(checkpoint, architecture)
    console = terminal()
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        write_work(work, architecture, options.steps)
        for backend in backends:
            setting = Setting(backend, pythons[backend], checkpoint, work, threads)
            run_bare(setting)  # not counted: it brings the framework's files into the page cache
            for number in range(options.rounds):
                rounds.append(measure_round(setting, bare_first=number % 2 == 0))
                console.print(round_line(rounds[-1], number + 1, options.rounds), highlight=False)
    machine = describe_machine()
    note = (
        f"{options.model}, batch {RECIPE.batch_size} x {RECIPE.max_len}; median (quartiles) of {options.rounds} rounds "
        f"of {options.steps} steps; {machine['cpu']}, {machine['cores']} cores, {threads} threads; other processes "
        f"kept at most {max(r.busy_cores for r in rounds):.2f} cores busy"
    )
    write_tables(options.out, rounds, note)
    print_summary(console, rounds, note)


def _parser() -> Parser:
    parser = Parser(prog="benchmarks.overhead", description=__doc__)
    parser.add_argument(
        "--backend", nargs="+", default=["all"], choices=[*BACKENDS, "all"], metavar="NAME", help=", ".join(BACKENDS)
    )
    parser.add_argument("--model", default="minilm", metavar="NAME", help="a BERT as benchmarks.run takes it (minilm)")
    parser.add_argument("--steps", type=int, default=12, metavar="N", help="training steps of a process (12)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often both sides are measured (3)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (all processors)")
    parser.add_argument("--out", type=Path, default=Path("runs/overhead"), metavar="DIR", help="(runs/overhead)")
    return parser


if __name__ == "__main__":
    main()
