"""Reads the arrays beside a record, as anyone may: the project writes them for others."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from shared.records import Record, record_path


class NotItsArrays(Exception):
    """The file is not the one that was written with the record."""


def read_arrays(out: Path, record: Record) -> dict[str, np.ndarray]:
    """The arrays of a record: the logits of each split, [rows, labels]. Raises NotItsArrays."""
    path = record_path(out, record.id).with_suffix(".npz")
    if hashlib.sha256(path.read_bytes()).hexdigest() != record.arrays:
        raise NotItsArrays(path)
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)
