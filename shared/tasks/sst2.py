"""SST-2, GLUE's binary sentiment task (Socher et al. 2013; Wang et al. 2018): is a phrase of a film review positive?"""

from __future__ import annotations

from pathlib import Path

from shared.tasks import Rows, Task
from shared.tasks.hub import load_glue
from shared.tasks.reading import Layout, find_layout, read_rows

LABELS = ("negative", "positive")
# All tasks of GLUE have these file names, so only a folder of this task's name is trusted.
GLUE_LAYOUT = Layout(("train.tsv", "dev.tsv"), ("SST-2",))


def load(data_dir: Path | None) -> dict[str, Rows]:
    """Reads GLUE's train and dev and, if the file is there, test without labels."""
    if data_dir is None:
        return load_glue("sst2", "sentence", None)
    _, folder = find_layout("sst2", data_dir, (GLUE_LAYOUT,))
    splits = {name: _labelled(folder / f"{name}.tsv") for name in ("train", "dev")}
    if (folder / "test.tsv").is_file():
        test = read_rows(folder / "test.tsv", columns=2, header=("index", "sentence"))
        splits["test"] = Rows([row.text(1) for row in test], None, None, [row.fields[0] for row in test])
    return splits


def _labelled(file: Path) -> Rows:
    rows = read_rows(file, columns=2, header=("sentence", "label"))
    return Rows([row.text(0) for row in rows], None, [row.label(1, LABELS) for row in rows])


TASK = Task(
    "sst2",
    LABELS,
    pair=False,
    metrics=("accuracy", "mcc", "f1"),
    load=load,
    about="is the phrase of a film review positive?",
    counts={"train": 67349, "dev": 872, "test": 1821},
)
