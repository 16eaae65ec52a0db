"""MRPC, the Microsoft Research Paraphrase Corpus (Dolan and Brockett 2005): do two sentences say the same?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.errors import InputError
from shared.tasks import Rows, Task
from shared.tasks.hub import load_glue
from shared.tasks.reading import Layout, Row, find_layout, read_rows

LABELS = ("not_equivalent", "equivalent")
ORIGINAL_LAYOUT = Layout(
    ("msr_paraphrase_train.txt", "msr_paraphrase_test.txt", "mrpc_dev_ids.tsv"),
    ("MRPC", "."),
)
# All tasks of GLUE have these file names, so only a folder of this task's name is trusted.
GLUE_LAYOUT = Layout(("train.tsv", "dev.tsv"), ("MRPC",))


def load(data_dir: Path | None) -> dict[str, Rows]:
    """Reads MRPC in GLUE's split: from the original files with GLUE's list of dev ids, or from GLUE's own files, with
    test without labels if that file is there."""
    if data_dir is None:
        return load_glue("mrpc", "sentence1", "sentence2")
    layout, folder = find_layout("mrpc", data_dir, (ORIGINAL_LAYOUT, GLUE_LAYOUT))
    if layout is GLUE_LAYOUT:
        train, dev = (read_rows(folder / file, columns=5, header=True) for file in GLUE_LAYOUT.files)
        splits = {"train": _labelled(train), "dev": _labelled(dev)}
        if (folder / "test.tsv").is_file():
            splits["test"] = _unlabelled(read_rows(folder / "test.tsv", columns=5, header=True))
        return splits
    rows, test = (read_rows(folder / file, columns=5, header=True) for file in layout.files[:2])
    ids = read_rows(folder / layout.files[2], columns=2, header=False)
    known = {_ids(row) for row in rows}
    for pair in ids:
        if tuple(pair.fields) not in known:
            raise pair.malformed(f"{' '.join(pair.fields)} are no ids of a row of {layout.files[0]}")
    held_out = {tuple(pair.fields) for pair in ids}
    train, dev = ([row for row in rows if (_ids(row) in held_out) is out] for out in (False, True))
    if not train:
        raise InputError(f"{folder / layout.files[2]} leaves no rows to train on; restore the file")
    return {"train": _labelled(train), "dev": _labelled(dev), "test": _labelled(test)}


def _ids(row: Row) -> tuple[str, str]:
    return row.fields[1], row.fields[2]


def _labelled(rows: Sequence[Row]) -> Rows:
    """Rows of the columns label, two ids, two sentences."""
    return Rows(*_texts(rows), [row.label(0, LABELS) for row in rows])


def _unlabelled(rows: Sequence[Row]) -> Rows:
    """Rows of the columns index, two ids, two sentences."""
    return Rows(*_texts(rows), None, [row.fields[0] for row in rows])


def _texts(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    return [row.text(3) for row in rows], [row.text(4) for row in rows]


TASK = Task(
    "mrpc",
    LABELS,
    pair=True,
    metrics=("f1", "accuracy", "mcc"),
    load=load,
    about="do the two sentences say the same?",
    counts={"train": 3668, "dev": 408, "test": 1725},
)
