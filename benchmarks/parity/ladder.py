"""The parity ladder: compares a trace with the truth, rung by rung from the ground up.

The truth is torch in float64. An error is the largest difference from it. Torch's own error is the noise, and errors
are given as multiples of it: at 1, a backend is as far from the truth as torch itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from benchmarks.parity.rungs import NOISE_FACTOR, RUNG, RUNGS, Rung
from shared.answer import Scores, Traced

NO_GRADIENT = 1e-9
"""Below this share of the global norm a gradient is nothing but rounding: a key's bias has such a one, for softmax
cancels the bias. Adam makes steps of full size of it, and they mean nothing."""

DEVIATIONS = 5
"""Two shares further apart than this many standard deviations differ in rate. Chance exceeds it once in 1.7 million."""

INPUT_CAUSES = {
    "ids": "row order, tokenizer, truncation, padding",
    "types": "token types",
    "mask": "the mask",
    "labels": "labels",
    "rate": "the schedule: warm-up, the number of steps, a step too early or late",
}
"""Usual causes by the input of a train_step (a field of `shared.answer.Received`) that alone differs."""

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Trace:
    """A trace that shared.trace wrote, and its summary."""

    folder: Path
    summary: Traced

    def arrays(self, rung: Rung) -> Arrays:
        """The rung's arrays by name, in float64; of hidden states the valid tokens only, [n, width]."""
        with np.load(self.folder / f"{rung.part}.npz") as file:
            found = {name: file[name].astype(np.float64) for name in file.files if name.startswith(rung.only)}
            if rung.name in ("embeddings", "layers"):
                valid = file["attention_mask"] == 1
                found = {name: array[valid] for name, array in found.items()}
        return found


@dataclass(frozen=True)
class Truth:
    """Torch's traces in float64, and in the precision of the variant that is compared."""

    exact: Trace
    torch: Trace

    @cached_property
    def with_gradient(self) -> frozenset[str]:
        """Names of the parameters whose gradient is more than rounding."""
        return with_gradient(self.exact.arrays(RUNG["gradients"]))


def with_gradient(gradients: Arrays) -> frozenset[str]:
    """Names of the gradients that are more than rounding."""
    least = NO_GRADIENT * _norm(gradients)
    return frozenset(name for name, gradient in gradients.items() if largest(gradient) > least)


class Finding(Struct, frozen=True, forbid_unknown_fields=True):
    """The result of one rung for one variant."""

    rung: str
    holds: bool
    error: float | None
    """The largest difference from the truth; None if nothing is subtracted, or if a value is not finite."""
    noise: float | None
    """Torch's own error."""
    share: float
    """The largest error as a share of its bound. The rung fails above 1. Infinite if no error can be given."""
    worst: str
    """The array with the largest share."""
    note: str = ""

    @property
    def times_noise(self) -> float | None:
        """The error as a multiple of torch's own; None if either is not there, or torch's is 0."""
        return self.error / self.noise if self.error is not None and self.noise else None


@dataclass(frozen=True)
class Climb:
    """The findings about one variant."""

    findings: tuple[Finding, ...]
    """A finding for each rung, from the ground up."""
    dev: Scores
    """Scores after the last step."""

    @property
    def first_failure(self) -> Finding | None:
        """The lowest rung that fails; None if every rung holds."""
        return next((finding for finding in self.findings if not finding.holds), None)

    def at(self, rung: str) -> Finding:
        """The finding of the rung of this name."""
        return next(finding for finding in self.findings if finding.rung == rung)


def climb(truth: Truth, trace: Trace) -> Climb:
    """Compares a trace on every rung."""
    return Climb(tuple(_finding(rung, truth, trace) for rung in RUNGS), trace.summary.dev)


def likely_causes(finding: Finding) -> str:
    """Usual mistakes that make this rung the first to fail."""
    if finding.rung == "parameters" and "classifier" in finding.worst:
        return "the head's initialisation: its distribution or its seed"
    if finding.rung == "batches":
        return finding.note.partition(": ")[2] or RUNG["batches"].causes
    return RUNG[finding.rung].causes


def _finding(rung: Rung, truth: Truth, trace: Trace) -> Finding:
    if rung.name == "batches":
        return _batches(rung, truth.exact, trace)
    if rung.name == "dropout":
        return _dropout(rung, truth.exact, trace)
    return _compare(rung, truth, trace)


def _compare(rung: Rung, truth: Truth, trace: Trace) -> Finding:
    exact, torch, mine = (t.arrays(rung) for t in (truth.exact, truth.torch, trace))
    found = compare(rung, exact, torch, mine, truth.with_gradient)
    if rung.name == "dev" and found.error is not None:
        return msgspec.structs.replace(found, note=_flips(exact["logits"], mine["logits"]))
    return found


def compare(rung: Rung, exact: Arrays, torch: Arrays, mine: Arrays, with_gradient: frozenset[str]) -> Finding:
    """Compares arrays with the truth's, by the error that torch's own have. `with_gradient` names the parameters whose
    gradient is more than rounding."""
    unusable = _not_finite(rung, exact, " of the truth itself") or _not_finite(rung, torch, " of torch's own")
    return unusable or compare_by(rung, exact, Differences.between(torch, exact).errors, mine, with_gradient)


