"""Climbs the ladder with recordings of a pack, as adapters leave them (shared.recording)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from msgspec import structs

from benchmarks.parity.ladder import (
    Climb,
    Differences,
    Finding,
    compare_by,
    judge_dropped,
    not_finite,
    with_gradient,
    without_error,
)
from benchmarks.parity.rungs import RUNGS, Rung
from benchmarks.port.answers import Answers, Errors
from benchmarks.port.values import Values
from shared.answer import Scores
from shared.pack import VALUE, Arrays
from shared.recording import GIVEN

INPUT_CAUSES = {
    "ids": "row order, tokenizer, truncation, padding",
    "types": "token types",
    "mask": "the mask",
    "labels": "labels",
    "rate": "the schedule: warm-up, the number of steps, a step too early or late",
}
"""Usual causes by the input of a train_step that alone differs."""

RECORDED = GIVEN | {"rate": "learning_rate"}
"""The recording's names of these inputs."""

IN_ONE = {"losses": VALUE, "losses, steep": VALUE, "dev": "logits"}
"""Names of the arrays of rungs whose steps are compared together: a single step's noise may be small by chance."""


@dataclass(frozen=True)
class Truth:
    """The reference's float64, and torch's errors in the precision of the variant that is compared."""

    exact: Values
    noises: Errors
    """Errors by rung and by name of the array."""

    @classmethod
    def of(cls, answers: Answers) -> Truth:
        """The reference's answers, with the errors of its float32."""
        noises = {
            rung: {IN_ONE[rung]: max(errors.values())} if rung in IN_ONE else errors
            for rung, errors in answers.noises.from_pack.items()
        }
        return cls(answers.exact, noises)

    @classmethod
    def with_noise(cls, exact: Values, torch: Values) -> Truth:
        """The truth with the errors of another recording."""
        noises: Errors = {}
        for rung in RUNGS:
            right, rounded = rung_arrays(exact, rung), rung_arrays(torch, rung)
            if right and rounded:
                noises[rung.name] = Differences.between(rounded, right).errors
        return cls(exact, noises)

    @cached_property
    def with_gradient(self) -> frozenset[str]:
        """Names of the parameters whose gradient is more than rounding."""
        return with_gradient(self.exact.of_rung("gradients") or {})


def climb(truth: Truth, mine: Values, dev: Scores) -> Climb:
    """Compares a recording on every rung. `dev` has its scores after the last step."""
    return Climb(tuple(_finding(rung, truth, mine) for rung in RUNGS), dev)


def rung_arrays(values: Values, rung: Rung) -> Arrays | None:
    """The arrays that the rung compares, float64; None if none was recorded."""
    found = values.of_rung(rung.name)
    if found is None or rung.name not in IN_ONE:
        return found
    steps = list(found.values())
    return {IN_ONE[rung.name]: np.concatenate(steps) if steps[0].ndim else np.stack(steps)}


def _finding(rung: Rung, truth: Truth, mine: Values) -> Finding:
    if rung.name == "batches":
        return _batches(rung, mine)
    if rung.name == "dropout":
        return _dropout(rung, mine)
    return _compare(rung, truth, mine)


def _compare(rung: Rung, truth: Truth, values: Values) -> Finding:
    exact, mine = rung_arrays(truth.exact, rung), rung_arrays(values, rung)
    assert exact is not None
    if mine is None:
        return without_error(rung, next(iter(exact)), "nothing was recorded")
    unusable = not_finite(rung, exact, " of the truth itself")
    if unusable is not None:
        return unusable
    noises = truth.noises[rung.name]
    for name, noise in noises.items():
        if not math.isfinite(noise):
            return without_error(rung, name, f"NaN or Inf in {name} of torch's own")
    found = compare_by(rung, exact, noises, mine, truth.with_gradient)
    if rung.name == "dev" and found.error is not None:
        return structs.replace(found, note=_flips(exact["logits"], mine["logits"]))
    return found


def _flips(exact: np.ndarray, mine: np.ndarray) -> str:
    return f"{int((exact.argmax(-1) != mine.argmax(-1)).sum())} of {len(exact)} predictions differ"


def _batches(rung: Rung, mine: Values) -> Finding:
    """Compares what each step of `train` received with the pack's batch and rate. Both are to be equal, padding too."""
    wanted = len(mine.pack.run("train").steps)
    given = len(list(mine.folder.glob("train/*/received.npz")))
    if wanted != given:
        return without_error(rung, "steps", f"{given} steps, not {wanted}: the last batch dropped or kept")
    differ: dict[str, list[int]] = {}
    for step, name in _differing(mine):
        differ.setdefault(name, []).append(step)
    if not differ:
        return Finding(rung.name, True, None, None, 0.0, "", f"{wanted} steps alike")
    named = [name for name in INPUT_CAUSES if name in differ]
    first = min(steps[0] for steps in differ.values())
    causes = "row order" if {"ids", "labels"} <= differ.keys() else INPUT_CAUSES[named[0]]
    count = len(set().union(*differ.values()))
    note = f"{', '.join(named)} differ in {count} of {wanted} steps, first in step {first}: {causes}"
    return without_error(rung, named[0], note)


def _differing(mine: Values) -> Iterator[tuple[int, str]]:
    """Each step of `train`, counted from 1, with each of its inputs that differs from the pack's."""
    pack = mine.pack
    for number, step in enumerate(pack.run("train").steps, 1):
        wanted = pack.batch(step) | {"learning_rate": np.array(step.learning_rate)}
        given = mine.part("train", step.name, "received") or {}
        for name, recorded in RECORDED.items():
            if recorded not in given or not np.array_equal(given[recorded], wanted[recorded]):
                yield number, name


def _dropout(rung: Rung, mine: Values) -> Finding:
    run = mine.pack.run("dropout")
    states = mine.part(run.name, "1", "hidden")
    if states is None:
        return without_error(rung, "embeddings", "nothing was recorded")
    real = mine.pack.batch(run.steps[0])["attention_mask"] == 1
    return judge_dropped(rung, states["embeddings"][real] == 0, run.settings.dropout)
