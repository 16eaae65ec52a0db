"""Reviews of apps in Google Play: is a review negative, neutral or positive? The author's stars give the label."""

from __future__ import annotations

from pathlib import Path

from shared.errors import InputError
from shared.tasks import Rows, Task
from shared.tasks.reading import Layout, find_layout, read_csv

LABELS = ("negative", "neutral", "positive")
STARS = ("1", "2", "3", "4", "5")
LABEL_OF_STARS = (0, 0, 1, 2, 2)
"""The label's index for each of STARS."""
LAYOUT = Layout(("reviews.csv",), ("google-play",))


def load(data_dir: Path | None) -> dict[str, Rows]:
    """Reads the one split, `train`; a recipe holds rows out of it. The hub has no copy."""
    return {"train": read("google-play", data_dir)}


def read(task: str, data_dir: Path | None) -> Rows:
    """Reads all reviews. Raises InputError if `data_dir` is None."""
    if data_dir is None:
        raise InputError(f"{task} is not on the hub; pass --data-dir a folder that holds google-play/reviews.csv")
    layout, folder = find_layout(task, data_dir, (LAYOUT,))
    rows, (content, score) = read_csv(folder / layout.files[0], ("content", "score"))
    labels = [LABEL_OF_STARS[row.choice(score, STARS)] for row in rows]
    return Rows([row.text(content) for row in rows], None, labels)


TASK = Task(
    "google-play",
    LABELS,
    pair=False,
    metrics=("accuracy", "macro_f1", "mcc"),
    load=load,
    about="is the app's review negative, neutral or positive?",
    counts={"train": 8055},
)
