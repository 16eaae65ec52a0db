"""The smallest place that shows a difference: array, and rows of it."""

from __future__ import annotations

import numpy as np

from benchmarks.parity.rungs import RUNG
from benchmarks.port.check import Check
from benchmarks.port.values import HIDDEN

MOST = 4
"""Rows that are listed."""


def smallest_place(check: Check, rung: str) -> str:
    """Where a rung differs from what follows from the port's own values: the array, and which rows of it if few."""
    found = None if rung in ("embeddings", "dropout") else check.by_itself(RUNG[rung])
    worst = found.worst if found else ""
    if rung not in HIDDEN or not worst:
        return worst
    values = check.own
    mine, right = ((each.part("eval", "1", "hidden") or {}).get(worst) for each in (values.values, values.replayed))
    if mine is None or right is None or mine.shape != right.shape or mine.ndim < 2:
        return worst
    pack = values.values.pack
    valid = pack.batch(pack.run("eval").steps[0])["attention_mask"] == 1
    errors = np.abs(mine - right)
    errors = errors.max(-1) * valid if mine.ndim == 3 else errors.max(-1)[:, None]
    bound = float(errors.max()) / max(found.share, 1e-300) if found else 0.0
    rows = np.flatnonzero((errors > bound).any(1))
    if len(rows) == len(errors):
        return f"{worst}, in every row"
    return f"{worst}, in row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:MOST]))} of {len(errors)}"
