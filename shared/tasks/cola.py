"""CoLA, the Corpus of Linguistic Acceptability (Warstadt, Singh and Bowman 2018): is an English sentence acceptable?"""

from __future__ import annotations

from pathlib import Path

from shared.tasks import Rows, Task
from shared.tasks.hub import load_glue
from shared.tasks.reading import Layout, find_layout, read_rows

LABELS = ("unacceptable", "acceptable")
ORIGINAL = Layout(
    ("in_domain_train.tsv", "in_domain_dev.tsv", "out_of_domain_dev.tsv"),
    ("CoLA/cola_public/raw", "cola_public/raw", "CoLA/raw", "raw", "."),
)
# GLUE's file names are those of every GLUE task, so only a folder of the task's own name is trusted to hold them.
GLUE = Layout(("train.tsv", "dev.tsv"), ("CoLA",))


def load(data_dir: Path | None) -> dict[str, Rows]:
    """Original files: train, dev (in-domain) and test (out-of-domain dev). GLUE's: train, dev (both together), and
    test without labels where its file is there."""
    if data_dir is None:
        return load_glue("cola", "sentence", None)
    layout, folder = find_layout("cola", data_dir, (ORIGINAL, GLUE))
    splits = {
        name: _labelled(folder / file) for name, file in zip(("train", "dev", "test"), layout.files, strict=False)
    }
    if layout is GLUE and (folder / "test.tsv").is_file():
        test = read_rows(folder / "test.tsv", columns=2, header=True)
        splits["test"] = Rows([row.text(1) for row in test], None, None)
    return splits


def _labelled(file: Path) -> Rows:
    """Columns: source, label, the author's own mark, sentence."""
    rows = read_rows(file, columns=4, header=False)
    return Rows([row.text(3) for row in rows], None, [row.label(1, LABELS) for row in rows])


TASK = Task("cola", LABELS, pair=False, metrics=("mcc", "accuracy", "f1"), load=load)
