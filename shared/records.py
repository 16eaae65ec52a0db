"""Records: one JSON file a cell, with question, answer and circumstances, named by a hash of the question."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import InputError
from shared.files import write_whole

Record = dict[str, Any]

FORMAT = 1
PARTS = {"id", "asked", "model", "recipe", "rows", "majority", "answer", "circumstances"}
"""What every record holds beside its format."""

SPLITS = ("dev", "test")
"""What a cell is scored on."""


def cell_id(asked: dict[str, Any]) -> str:
    """16 hex digits of the sha256 over canonical JSON: sorted keys, no spaces."""
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def record_path(out: Path, cell: str) -> Path:
    return out / "records" / f"{cell}.json"


def write_record(out: Path, record: Record, arrays: dict[str, np.ndarray]) -> None:
    """The record as `records/ID.json` under `out` with its arrays in `ID.npz` beside it; the JSON file comes last, and
    is there only whole."""
    path = record_path(out, record["id"])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(path.with_suffix(".npz"))
    write_whole(path, json.dumps(record, ensure_ascii=False))


def read_records(out: Path) -> list[Record]:
    """Every record under `out`, by file name. Raises InputError naming a file that is no record."""
    records = []
    for path in sorted((out / "records").glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            known = record["format"] == FORMAT and record.keys() >= PARTS
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise InputError(f"{path} is not a record of this project; delete it and run its cell again")
        records.append(record)
    return records


def scores(record: Record, split: str) -> dict[str, float] | None:
    """The loss and each metric of the task on the split, by name; on dev, those of the epoch whose weights were kept.
    None where the split has no labels, or the task no such split."""
    answer = record["answer"]
    found: dict[str, float] | None
    found = answer["test"] if split == "test" else answer["epochs"][answer["kept_epoch"] - 1]["dev"]
    return found


def steady_epoch_seconds(answer: dict[str, Any]) -> list[float]:
    """Each epoch's training time as if no step had to trace or compile: the first step of the first epoch, which
    does, is replaced by the mean of that epoch's others."""
    seconds = [epoch["seconds"] for epoch in answer["epochs"]]
    steps = answer["epochs"][0]["steps"]
    if steps > 1:
        seconds[0] = (seconds[0] - answer["first_step_seconds"]) * steps / (steps - 1)
    return seconds
