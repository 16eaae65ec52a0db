"""`google-play` without repeated texts: where some are held out, none of them is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.tasks import Rows, Task, google_play


def load(data_dir: Path | None) -> dict[str, Rows]:
    """One split, `train`: the first review of each text, whatever the later ones' labels."""
    rows = google_play.read("google-play-unique", data_dir)
    first = {text: i for i, text in reversed(list(enumerate(rows.first)))}
    return {"train": rows.take(np.array(sorted(first.values())))}


TASK = Task("google-play-unique", google_play.LABELS, pair=False, metrics=google_play.TASK.metrics, load=load)
