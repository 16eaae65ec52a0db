"""The request of a command line of benchmarks.speed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.variants import Variant
from shared.recipe import Recipe


@dataclass(frozen=True)
class Wanted:
    """The options, read and checked."""

    backends: list[str]
    task: str
    model: str
    recipes: list[Recipe]
    """One; for growing work, one a number of rows."""
    variants: list[Variant]
    """Rows of the table; for growing work, one a backend."""
    steps: int
    """Steps of a sample."""
    rounds: int
    device: str
    threads: int | None
    """None for all processors."""
    data_dir: Path | None
    """None for the hub's copy."""
    pythons: dict[str, Path]
    """Interpreters that were given, by backend."""
    out: Path
    rerun: bool
    """Measure again what is measured already."""
