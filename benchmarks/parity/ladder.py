"""The parity ladder: in what two trainings must agree, from the ground up, and how closely.

The truth is torch in float64. An error is the largest difference from it; torch's own float32 error is the noise, in
units of which the others' are told: at 1 a backend is as far from the truth as torch itself is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parity.rungs import NOISE_FACTOR, RUNG, RUNGS, Rung

NO_GRADIENT = 1e-9
"""Of the global norm: a parameter whose true gradient is below has none but for rounding, as a key's bias, which
softmax cancels. Adam makes steps of full size of that rounding, and they mean nothing."""

DEVIATIONS = 5
"""So many standard deviations apart, two shares are not of the same rate; chance exceeds it once in 1.7 million."""

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Trace:
    """A trace that shared.trace wrote, and its summary."""

    folder: Path
    summary: dict[str, Any]

    def arrays(self, rung: Rung) -> Arrays:
        """float64, by name; of hidden states the valid tokens alone, [n, width]."""
        with np.load(self.folder / f"{rung.part}.npz") as file:
            found = {name: file[name].astype(np.float64) for name in file.files if name.startswith(rung.only)}
            if rung.name in ("embeddings", "layers"):
                valid = file["attention_mask"] == 1
                found = {name: array[valid] for name, array in found.items()}
        return found


@dataclass(frozen=True)
class Finding:
    """What a rung found for one backend."""

    rung: str
    holds: bool
    error: float | None
    """The largest difference from the truth; None where nothing is subtracted, or what was to be is not finite."""
    noise: float | None
    """Torch's own."""
    share: float
    """The largest error as a share of its bound; above 1 the rung fails."""
    worst: str
    """The array that has it."""
    note: str = ""

    @property
    def times_noise(self) -> float | None:
        return self.error / self.noise if self.error is not None and self.noise else None


@dataclass(frozen=True)
class Truth:
    """The trace in float64, and torch's in float32."""

    exact: Trace
    torch: Trace

    @cached_property
    def with_gradient(self) -> frozenset[str]:
        """The parameters that have one."""
        gradients = self.exact.arrays(RUNG["gradients"])
        least = NO_GRADIENT * _norm(gradients)
        return frozenset(name for name, gradient in gradients.items() if _largest(gradient) > least)


def climb(truth: Truth, trace: Trace) -> Iterator[Finding]:
    """Each rung's finding, from the ground up."""
    for rung in RUNGS:
        if rung.name == "batches":
            yield _batches(rung, truth.exact, trace)
        elif rung.name == "dropout":
            yield _dropout(rung, truth.exact, trace)
        else:
            yield _compare(rung, truth, trace)


def likely_causes(finding: Finding) -> str:
    """What usually makes this rung fail first."""
    if finding.rung == "parameters" and "classifier" in finding.worst:
        return "the head's initialisation: its distribution or its seed"
    if finding.rung == "batches":
        return finding.note.partition(": ")[2] or RUNG["batches"].causes
    return RUNG[finding.rung].causes


def _compare(rung: Rung, truth: Truth, trace: Trace) -> Finding:
    exact, torch, mine = (t.arrays(rung) for t in (truth.exact, truth.torch, trace))
    for whose, arrays in ((" of the truth itself", exact), (" of torch's float32", torch), ("", mine)):
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                what = "NaN" if np.isnan(array).any() else "Inf"
                return Finding(rung.name, False, None, None, np.inf, name, f"{what} in {name}{whose}")
    for name in exact:
        if name not in mine or mine[name].shape != exact[name].shape:
            found = (
                f"has shape {list(mine[name].shape)}, not {list(exact[name].shape)}" if name in mine else "is missing"
            )
            return Finding(rung.name, False, None, None, np.inf, name, f"{name} {found}")
    errors = {name: _largest(mine[name] - exact[name]) for name in exact}
    noises = {name: _largest(torch[name] - exact[name]) for name in exact}
    if rung.noise == "together":
        shared = max(noise for name, noise in noises.items() if name in truth.with_gradient)
        noises = {name: max(noise, shared) for name, noise in noises.items()}
    norm = _norm(exact)
    shares = {}
    for name, error in errors.items():
        floor = rung.relative * _largest(exact[name]) + rung.of_norm * norm + rung.absolute
        bound = max(NOISE_FACTOR * noises[name], floor)
        shares[name] = error / bound if error else 0.0
    above = [name for name, share in shares.items() if share > 1]
    worst = above[0] if above and rung.worst == "first" else max(shares, key=lambda name: shares[name])
    note = _flips(exact["logits"], mine["logits"]) if rung.name == "dev" else ""
    return Finding(rung.name, not above, max(errors.values()), max(noises.values()), shares[worst], worst, note)


PARTS = {
    "ids": "row order, tokenizer, truncation, padding",
    "types": "token types",
    "mask": "the mask",
    "labels": "labels",
    "rate": "the schedule: warm-up, the number of steps, a step too early or late",
}
"""Of what a train_step receives, and what usually makes each differ when it alone does."""


def _batches(rung: Rung, exact: Trace, trace: Trace) -> Finding:
    wanted, given = exact.summary["received"], trace.summary["received"]
    if len(wanted) != len(given):
        note = f"{len(given)} steps, not {len(wanted)}: the last batch dropped or kept"
        return Finding(rung.name, False, None, None, np.inf, "steps", note)
    differ = {
        part: [n for n, (w, g) in enumerate(zip(wanted, given, strict=True), 1) if w[part] != g[part]] for part in PARTS
    }
    differ = {part: steps for part, steps in differ.items() if steps}
    if not differ:
        return Finding(rung.name, True, None, None, 0.0, "", f"{len(wanted)} steps alike")
    first = min(steps[0] for steps in differ.values())
    causes = "row order" if {"ids", "labels"} <= differ.keys() else PARTS[next(iter(differ))]
    count = len(set().union(*differ.values()))
    note = f"{', '.join(differ)} differ in {count} of {len(wanted)} steps, first in step {first}: {causes}"
    return Finding(rung.name, False, None, None, np.inf, next(iter(differ)), note)


def _dropout(rung: Rung, exact: Trace, trace: Trace) -> Finding:
    """Frameworks draw other numbers, so shares are compared, each a binomial sample of so many entries."""
    wanted, given = exact.summary["dropped"], trace.summary["dropped"]
    rate = wanted["share"]
    error = abs(given["share"] - rate)
    deviation = math.sqrt(rate * (1 - rate) * (1 / wanted["entries"] + 1 / given["entries"]))
    share = error / (DEVIATIONS * deviation) if deviation else np.inf if error else 0.0
    note = f"{given['share']:.3f} dropped, {rate:.3f} by the truth"
    return Finding(rung.name, share <= 1, error, None, share, "embeddings", note)


def _flips(exact: np.ndarray, mine: np.ndarray) -> str:
    return f"{int((exact.argmax(-1) != mine.argmax(-1)).sum())} of {len(exact)} predictions differ"


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0.0))


def _norm(arrays: Arrays) -> float:
    return float(np.sqrt(sum(np.square(array).sum() for array in arrays.values())))
