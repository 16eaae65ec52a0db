"""Reviews of apps in Google Play: is one negative, neutral or positive, by the stars that its author gave?"""

from __future__ import annotations

from pathlib import Path

from shared.errors import InputError
from shared.tasks import Rows, Task
from shared.tasks.reading import Layout, find_layout, read_csv

LABELS = ("negative", "neutral", "positive")
STARS = ("1", "2", "3", "4", "5")
OF_STARS = (0, 0, 1, 2, 2)
FILES = Layout(("reviews.csv",), ("google-play",))


def load(data_dir: Path | None) -> dict[str, Rows]:
    """One split, `train`: what is held out of it is the recipe's business. There is no copy on the hub."""
    return {"train": read("google-play", data_dir)}


def read(task: str, data_dir: Path | None) -> Rows:
    """All reviews. Raises InputError where no folder is given."""
    if data_dir is None:
        raise InputError(f"{task} is not on the hub; pass --data-dir a folder that holds google-play/reviews.csv")
    layout, folder = find_layout(task, data_dir, (FILES,))
    rows, (content, score) = read_csv(folder / layout.files[0], ("content", "score"))
    labels = [OF_STARS[row.choice(score, STARS)] for row in rows]
    return Rows([row.text(content) for row in rows], None, labels)


TASK = Task("google-play", LABELS, pair=False, metrics=("accuracy", "macro_f1", "mcc"), load=load)
