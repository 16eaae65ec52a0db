"""What this project costs on top of its frameworks: each backend's worker against a bare script of the same steps."""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from rich.console import Console
from rich.table import Table

from backends import BACKENDS
from benchmarks.cells.plan import choose_threads
from benchmarks.cli.options import Parser, one_line_errors
from benchmarks.workers.attempts import DISTURBED, ScriptFailed, attempts, quartiles, run_script, write_rows
from benchmarks.workers.environments import CHECKOUT, find_environment
from benchmarks.workers.launcher import run_worker
from benchmarks.workers.machine import describe_machine
from benchmarks.workers.progress import terminal
from shared.architecture import Architecture
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import resolve_model
from shared.checkpoint.weights import WEIGHTS, check_weights
from shared.encoding import Encoded
from shared.errors import InputError
from shared.files import write_whole
from shared.job import Job
from shared.recipe import Recipe

RECIPE = Recipe(max_len=64, batch_size=32, epochs=1, shuffle=False, schedule="constant", warm_up=0.0)
"""What the bare scripts do, in this project's words."""

SHORTEST = 8
"""Tokens of the shortest row; the longest has max_len. So rows are padded, and the mask is at work."""


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    step_seconds: float
    """Mean of the steps after the first, synchronised at both ends only."""
    start_seconds: float
    """From the process's first line to the first step: import, build and load."""
    first_step_seconds: float
    """With tracing or compilation."""
    peak_memory_bytes: int


@dataclass(frozen=True)
class Round:
    """The bare script and the worker, one right after the other."""

    backend: str
    bare: Cost
    ours: Cost
    busy_cores: float
    """Kept busy by other processes meanwhile."""


@dataclass(frozen=True)
class Setting:
    """What both sides of a backend are given."""

    backend: str
    python: Path
    checkpoint: Path
    work: Path
    """The folder that `write_work` filled."""
    threads: int


@dataclass(frozen=True)
class Quantity:
    """A line of the table."""

    name: str
    form: str
    value: Callable[[Cost], float]
    bound: str
    """What the ratio should not exceed; empty where nothing was promised."""


QUANTITIES = (
    Quantity("step s", ".3f", lambda cost: cost.step_seconds, "1.05"),
    Quantity("start s", ".2f", lambda cost: cost.start_seconds, "1.3"),
    Quantity("first step s", ".2f", lambda cost: cost.first_step_seconds, ""),
    Quantity("peak MiB", ".0f", lambda cost: cost.peak_memory_bytes / 2**20, "1.1"),
)

HEADER = ("backend", "", "bare", "ours", "ratio", "at most")


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
                console.print(_line(rounds[-1], number + 1, options.rounds), highlight=False)
    machine = describe_machine()
    note = (
        f"{options.model}, batch {RECIPE.batch_size} x {RECIPE.max_len}; median (quartiles) of {options.rounds} rounds "
        f"of {options.steps} steps; {machine['cpu']}, {machine['cores']} cores, {threads} threads; other processes "
        f"kept at most {max(r.busy_cores for r in rounds):.2f} cores busy"
    )
    write_tables(options.out, rounds, note)
    _print_table(console, rounds, note)


def check_bare(checkpoint: Path, architecture: Architecture) -> None:
    """Raises InputError where the checkpoint is none that the bare scripts can build, which are a page each."""
    rates = set(asdict(architecture.dropout).values())
    asked = architecture.model_type, architecture.activation, architecture.layer_norm_eps, architecture.type_vocab_size
    if asked != ("bert", "gelu", 1e-12, 2) or len(rates) > 1 or not (checkpoint / WEIGHTS).is_file():
        raise InputError(
            f"the bare scripts cannot build {checkpoint}: they know BERT with gelu, layer_norm_eps 1e-12, two token "
            f"types and one dropout rate, in one {WEIGHTS}; pass minilm, random:bert-tiny, or another like these"
        )


def write_work(folder: Path, architecture: Architecture, steps: int) -> None:
    """The same rows twice: as `batches.npz` for the bare scripts (see `run_bare`) and as the encoded
    folder `encoded` (see shared/encoding.py) for the worker, there with a dev split of the first batch. Ids, lengths
    from SHORTEST to max_len and labels are random, the same at every call."""
    random = np.random.RandomState(0)
    lengths = random.randint(SHORTEST, RECIPE.max_len + 1, (steps, RECIPE.batch_size))
    labels = random.randint(0, 2, lengths.shape)
    real = np.arange(RECIPE.max_len) < lengths[..., None]
    ids = np.where(real, random.randint(0, architecture.vocab_size, real.shape), architecture.pad_id).astype(np.int32)
    np.savez(folder / "batches.npz", input_ids=ids, attention_mask=real.astype(np.int32), labels=labels)
    splits = {}
    for split, count in (("train", steps), ("dev", 1)):
        tokens = ids[:count][real[:count]]
        offsets = np.concatenate([[0], np.cumsum(lengths[:count])])
        types = np.zeros(len(tokens), np.uint8)
        splits[split] = Encoded(tokens, types, offsets, labels[:count].ravel(), architecture.pad_id)
    write_rows(folder / "encoded", splits)


