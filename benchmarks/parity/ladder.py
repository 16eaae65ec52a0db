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
from typing import Any, Literal

import numpy as np

from shared.trace import STEEP_STEPS

NOISE_FACTOR = 10
"""Two correct programs round in different orders. Ten times torch's own error is more than any was seen to differ, and
a tenth or less of what each mistake in tests/backends/mutations.py brings (docs/parity.md has both)."""
HALF_ULP = 2.0**-24
"""float32's rounding error, relative."""
NO_GRADIENT = 1e-9
"""Of the global norm: a parameter whose true gradient is below has none but for rounding, as a key's bias, which
softmax cancels. Adam makes steps of full size of that rounding, and they mean nothing."""

DEVIATIONS = 5
"""So many standard deviations apart, two shares are not of the same rate; chance exceeds it once in 1.7 million."""

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Rung:
    """One comparison. The bound on an array's error is the larger of NOISE_FACTOR times torch's error and the floor

        relative * (the array's largest entry) + of_norm * (global norm of the rung's arrays) + absolute

    which is there for where torch happens to be all but exact."""

    name: str
    what: str
    part: str
    """Of the trace."""
    causes: str
    """What usually fails here, the rungs below being sound."""
    only: str = ""
    """How the names of the arrays compared begin."""
    relative: float = 0.0
    of_norm: float = 0.0
    absolute: float = 0.0
    noise: Literal["each", "together"] = "each"
    """Torch's error of each array, or the largest of all that have a gradient: what parameters are after some steps
    follows from each other's errors."""
    worst: Literal["largest", "first"] = "largest"
    """Which of the arrays that exceed their bounds is named: by how far, or the first in the order of computation."""


OPTIMIZER = "bias correction, epsilon's place, weight decay or what is exempt from it, the optimizer's other defaults"
CLIPPING = "clipping per tensor, by another norm or none; gradients of repeated tokens squared before they are summed"
TRAINING = "what only later steps show: moments, the place of weight decay, the schedule, dropout left on"

RUNGS = (
    # Copied, so that nothing but the rounding of what was stored in another precision may differ.
    Rung("parameters", "parameters as loaded", "parameters", "the weight map, or a layout", relative=HALF_ULP),
    Rung("batches", "what each train_step received", "", "order, last batch, padding, schedule"),
    # Some ten roundings of numbers near the largest entry.
    Rung(
        "embeddings",
        "embeddings after LayerNorm",
        "states",
        "token types, positions, LayerNorm's epsilon, dropout left on in evaluation",
        only="embeddings",
        relative=1e-6,
    ),
    Rung(
        "layers",
        "output of each encoder layer",
        "states",
        "the mask, the activation, LayerNorm's epsilon, a transposed weight, layers in another order",
        only="layers/",
        relative=1e-6,
        worst="first",
    ),
    Rung("pooled", "pooled output", "states", "the pooler's activation, another token than the first", "pooled", 1e-6),
    # The bound of this project's tests against transformers, and of docs of others who compare logits.
    Rung("logits", "logits", "states", "the head: its layers, dropout left on", only="logits", absolute=1e-5),
    Rung(
        "dropout",
        "share of embeddings dropped in training",
        "",
        "dropout of the embeddings before LayerNorm in place of after it, a rate other than the checkpoint's",
    ),
    Rung("loss", "loss", "loss", "mean or sum, the log-softmax's accuracy, label smoothing", absolute=5e-6),
    # As tests/backends/test_against_transformers.py: entries of a matrix product err with its largest, and every
    # gradient with what flows back into it.
    Rung(
        "gradients",
        "gradient of every parameter",
        "gradients",
        "the loss's or an activation's derivative, a frozen parameter, the pad token's embedding",
        relative=1e-4,
        of_norm=1e-6,
    ),
    Rung("norm", "the gradients' global norm", "norm", CLIPPING, relative=1e-5),
    Rung("clipped", "gradients after clipping", "clipped", CLIPPING, relative=1e-4, of_norm=1e-6),
    Rung("norm, steep", "the same, at steep settings", "steep_norm", CLIPPING, relative=1e-5),
    Rung("clipped, steep", "the same, clipped at a tenth", "steep_clipped", CLIPPING, relative=1e-4, of_norm=1e-6),
    # Beyond noise nothing: the rate, and with it any sensible floor, may be zero in a warm-up.
    Rung("first step", "parameters after 1 step", "first_step", OPTIMIZER, relative=HALF_ULP, noise="together"),
    # Half a percent of what Adam moves a weight by in one step of rate 1e-3, whatever its gradient.
    Rung("first step, steep", "the same, at steep settings", "steep_first_step", OPTIMIZER, absolute=5e-6),
    Rung("losses", "loss at each step", "losses", TRAINING, absolute=5e-6),
    Rung("last step", "parameters after the last step", "last_step", TRAINING, relative=HALF_ULP, noise="together"),
    Rung("losses, steep", f"loss at {STEEP_STEPS} steep steps", "steep_losses", TRAINING, absolute=5e-6),
    Rung(
        "last step, steep",
        "parameters after them",
        "steep_last_step",
        TRAINING,
        relative=HALF_ULP,
        absolute=1e-5,
        noise="together",
    ),
    Rung("dev", "logits of dev after it", "dev", "evaluation: its order, its padding, its mode", absolute=1e-5),
)
"""From the ground up: what a rung compares follows from what those below it do."""


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


RUNG = {rung.name: rung for rung in RUNGS}


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
