"""Arrays that are written piece by piece, so that memory does not grow with them."""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

HEADER = 128
"""Bytes before the values: numpy pads the header of a one-dimensional array to this."""


class ArrayWriter:
    """Writes the `.npy` file of an array of one dimension. It is complete after `close`."""

    def __init__(self, file: Path, dtype: Any) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.length = 0
        self.opened = file.open("wb")
        self.opened.write(bytes(HEADER))

    def add(self, values: Any) -> None:
        """Appends values: an array, or any sequence of numbers that fits the type."""
        piece = np.asarray(values, self.dtype)
        self.opened.write(piece.data)
        self.length += len(piece)

    def close(self) -> None:
        """Writes the header, which holds the length."""
        header = io.BytesIO()
        described = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(header, described)
        if len(header.getvalue()) != HEADER:
            raise RuntimeError(f"numpy's header has {len(header.getvalue())} bytes where {HEADER} are left for it")
        self.opened.seek(0)
        self.opened.write(header.getvalue())
        self.opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self.opened.close()
