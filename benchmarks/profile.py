"""Shows where the time of a training step goes: each framework's operators, by its own profiler, on the CPU."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.cli.options import add_backend_option, add_interpreter_options, chosen_backends, chosen_pythons
from benchmarks.cli.parser import Parser, check_writable, one_line_errors
from shared.errors import InputError
from shared.job import PRECISIONS

EXAMPLES = """example:
  python -m benchmarks.profile --backend torch --model minilm --width 64 --tokens 11

Seconds are those of an operator itself, less what it calls; the frameworks name their operators each in its own way. A
profiled step takes longer than the step shown above the table, which ran without a profiler. TensorFlow computes
several operators at a time, so its seconds add up to more than the step's."""


def run(options: argparse.Namespace) -> int:
    """Prints a table a backend and writes profile.csv. Returns the exit code. Raises InputError."""
    backends, pythons = chosen_backends(options.backend), chosen_pythons(options.python)
    tokens = options.width if options.tokens is None else options.tokens
    for option in ("batch_size", "steps", "top"):
        if getattr(options, option) < 1:
            raise InputError(f"--{option.replace('_', '-')} {getattr(options, option)}: pass 1 or more")
    if not 2 <= tokens <= options.width:
        raise InputError(f"--tokens {tokens}: pass 2 to the width, {options.width}")
    check_writable("--out", options.out)

    import pandas as pd

    from backends import check_precision
    from benchmarks.reporting.tables import print_table
    from benchmarks.workers.environments import find_environments, torch_converter
    from benchmarks.workers.launcher import ScriptFailed, run_script
    from benchmarks.workers.machine import choose_threads
    from benchmarks.workers.progress import terminal
    from shared.checkpoint.config import read_architecture
    from shared.checkpoint.sources import resolve_model
    from shared.recipe import Recipe

    for backend in backends:
        check_precision(backend, "cpu", options.precision)
    threads = choose_threads(options.threads)
    environments = find_environments(backends, pythons)
    checkpoint = resolve_model(options.model, torch_converter(pythons))
    read_architecture(checkpoint, Recipe(max_len=options.width, batch_size=options.batch_size), 2)
    console, found, failed = terminal(), [], 0
    for backend in backends:
        asked: list[Any] = [backend, checkpoint, options.batch_size, options.width, tokens, options.steps, threads]
        with tempfile.TemporaryDirectory() as scratch:
            try:
                answer = run_script(
                    [environments[backend].python, "-m", "backends.operators", *asked, options.precision],
                    Path(scratch) / "answer.json",
                    threads,
                    {"CUDA_VISIBLE_DEVICES": ""},
                )
            except ScriptFailed as failure:
                print(f"benchmarks.profile: {backend} failed: {failure}", *failure.tail, sep="\n  | ", file=sys.stderr)
                failed = 1
                continue
        table = pd.DataFrame(answer["operators"]).sort_values("seconds", ascending=False)
        table["share"] = table["seconds"] / table["seconds"].sum()
        found.append(table.assign(backend=backend, step_seconds=answer["step"], width=options.width, tokens=tokens))
        shown = pd.DataFrame(
            {
                "operator": table["operator"],
                "calls a step": table["calls"].map("{:.0f}".format),
                "ms a step": (table["seconds"] * 1e3).map("{:.1f}".format),
                "share": table["share"].map("{:.1%}".format),
            }
        )
        print_table(
            console,
            f"{backend}: a step of {options.batch_size} rows of {tokens} tokens, padded to {options.width}, takes "
            f"{answer['step']:.3f} s, and its operators {table['seconds'].sum():.3f} s under the profiler",
            shown.head(options.top),
        )
    if found:
        options.out.mkdir(parents=True, exist_ok=True)
        pd.concat(found).to_csv(options.out / "profile.csv", index=False)
        console.print(f"{options.out}: profile.csv, with every operator", style="dim")
    return failed


def main(arguments: list[str] | None = None) -> None:
    parser = Parser(prog="benchmarks.profile", description=__doc__, epilog=EXAMPLES)
    add_backend_option(parser, "all")
    parser.add_argument("--model", default="minilm", metavar="NAME", help="as benchmarks.run takes it (minilm)")
    parser.add_argument("--width", type=int, default=64, metavar="N", help="what rows are padded to (64)")
    parser.add_argument("--tokens", type=int, metavar="N", help="real tokens of a row (as many as the width)")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="rows (32)")
    parser.add_argument("--steps", type=int, default=5, metavar="N", help="under the profiler, and as many before (5)")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", metavar="NAME", help="(float32)")
    parser.add_argument("--top", type=int, default=15, metavar="N", help="operators shown (15)")
    add_interpreter_options(parser)
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="for profile.csv (runs)")
    options = parser.parse_args(arguments)
    with one_line_errors("benchmarks.profile"):
        sys.exit(run(options))


if __name__ == "__main__":
    main()
