"""Emotion (Saravia et al. 2018, CARER): which of six emotions does a tweet express?"""

from __future__ import annotations

from pathlib import Path

from shared.tasks import Rows, Task
from shared.tasks.hub import load_hub
from shared.tasks.reading import Layout, find_layout, read_rows

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")
"""In the order of the hub's dair-ai/emotion."""
# The file names could be anyone's, so only a folder of the task's own name is trusted to hold them.
FILES = Layout(("train.txt", "val.txt", "test.txt"), ("emotion",))


def load(data_dir: Path | None) -> dict[str, Rows]:
    """Train, dev and test, all labelled."""
    if data_dir is None:
        return load_hub("emotion", "dair-ai/emotion", "text", name="split")
    layout, folder = find_layout("emotion", data_dir, (FILES,))
    return {name: _rows(folder / file) for name, file in zip(("train", "dev", "test"), layout.files, strict=True)}


def _rows(file: Path) -> Rows:
    """Columns: text, the label's name; a text may hold semicolons."""
    rows = read_rows(file, columns=2, separator=";", first_is_free=True)
    return Rows([row.text(0) for row in rows], None, [row.choice(1, LABELS) for row in rows])


TASK = Task("emotion", LABELS, pair=False, metrics=("accuracy", "macro_f1", "mcc"), load=load)