def compare_by(
    rung: Rung,
    exact: Arrays,
    noises: dict[str, float],
    mine: Arrays,
    with_gradient: frozenset[str],
    factor: float = NOISE_FACTOR,
) -> Finding:
    """Compares arrays with the truth's, by the errors that torch's own have, by name."""
    unusable = _not_finite(rung, mine) or _missing(rung, exact, mine)
    return unusable or judge(rung, Differences.between(mine, exact), noises, with_gradient, factor)


@dataclass
class Differences:
    """Differences of arrays from others, as far as a verdict needs them."""

    errors: dict[str, float] = field(default_factory=dict)
    """The largest difference, by name."""
    sizes: dict[str, float] = field(default_factory=dict)
    """The largest entry of the array that is right, by name."""
    squares: float = 0.0
    """The sum of the squares of all entries of the arrays that are right."""

    @classmethod
    def between(cls, mine: Arrays, exact: Arrays) -> Differences:
        """The differences of all arrays of `exact`."""
        found = cls()
        for name, array in exact.items():
            found.add(name, mine[name], array)
        return found

    def add(self, name: str, mine: np.ndarray, exact: np.ndarray) -> None:
        """Takes an array in. Of a name that comes again, the largest difference counts."""
        error = largest(mine - exact)
        self.errors[name] = max(self.errors.get(name, 0.0), math.inf if math.isnan(error) else error)
        self.sizes[name] = max(self.sizes.get(name, 0.0), largest(exact))
        self.squares += float(np.square(exact).sum())


def judge(
    rung: Rung,
    differences: Differences,
    noises: dict[str, float],
    with_gradient: frozenset[str],
    factor: float = NOISE_FACTOR,
) -> Finding:
    """Holds each array's error to its bound: `factor` times the noise, or the rung's floor if that is larger."""
    if rung.noise == "together":
        shared = max((noise for name, noise in noises.items() if name in with_gradient), default=0.0)
        noises = {name: max(noise, shared) for name, noise in noises.items()}
    errors, norm = differences.errors, math.sqrt(differences.squares)
    shares = {}
    for name, error in errors.items():
        floor = rung.relative * differences.sizes[name] + rung.of_norm * norm + rung.absolute
        bound = max(factor * noises[name], floor)
        shares[name] = error / bound if error else 0.0
    above = [name for name, share in shares.items() if share > 1]
    worst = above[0] if above and rung.worst == "first" else max(shares, key=lambda name: shares[name])
    return Finding(rung.name, not above, max(errors.values()), max(noises.values()), shares[worst], worst)


def _not_finite(rung: Rung, arrays: Arrays, whose: str = "") -> Finding | None:
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            first = np.argwhere(~np.isfinite(array))[0].tolist()
            kind = "NaN" if np.isnan(array).any() else "Inf"
            return without_error(rung, name, f"{kind} in {name}{f' at {first}' if first else ''}{whose}")
    return None


def _missing(rung: Rung, exact: Arrays, mine: Arrays) -> Finding | None:
    for name, array in exact.items():
        if name not in mine:
            return without_error(rung, name, f"{name} is missing")
        if mine[name].shape != array.shape:
            return without_error(rung, name, f"{name} has shape {list(mine[name].shape)}, not {list(array.shape)}")
    return None


def without_error(rung: Rung, worst: str, note: str) -> Finding:
    """The finding of a rung that fails and has no error to give."""
    return Finding(rung.name, False, None, None, math.inf, worst, note)


def _batches(rung: Rung, exact: Trace, trace: Trace) -> Finding:
    wanted, given = exact.summary.received, trace.summary.received
    if len(wanted) != len(given):
        return without_error(rung, "steps", f"{len(given)} steps, not {len(wanted)}: the last batch dropped or kept")
    steps = list(enumerate(zip(wanted, given, strict=True), 1))
    differ = {
        name: differing
        for name in INPUT_CAUSES
        if (differing := [n for n, (w, g) in steps if getattr(w, name) != getattr(g, name)])
    }
    if not differ:
        return Finding(rung.name, True, None, None, 0.0, "", f"{len(wanted)} steps alike")
    first = min(differing[0] for differing in differ.values())
    causes = "row order" if {"ids", "labels"} <= differ.keys() else INPUT_CAUSES[next(iter(differ))]
    count = len(set().union(*differ.values()))
    note = f"{', '.join(differ)} differ in {count} of {len(wanted)} steps, first in step {first}: {causes}"
    return without_error(rung, next(iter(differ)), note)


def _dropout(rung: Rung, exact: Trace, trace: Trace) -> Finding:
    """Compares shares of zeros, each a binomial sample: frameworks draw different numbers."""
    wanted, given = exact.summary.dropped, trace.summary.dropped
    rate = wanted.share
    error = abs(given.share - rate)
    deviation = math.sqrt(rate * (1 - rate) * (1 / wanted.entries + 1 / given.entries))
    share = error / (DEVIATIONS * deviation) if deviation else math.inf if error else 0.0
    note = f"{given.share:.3f} dropped, {rate:.3f} by the truth"
    return Finding(rung.name, share <= 1, error, None, share, "embeddings", note)


def _flips(exact: np.ndarray, mine: np.ndarray) -> str:
    return f"{int((exact.argmax(-1) != mine.argmax(-1)).sum())} of {len(exact)} predictions differ"


def largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0.0))


def _norm(arrays: Arrays) -> float:
    return float(np.sqrt(sum(np.square(array).sum() for array in arrays.values())))
