"""QQP, GLUE's Quora question pairs (Iyer, Dandekar and Csernai 2017): do two questions ask the same?"""

from __future__ import annotations

from pathlib import Path

from shared.tasks import Rows, Task
from shared.tasks.hub import load_glue
from shared.tasks.reading import Layout, find_layout, read_rows

LABELS = ("not_duplicate", "duplicate")
COLUMNS = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
# All tasks of GLUE have these file names, so only a folder of this task's name is trusted.
GLUE_LAYOUT = Layout(("train.tsv", "dev.tsv"), ("QQP",))


def load(data_dir: Path | None) -> dict[str, Rows]:
    """Reads GLUE's train and dev and, if the file is there, test without labels. GLUE's own train.tsv has some broken
    rows, which are refused as all broken rows are; docs/tasks.md says how to drop them."""
    if data_dir is None:
        return load_glue("qqp", "question1", "question2")
    _, folder = find_layout("qqp", data_dir, (GLUE_LAYOUT,))
    splits = {name: _labelled(folder / f"{name}.tsv") for name in ("train", "dev")}
    if (folder / "test.tsv").is_file():
        test = read_rows(folder / "test.tsv", columns=3, header=("id", "question1", "question2"))
        ids = [row.fields[0] for row in test]
        splits["test"] = Rows([row.text(1) for row in test], [row.text(2) for row in test], None, ids)
    return splits


def _labelled(file: Path) -> Rows:
    rows = read_rows(file, columns=len(COLUMNS), header=COLUMNS)
    return Rows([row.text(3) for row in rows], [row.text(4) for row in rows], [row.label(5, LABELS) for row in rows])


TASK = Task(
    "qqp",
    LABELS,
    pair=True,
    metrics=("f1", "accuracy", "mcc"),
    load=load,
    about="do the two questions ask the same?",
    counts={"train": 363846, "dev": 40430, "test": 390965},
)
