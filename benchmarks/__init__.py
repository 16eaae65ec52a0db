"""Commands that people type: `python -m benchmarks.run`, `python -m benchmarks.report`; and `load`, for notebooks."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.reporting.results import Results


def load(folder: str | PathLike[str]) -> Results:
    """Reads the records of a folder that a run had as `--out`. Raises InputError if it holds none, and naming a record
    of a newer format."""
    # Imported here: every command imports this package, and few need pandas.
    from benchmarks.reporting.results import Results

    return Results.of(folder)
