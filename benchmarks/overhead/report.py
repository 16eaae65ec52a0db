"""The table of overhead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from benchmarks.overhead.rounds import Cost, Round
from benchmarks.reporting.numbers import quartiles
from benchmarks.reporting.page import Page, Table, Text
from benchmarks.workers.attempts import DISTURBED


@dataclass(frozen=True)
class Quantity:
    """A line of the table."""

    name: str
    form: str
    """Python's format of the number."""
    value: Callable[[Cost], float]
    bound: str
    """The most that the ratio should be; empty if nothing was promised."""


QUANTITIES = (
    Quantity("step s", ".3f", lambda cost: cost.step_seconds, "1.05"),
    Quantity("start s", ".2f", lambda cost: cost.start_seconds, "1.3"),
    Quantity("first step s", ".2f", lambda cost: cost.first_step_seconds, ""),
    Quantity("peak MiB", ".0f", lambda cost: cost.peak_memory_bytes / 2**20, "1.1"),
)


def summary(rounds: list[Round]) -> pd.DataFrame:
    """A row for each backend and quantity: the median and, in brackets, the quartiles over the rounds. The ratio is
    ours by bare, taken within each round. Every cell is a string."""
    rows = []
    for backend in dict.fromkeys(r.backend for r in rounds):
        own = [r for r in rounds if r.backend == backend]
        for quantity in QUANTITIES:
            bare = np.array([quantity.value(r.bare) for r in own])
            ours = np.array([quantity.value(r.ours) for r in own])
            rows.append(
                {
                    "backend": backend,
                    "": quantity.name,
                    "bare": quartiles(bare, quantity.form),
                    "ours": quartiles(ours, quantity.form),
                    "ratio": quartiles(ours / bare, ".3f"),
                    "at most": quantity.bound,
                }
            )
    return pd.DataFrame(rows)


def overhead_page(rounds: list[Round], note: str) -> Page:
    """The summary, and the note under it."""
    return Page([Table(summary(rounds), "Overhead", heading=False), Text([note])])


def rounds_frame(rounds: list[Round]) -> pd.DataFrame:
    """Every round as raw values, a row each."""
    return pd.DataFrame(
        [
            {"backend": r.backend, "busy_cores": r.busy_cores} | _side("bare", r.bare) | _side("ours", r.ours)
            for r in rounds
        ]
    )


def _side(side: str, cost: Cost) -> dict[str, float]:
    return {f"{side}_{name}": value for name, value in asdict(cost).items()}


def round_line(measured: Round, number: int, of: int) -> str:
    """A round on one line."""
    parts = [
        f"{q.name} {format(q.value(measured.bare), q.form)} bare, {format(q.value(measured.ours), q.form)} ours"
        for q in QUANTITIES
    ]
    disturbed = (
        f" DISTURBED: others kept {measured.busy_cores:.2f} cores busy" if measured.busy_cores > DISTURBED else ""
    )
    return f"{measured.backend} round {number}/{of}: {'; '.join(parts)}{disturbed}"
