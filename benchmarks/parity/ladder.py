"""The parity ladder: holds arrays to the truth's, rung by rung from the ground up.

The truth is transformers' network and torch's optimizer in float64. An error is the largest difference from it. Torch's
own error is the noise, and errors are given as multiples of it: at 1, a program is as far from the truth as torch is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from msgspec import Struct

from benchmarks.parity.rungs import NOISE_FACTOR, RUNG, Rung
from shared.answer import Scores

NO_GRADIENT = 1e-9
"""Below this share of the global norm a gradient is nothing but rounding: a key's bias has such a one, for softmax
cancels the bias. Adam makes steps of full size of it, and they mean nothing."""

DEVIATIONS = 5
"""A share further from the rate than this many standard deviations is of another rate. Chance exceeds it once in 1.7
million."""

Arrays = dict[str, np.ndarray]


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


def likely_causes(finding: Finding) -> str:
    """Usual mistakes that make this rung the first to fail."""
    if finding.rung == "parameters" and "classifier" in finding.worst:
        return "the head's initialisation: its distribution or its seed"
    if finding.rung == "batches":
        return finding.note.partition(": ")[2] or RUNG["batches"].causes
    return RUNG[finding.rung].causes


def compare_by(
    rung: Rung,
    exact: Arrays,
    noises: dict[str, float],
    mine: Arrays,
    with_gradient: frozenset[str],
    factor: float = NOISE_FACTOR,
) -> Finding:
    """Compares arrays with the truth's, by the errors that torch's own have, by name."""
    unusable = not_finite(rung, mine) or _missing(rung, exact, mine)
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
    """Holds each array's error to its bound."""
    errors, limits = differences.errors, bounds(rung, differences, noises, with_gradient, factor)
    shares = {name: error / limits[name] if error else 0.0 for name, error in errors.items()}
    above = [name for name, share in shares.items() if share > 1]
    worst = above[0] if above and rung.worst == "first" else max(shares, key=lambda name: shares[name])
    return Finding(rung.name, not above, max(errors.values()), max(noises.values()), shares[worst], worst)


def bounds(
    rung: Rung,
    differences: Differences,
    noises: dict[str, float],
    with_gradient: frozenset[str],
    factor: float = NOISE_FACTOR,
) -> dict[str, float]:
    """Bounds on the errors, by name: `factor` times the noise, or the rung's floor if that is larger."""
    if rung.noise == "together":
        shared = max((noise for name, noise in noises.items() if name in with_gradient), default=0.0)
        noises = {name: max(noise, shared) for name, noise in noises.items()}
    norm = math.sqrt(differences.squares)
    return {
        name: max(factor * noises[name], rung.relative * size + rung.of_norm * norm + rung.absolute)
        for name, size in differences.sizes.items()
    }


def not_finite(rung: Rung, arrays: Arrays, whose: str = "") -> Finding | None:
    """The finding that names the first value that is not finite; None if all are."""
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


def judge_dropped(rung: Rung, dropped: np.ndarray, rate: float) -> Finding:
    """Compares the share of entries that dropout made zero (bool, any shape), a binomial sample, with its rate."""
    given = float(dropped.mean())
    error, deviation = abs(given - rate), math.sqrt(rate * (1 - rate) / dropped.size)
    share = error / (DEVIATIONS * deviation) if deviation else math.inf if error else 0.0
    note = f"{given:.3f} dropped, the rate is {rate:g}"
    return Finding(rung.name, share <= 1, error, None, share, "embeddings", note)


def largest(array: np.ndarray) -> float:
    return float(np.abs(array).max(initial=0.0))


def _norm(arrays: Arrays) -> float:
    return float(np.sqrt(sum(np.square(array).sum() for array in arrays.values())))
