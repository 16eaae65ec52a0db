"""The results of a folder for notebooks: typed records, and the same as DataFrames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import pandas as pd

from benchmarks.reporting.record_tables import frame
from benchmarks.reporting.tidy import cells_frame, epochs_frame
from shared.errors import InputError
from shared.records import Record, read_records


@dataclass(frozen=True)
class Results:
    """The records of a folder. They can be iterated over and counted."""

    folder: Path
    records: list[Record]

    @classmethod
    def of(cls, folder: str | PathLike[str]) -> Results:
        """Reads a folder. Raises InputError if it holds no records, and naming a record of a newer format."""
        records = read_records(Path(folder))
        if not records:
            raise InputError(f"{folder}/records holds no records; pass the --out folder of a run")
        return cls(Path(folder), records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def frame(self) -> pd.DataFrame:
        """A row a cell: every option, score, time and circumstance. docs/results.md lists the columns."""
        return cells_frame(self.records)

    def epochs(self) -> pd.DataFrame:
        """A row an epoch of each cell: the learning curves."""
        return epochs_frame(self.records)

    def over_seeds(self) -> pd.DataFrame:
        """A row for the seeds of each question, with means and intervals: `table.csv`."""
        return frame(self.records)
