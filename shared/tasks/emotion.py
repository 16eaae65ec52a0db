"""Emotion (Saravia et al. 2018, CARER): which of six emotions does a tweet express?"""

from __future__ import annotations

from pathlib import Path

from shared.tasks import Rows, Task
from shared.tasks.hub import load_hub
from shared.tasks.reading import Layout, find_layout, read_rows

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")
"""Names of the labels in the order of the hub's dair-ai/emotion."""
# Many data sets have these file names, so only a folder of this task's name is trusted.
LAYOUT = Layout(("train.txt", "val.txt", "test.txt"), ("emotion",))


def load(data_dir: Path | None) -> dict[str, Rows]:
    """Reads train, dev and test, all labelled."""
    if data_dir is None:
        return load_hub("emotion", "dair-ai/emotion", "text", name="split")
    layout, folder = find_layout("emotion", data_dir, (LAYOUT,))
    return {name: _rows(folder / file) for name, file in zip(("train", "dev", "test"), layout.files, strict=True)}


def _rows(file: Path) -> Rows:
    """Reads a file with the columns text and label's name. A text may contain semicolons."""
    rows = read_rows(file, columns=2, separator=";", first_is_free=True)
    return Rows([row.text(0) for row in rows], None, [row.choice(1, LABELS) for row in rows])


TASK = Task(
    "emotion",
    LABELS,
    pair=False,
    metrics=("accuracy", "macro_f1", "mcc"),
    load=load,
    about="which of six emotions does the tweet express?",
    counts={"train": 16000, "dev": 2000, "test": 2000},
)
