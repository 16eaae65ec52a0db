"""A look at own data before it is trained on: rows, labels, lengths, and what is cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from benchmarks.cells.plan import Question
from shared.encoding import read_encoded

SHOWN_LABELS = 8
"""Labels that are listed, the most frequent ones."""


def look(questions: Iterable[Question]) -> Iterator[str]:
    """Lines about the own data among the questions: for each task its rows and labels, and for each max_len the tokens
    of its training rows."""
    seen: set[object] = set()
    for question in questions:
        task = question.task
        if not task.own:
            continue
        if task.name not in seen:
            seen.add(task.name)
            yield from _rows(question)
        if (task.name, question.data) not in seen:
            seen.add((task.name, question.data))
            yield _tokens(question)


def _rows(question: Question) -> Iterator[str]:
    task = question.task
    counts = ", ".join(f"{split} {len(rows):,}" for split, rows in question.splits.items())
    yield f"{task.name}: {counts} rows; {task.about}"
    labels = np.bincount(question.splits["train"].labels or [], minlength=len(task.labels))
    order = np.argsort(-labels, kind="stable")
    shares = [f"{task.labels[n]} {labels[n] / labels.sum():.1%}" for n in order[:SHOWN_LABELS]]
    more = f", and {len(order) - SHOWN_LABELS} more labels" if len(order) > SHOWN_LABELS else ""
    yield f"    train's labels: {', '.join(shares)}{more}"


def _tokens(question: Question) -> str:
    lengths, max_len = read_encoded(question.data)["train"].lengths, question.recipe.max_len
    full = int((lengths >= max_len).sum())
    cut = (
        f"{full:,} rows ({full / len(lengths):.1%}) fill it, and are cut if they are longer"
        if full
        else "no row fills it"
    )
    return f"    train's tokens at max_len {max_len}: mean {lengths.mean():.1f}, most {lengths.max()}; {cut}"
