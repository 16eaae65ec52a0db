"""Tells where dropout was applied by statistics over the entries of the embeddings: what is dropped is zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchmarks.parity.ladder import DEVIATIONS
from benchmarks.port.own_values import OwnValues
from shared.pack import Arrays

ALIKE = 1e-4
"""Entries nearer than this share of the largest are alike."""
LEAST = 0.002
"""The smallest share of zeros that is called dropout."""


@dataclass(frozen=True)
class Dropped:
    """A mistake of dropout."""

    id: str
    rate: float | None
    note: str


def dropped(own: OwnValues, run_name: str) -> Dropped | None:
    """The mistake of dropout that the first embeddings of a run show; None if they show none."""
    pack = own.values.pack
    run = pack.run(run_name)
    mine, right = (values.part(run_name, "1", "hidden") or {} for values in (own.values, own.replayed))
    if "embeddings" not in mine or "embeddings" not in right:
        return None
    valid = pack.batch(run.steps[0])["attention_mask"] == 1
    got, exact = mine["embeddings"][valid], right["embeddings"][valid]
    zeros = float((got == 0).mean())
    if not np.isfinite(got).all():
        return None
    if run.settings.dropout == 0 or (not run.trains and run_name != "dropout"):
        return _left_on(got, exact, zeros)
    return _otherwise(got, exact, zeros, run.settings.dropout, own.values.pack.weights)


def _left_on(got: np.ndarray, exact: np.ndarray, zeros: float) -> Dropped | None:
    rate = _rate(got, exact)
    if zeros < LEAST or rate is None or not _chance(zeros, rate, got.size):
        return None
    return Dropped("dropout-on", rate, f"{zeros:.3f} of the embeddings are zero, the others scaled as at {rate:.3g}")


def _otherwise(got: np.ndarray, exact: np.ndarray, zeros: float, wanted: float, weights: Arrays) -> Dropped | None:
    if _alike(got, exact):
        return Dropped("dropout-off", None, "no entry is zero, and all are those without dropout")
    rate = _rate(got, exact)
    if zeros >= LEAST and rate is not None and _chance(zeros, rate, got.size):
        return Dropped("dropout-rate", rate, f"{zeros:.3f} are zero, the others scaled as at {rate:.3g}")
    repeated = _repeated_before_norm(got, weights)
    if zeros < LEAST and repeated is not None and _chance(repeated, wanted, got.size):
        note = f"none is zero, and before LayerNorm's weights {repeated:.3f} of each token's entries are equal"
        return Dropped("dropout-before-norm", None, note)
    return None


def _rate(got: np.ndarray, exact: np.ndarray) -> float | None:
    """The rate at which kept entries are 1 / (1 - rate) times as large; None if they are not so."""
    kept = got != 0
    if not kept.any():
        return None
    rate = 1 - float(np.median(exact[kept] / got[kept]))
    return rate if 0 < rate < 1 and _alike(got[kept] * (1 - rate), exact[kept]) else None


def _alike(got: np.ndarray, exact: np.ndarray) -> bool:
    return bool(np.abs(got - exact).max(initial=0.0) <= ALIKE * np.abs(exact).max(initial=0.0))


def _chance(share: float, rate: float, entries: int) -> bool:
    """Whether a share of dropped entries is one that the rate gives."""
    return abs(share - rate) <= DEVIATIONS * math.sqrt(max(rate * (1 - rate), 1e-12) / entries)


def _repeated_before_norm(got: np.ndarray, weights: Arrays) -> float | None:
    """The share of entries that equal others of their token once LayerNorm's weight and bias are taken away: a zero
    before LayerNorm is one number after it. None without such a LayerNorm."""
    scale = next((w for name, w in weights.items() if name.endswith("embeddings.LayerNorm.weight")), None)
    shift = next((w for name, w in weights.items() if name.endswith("embeddings.LayerNorm.bias")), None)
    if scale is None or shift is None:
        return None
    usable = np.abs(scale) > 0.1 * float(np.abs(scale).max())
    plain = (got[:, usable] - shift[usable]) / scale[usable]
    near = ALIKE * np.abs(plain).max(-1, keepdims=True)
    ordered = np.sort(plain, -1)
    close = np.diff(ordered, axis=-1) <= near
    alone = ~np.pad(close, ((0, 0), (1, 0))) & ~np.pad(close, ((0, 0), (0, 1)))
    return float(1 - alone.mean())
