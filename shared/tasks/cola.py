"""CoLA, the Corpus of Linguistic Acceptability (Warstadt, Singh and Bowman 2018): is an English sentence acceptable?"""

from __future__ import annotations

from pathlib import Path

from shared.tasks import Rows, Task
from shared.tasks.hub import load_glue
from shared.tasks.reading import Layout, find_layout, read_rows

LABELS = ("unacceptable", "acceptable")
ORIGINAL_LAYOUT = Layout(
    ("in_domain_train.tsv", "in_domain_dev.tsv", "out_of_domain_dev.tsv"),
    ("CoLA/cola_public/raw", "cola_public/raw", "CoLA/raw", "raw", "."),
)
# All tasks of GLUE have these file names, so only a folder of this task's name is trusted.
GLUE_LAYOUT = Layout(("train.tsv", "dev.tsv"), ("CoLA",))


def load(data_dir: Path | None) -> dict[str, Rows]:
    """Reads CoLA. The original files give train, dev (in-domain) and test (out-of-domain dev). GLUE's give train, dev
    (both together) and, if the file is there, test without labels."""
    if data_dir is None:
        return load_glue("cola", "sentence", None)
    layout, folder = find_layout("cola", data_dir, (ORIGINAL_LAYOUT, GLUE_LAYOUT))
    splits = {
        name: _labelled(folder / file) for name, file in zip(("train", "dev", "test"), layout.files, strict=False)
    }
    if layout is GLUE_LAYOUT and (folder / "test.tsv").is_file():
        test = read_rows(folder / "test.tsv", columns=2, header=True)
        splits["test"] = Rows([row.text(1) for row in test], None, None, [row.fields[0] for row in test])
    return splits


def _labelled(file: Path) -> Rows:
    """Reads a file with the columns source, label, the author's own mark, sentence."""
    rows = read_rows(file, columns=4, header=False)
    return Rows([row.text(3) for row in rows], None, [row.label(1, LABELS) for row in rows])


TASK = Task(
    "cola",
    LABELS,
    pair=False,
    metrics=("mcc", "accuracy", "f1"),
    load=load,
    about="is the sentence acceptable English?",
    counts={"train": 8551, "dev": 527, "test": 516},
)
