"""GLUE's tasks of inference between two texts, and what GLUE's server takes as an answer to any of its tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.tasks import Rows, Task
from shared.tasks.hub import OUR_NAMES, load_glue
from shared.tasks.reading import Layout, find_layout, read_named

FILES = {"train": "train.tsv", "dev": "dev.tsv", "test": "test.tsv"}
"""GLUE's file of each split."""


@dataclass(frozen=True)
class Inference:
    """The files and columns of a task. The files are tab-separated, with a header."""

    name: str
    """Name of the task here, and of its configuration on the hub."""
    folder: str
    first: str
    second: str
    labels: tuple[str, ...]
    """Names of the labels, in the hub's order."""
    in_files: tuple[str, ...]
    """The labels as the files write them."""
    label: str = "label"
    hub_first: str | None = None
    hub_second: str | None = None
    """Columns on the hub, if they have other names there."""
    files: tuple[tuple[str, str], ...] = tuple(FILES.items())
    hub_splits: tuple[tuple[str, str], ...] = tuple(OUR_NAMES.items())
    """The hub's splits, and their names here."""

    def load(self, data_dir: Path | None) -> dict[str, Rows]:
        """Reads train and dev, and the other splits whose files are there; test has no labels."""
        if data_dir is None:
            columns = self.hub_first or self.first, self.hub_second or self.second
            return load_glue(self.name, *columns, splits=dict(self.hub_splits))
        files = dict(self.files)
        # All tasks of GLUE have these file names, so only a folder of this task's name is trusted.
        _, folder = find_layout(self.name, data_dir, (Layout((files["train"], files["dev"]), (self.folder,)),))
        return {split: self._read(folder / file, split) for split, file in files.items() if (folder / file).is_file()}

    def _read(self, file: Path, split: str) -> Rows:
        labelled = not split.startswith("test")
        names = ("index", self.first, self.second, *([self.label] if labelled else []))
        rows, (index, first, second, *label) = read_named(file, names)
        return Rows(
            [row.text(first) for row in rows],
            [row.text(second) for row in rows],
            [row.choice(label[0], self.in_files) for row in rows] if labelled else None,
            [row.fields[index] for row in rows],
        )

    def task(self, about: str, metrics: tuple[str, ...], **counts: int) -> Task:
        """The task, with the question that it asks and the published rows of each split."""
        named = {split.replace("_", "-"): count for split, count in counts.items()}
        return Task(self.name, self.labels, pair=True, metrics=metrics, load=self.load, about=about, counts=named)


@dataclass(frozen=True)
class Submission:
    """A file that GLUE's server takes."""

    file: str
    split: str
    rows: int
    """Rows of GLUE's own test, all of which the server wants."""
    words: bool = False
    """Whether it wants the labels' names; else their numbers."""


SUBMISSIONS = {
    "cola": (Submission("CoLA.tsv", "test", 1063),),
    "sst2": (Submission("SST-2.tsv", "test", 1821),),
    "mrpc": (Submission("MRPC.tsv", "test", 1725),),
    "qqp": (Submission("QQP.tsv", "test", 390_965),),
    "mnli": (
        Submission("MNLI-m.tsv", "test", 9796, words=True),
        Submission("MNLI-mm.tsv", "test-mismatched", 9847, words=True),
    ),
    "qnli": (Submission("QNLI.tsv", "test", 5463, words=True),),
    "rte": (Submission("RTE.tsv", "test", 3000, words=True),),
    "wnli": (Submission("WNLI.tsv", "test", 146),),
}
"""The files of each task of GLUE that is here."""
