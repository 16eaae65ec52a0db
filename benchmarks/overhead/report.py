"""Overhead as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.overhead.rounds import (
    Cost,
    Round,
)
from benchmarks.workers.attempts import DISTURBED, quartiles
from shared.files import write_whole


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


def print_summary(console: Console, rounds: list[Round], note: str) -> None:
    table = Table(title="Overhead", title_justify="left")
    for number, name in enumerate(HEADER):
        table.add_column(name, justify="left" if number < 2 else "right")
    for line in summary(rounds):
        table.add_row(*line, end_section=line[1] == QUANTITIES[-1].name)
    console.print(table)
    console.print(note, highlight=False)


def round_line(measured: Round, number: int, of: int) -> str:
    parts = [
        f"{q.name} {format(q.value(measured.bare), q.form)} bare, {format(q.value(measured.ours), q.form)} ours"
        for q in QUANTITIES
    ]
    disturbed = (
        f" DISTURBED: others kept {measured.busy_cores:.2f} cores busy" if measured.busy_cores > DISTURBED else ""
    )
    return f"{measured.backend} round {number}/{of}: {'; '.join(parts)}{disturbed}"
