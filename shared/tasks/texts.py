"""Texts that stay in a file: a column of any length in a few kilobytes of memory."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self, overload

import numpy as np

from shared.arrays import ArrayWriter

AT_ONCE = 8192
"""Texts that are read together."""


class Texts(Sequence[str]):
    """A column of texts in `NAME.bin`, UTF-8, end to end, with their ends in `NAME.npy`. Equal to a list of the same
    texts. A slice, and `take`, give another view of the same files."""

    def __init__(self, file: Path, rows: np.ndarray | range | None = None) -> None:
        self.file = file
        self.ends: np.ndarray = np.load(file.with_suffix(".npy"), mmap_mode="r").view(np.ndarray)
        self.rows = range(len(self.ends) - 1) if rows is None else rows
        self.opened = os.open(file.with_suffix(".bin"), os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "opened"):
            os.close(self.opened)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Self: ...
    def __getitem__(self, at: int | slice) -> str | Self:
        if isinstance(at, slice):
            return type(self)(self.file, self.rows[at])
        row = int(self.rows[at])
        return self._read(row, row + 1).decode()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), AT_ONCE):
            yield from self._texts(self.rows[start : start + AT_ONCE])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return NotImplemented if not isinstance(other, Sequence) else False
        return all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Texts({self.file}, {len(self)} rows)"

    def take(self, rows: np.ndarray) -> Self:
        """The texts at these places (int64 [n]), in this order."""
        return type(self)(self.file, np.asarray(self.rows)[rows])

    def _texts(self, rows: np.ndarray | range) -> list[str]:
        """The texts of these rows of the file. Rows one after another are read at once."""
        if isinstance(rows, range) and rows.step == 1 and rows:
            ends = self.ends[rows.start : rows.stop + 1]
            content = self._read(rows.start, rows.stop)
            cuts = (ends - ends[0]).tolist()
            return [content[start:end].decode() for start, end in itertools.pairwise(cuts)]
        return [self._read(row, row + 1).decode() for row in map(int, rows)]

    def _read(self, first: int, last: int) -> bytes:
        start, end = int(self.ends[first]), int(self.ends[last])
        return os.pread(self.opened, end - start, start)


class TextWriter:
    """Writes a column of texts that `Texts` reads. Keeps no text in memory."""

    def __init__(self, file: Path) -> None:
        self.end = 0
        self.content = file.with_suffix(".bin").open("wb")
        self.ends = ArrayWriter(file.with_suffix(".npy"), np.int64)
        self.ends.add([0])

    def add(self, texts: Iterable[str]) -> None:
        """Appends texts. Raises UnicodeEncodeError for one that is no Unicode text, as half of a surrogate pair is
        none."""
        encoded = [text.encode() for text in texts]
        self.content.write(b"".join(encoded))
        ends = self.end + np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        self.ends.add(ends)
        self.end = int(ends[-1]) if len(ends) else self.end

    def close(self) -> None:
        """Completes the files."""
        self.content.close()
        self.ends.close()