def measure_round(setting: Setting, bare_first: bool) -> Round:
    """The least disturbed of the attempts, of which there is one only where nothing disturbs it."""

    def both_sides() -> tuple[Cost, Cost]:
        if bare_first:
            bare, ours = run_bare(setting), run_ours(setting)
        else:
            ours, bare = run_ours(setting), run_bare(setting)
        return bare, ours

    (bare, ours), busy = min(attempts(both_sides), key=lambda attempt: attempt[1])
    return Round(setting.backend, bare, ours, busy)


def run_bare(setting: Setting) -> Cost:
    """The cost of the backend's bare script: `bare.py` of its room, a page that trains BERT as a user of that library
    alone would and imports nothing of this project.

        python -P bare.py CHECKPOINT BATCHES.npz THREADS ANSWER.json

    BATCHES.npz holds `input_ids` and `attention_mask` int32 [steps, b, s], and `labels` int64 [steps, b]. The answer's
    seconds count from the script's first line; memory is in bytes. Raises SystemExit if it fails."""
    script = CHECKOUT / "backends" / setting.backend / "bare.py"
    command = [setting.python, "-P", script, setting.checkpoint, setting.work / "batches.npz", setting.threads]
    try:
        took: dict[str, Any] = run_script(command, setting.work / "bare.json", setting.threads)
    except ScriptFailed as failure:
        _fail(str(failure), failure.tail)
    return Cost(
        step_seconds=took["other_steps_seconds"] / (len(took["losses"]) - 1),
        start_seconds=took["start_seconds"],
        first_step_seconds=took["first_step_seconds"],
        peak_memory_bytes=took["peak_memory_bytes"],
    )


def run_ours(setting: Setting) -> Cost:
    """What a real worker takes for a training job of the same steps. Raises SystemExit where it fails."""
    job = Job(
        kind="train",
        backend=setting.backend,
        task="overhead",
        labels=("0", "1"),
        metrics=("accuracy",),
        data=str(setting.work / "encoded"),
        checkpoint=str(setting.checkpoint),
        recipe=RECIPE,
        device="cpu",
        threads=setting.threads,
    )
    with tempfile.TemporaryDirectory(dir=setting.work) as folder:
        job.write(Path(folder))
        outcome = run_worker(setting.python, Path(folder), setting.threads, lambda event: None)
    if outcome.answer is None:
        _fail(f"{setting.backend}: {outcome.error}", outcome.tail)
    epoch, first = outcome.answer["epochs"][0], outcome.answer["first_step_seconds"]
    return Cost(
        step_seconds=(epoch["seconds"] - first) / (epoch["steps"] - 1),
        start_seconds=outcome.answer["start_seconds"],
        first_step_seconds=first,
        peak_memory_bytes=outcome.answer["peak_memory_bytes"],
    )


def summary(rounds: list[Round]) -> list[tuple[str, ...]]:
    """The table's lines under HEADER: for each backend and quantity the median and, in brackets, the quartiles over
    the rounds. The ratio is ours by bare, taken within each round."""
    lines = []
    for backend in dict.fromkeys(r.backend for r in rounds):
        own = [r for r in rounds if r.backend == backend]
        for quantity in QUANTITIES:
            bare = np.array([quantity.value(r.bare) for r in own])
            ours = np.array([quantity.value(r.ours) for r in own])
            cells = [quartiles(bare, quantity.form), quartiles(ours, quantity.form), quartiles(ours / bare, ".3f")]
            lines.append((backend, quantity.name, *cells, quantity.bound))
    return lines


def write_tables(out: Path, rounds: list[Round], note: str) -> None:
    """Under `out`: `overhead.csv`, every round, and `overhead.md`, the summary and the note."""
    flat = [
        {"backend": r.backend, "busy_cores": r.busy_cores}
        | {f"{side}_{name}": value for side in ("bare", "ours") for name, value in asdict(getattr(r, side)).items()}
        for r in rounds
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    write_whole(out / "overhead.csv", text.getvalue())
    table = [HEADER, ("---",) * len(HEADER), *summary(rounds)]
    write_whole(out / "overhead.md", "\n".join(f"| {' | '.join(line)} |" for line in table) + f"\n\n{note}\n")


def _print_table(console: Console, rounds: list[Round], note: str) -> None:
    table = Table(title="Overhead", title_justify="left")
    for number, name in enumerate(HEADER):
        table.add_column(name, justify="left" if number < 2 else "right")
    for line in summary(rounds):
        table.add_row(*line, end_section=line[1] == QUANTITIES[-1].name)
    console.print(table)
    console.print(note, highlight=False)


def _line(measured: Round, number: int, of: int) -> str:
    parts = [
        f"{q.name} {format(q.value(measured.bare), q.form)} bare, {format(q.value(measured.ours), q.form)} ours"
        for q in QUANTITIES
    ]
    disturbed = (
        f" DISTURBED: others kept {measured.busy_cores:.2f} cores busy" if measured.busy_cores > DISTURBED else ""
    )
    return f"{measured.backend} round {number}/{of}: {'; '.join(parts)}{disturbed}"


def _fail(message: str, tail: tuple[str, ...]) -> NoReturn:
    for line in tail:
        print(f"  | {line}", file=sys.stderr)
    raise SystemExit(f"benchmarks.overhead: {message}")


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
