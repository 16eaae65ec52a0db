"""Measures report.html of made-up records, in an empty folder: python -m tests.page_cost NUMBER [SEEDS]."""

from __future__ import annotations

import itertools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from backends import BACKENDS
from benchmarks.reporting.html.page import FILE, write_html
from benchmarks.reporting.record_tables import Tables
from shared.files import to_json
from shared.metrics import details
from shared.recipe import Recipe
from shared.records import Record, Records, record_path
from tests.factories import answer, epoch, record

STEPS = 58
ROWS = 50


def made_up(seeds: int) -> Iterator[Record]:
    """Records of four backends, lengths by batch sizes, and so many seeds; without end."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, ROWS)
    predicted = np.where(random.random(ROWS) < 0.8, labels, 1 - labels)
    matrix = {"dev": details(labels, predicted, ("no", "yes"), ROWS)}
    grid = list(itertools.product((32, 64, 96, 128, 160), (8, 16, 32, 48, 64), BACKENDS, range(seeds)))
    for rate, (max_len, batch, backend, seed) in ((rate, place) for rate in itertools.count(1) for place in grid):
        score = float(np.clip(random.normal(0.8, 0.02), 0, 1))
        seconds = 10 * max_len / batch * float(random.normal(1, 0.05))
        trained = answer(
            [epoch(seconds * factor, dev=score, steps=STEPS) for factor in (1, 1.02)],
            test=score,
            step_loss=random.normal(0.5, 0.05, 2 * STEPS).tolist(),
            details=matrix,
            predictions={"dev": predicted.tolist()},
        )
        recipe = Recipe(max_len=max_len, batch_size=batch, seed=seed, learning_rate=rate / 1e5, epochs=2)
        yield replace(record(recipe, backend), answer=trained)


def memory() -> int:
    """The most MiB that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10


def main(number: int, seeds: int) -> None:
    """Prints what the tables and the page took."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        (out / "records").mkdir()
        for one in itertools.islice(made_up(seeds), number):
            record_path(out, one.id).write_text(to_json(one, finite=True))
        start = time.process_time()
        tables = Tables.of(Records(out))
        rows = len(tables.raw)
        made, least = time.process_time(), memory()
        write_html(out, tables)
        took = time.process_time() - made
        size = (out / FILE).stat().st_size
    print(json.dumps({"records": number, "rows": rows, "tables s": made - start, "page s": took, "MB": size / 1e6}))
    print(json.dumps({"MiB, tables": least, "MiB, page": memory()}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 10)
