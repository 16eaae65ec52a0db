"""`google-play` without repeated texts, so that no text is both held out and trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.tasks import Rows, Task, google_play


def load(data_dir: Path | None) -> dict[str, Rows]:
    """Reads the one split, `train`: the first review of each text, even if later ones have other labels."""
    rows = google_play.read("google-play-unique", data_dir)
    first = {text: i for i, text in reversed(list(enumerate(rows.first)))}
    return {"train": rows.take(np.array(sorted(first.values())))}


TASK = Task(
    "google-play-unique",
    google_play.LABELS,
    pair=False,
    metrics=google_play.TASK.metrics,
    load=load,
    about="the same, each text once",
    counts={"train": 7667},
)
