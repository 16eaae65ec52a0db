"""Bounds for ports in lower precision: the errors of an ensemble of the reference's own trainings in it.

A precision leaves open where values are rounded, so that one training says little about another. The ensemble has the
usual ways of one (`shared.reference.Policy`), some with last bits drawn at random. torch has no TF32 on a CPU: there
the inputs of matrix products are rounded to its 10 bits.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.port.answers import Answers, Errors, Noises, noises_of
from benchmarks.port.reference import Reference
from benchmarks.port.values import Values
from shared.errors import InputError
from shared.files import from_json, to_json, write_whole
from shared.kept import kept_folder
from shared.pack import Arrays, Pack
from shared.reference import Done, Lower, RecordRounded, Rounded

PortPrecision = Literal["float32", "tf32", "bfloat16", "float16"]

HALVES: tuple[Lower, ...] = ("bfloat16", "float16")
"""Precisions that weights may be of."""

TOGETHER = ("losses", "losses, steep", "dev")
"""Rungs whose arrays are one number's or one table's course: by chance an ensemble may err little at one step."""

PARAMETERS = ("first step", "first step, steep", "last step", "last step, steep")
"""Rungs after Adam's steps, which divide a gradient by its size: an entry that rounding alone gives a gradient, or
another sign, moves as far as any other."""

SMALL = 2_000_000
"""Parameters below which all recordings of an ensemble may lie on the disk at once."""

FACTOR = 4.0
"""An error may be this many times the ensemble's largest. Sound variants reach 3.6 times it (docs/port.md)."""


PRODUCTS = (Rounded("products"), *(Rounded("products", seed) for seed in range(1, 5)))
STORED = (Rounded("autocast"), Rounded("stored"), *(Rounded("stored", seed) for seed in range(1, 5)))
ALL = (Rounded("all"), *(Rounded("all", seed) for seed in range(1, 6)))


def ensemble(precision: Lower, rounded: bool) -> tuple[Rounded, ...]:
    """The ensemble's trainings. `rounded` tells that the port's own weights are of this precision."""
    if precision == "tf32":
        return PRODUCTS
    return ALL if rounded else STORED


def noises_in(
    precision: Lower, rounded: bool, pack: Pack, answers: Answers, reference: Reference, whole: tuple[str, ...] = ()
) -> Noises:
    """The largest error of the ensemble by array: from the cache, or computed now. Raises ProcessFailed, and InputError
    if every training of it diverges."""

    def compute(folder: Path) -> None:
        trainings = ensemble(precision, rounded)
        size = sum(weight.size for weight in pack.weights.values())
        count = len(trainings) if size < SMALL else 1
        found = [
            noises
            for first in range(0, len(trainings), count)
            for noises in _record(trainings[first : first + count], precision, pack, answers, reference, whole)
        ]
        finite = [noises for noises in found if _is_finite(noises)]
        if not finite:
            raise InputError(f"the reference itself diverges in {precision}, so there is no bound; check in float32")
        write_whole(folder / "noises.json", to_json(largest_of(finite)))

    kept = answers.folder.with_name(f"{answers.folder.name}-{precision}{'-weights' if rounded else ''}")
    return from_json((kept_folder(kept, compute) / "noises.json").read_bytes(), Noises)


def _record(
    trainings: tuple[Rounded, ...],
    precision: Lower,
    pack: Pack,
    answers: Answers,
    reference: Reference,
    whole: tuple[str, ...],
) -> list[Noises]:
    with tempfile.TemporaryDirectory() as scratch:
        question = RecordRounded(
            pack=str(pack.folder.absolute()),
            out=scratch,
            precision=precision,
            trainings=list(trainings),
            whole=whole,
            threads=reference.threads,
        )
        reference.ask(question, Done)
        folders = [Path(scratch) / str(number) for number in range(len(trainings))]
        return [
            noises_of(answers.exact, Values(folder / "recorded", pack), Values(folder / "replayed", pack))
            for folder in folders
        ]


def _is_finite(noises: Noises) -> bool:
    both = (noises.from_pack, noises.by_itself)
    return all(math.isfinite(error) for errors in both for by_name in errors.values() for error in by_name.values())


def largest_of(members: list[Noises]) -> Noises:
    """The largest error of each array, and the factor that an ensemble's have."""
    from_pack = _largest([member.from_pack for member in members], TOGETHER + PARAMETERS)
    return Noises(from_pack, _largest([member.by_itself for member in members], TOGETHER), FACTOR)


def _largest(members: list[Errors], together: tuple[str, ...]) -> Errors:
    """The largest errors; at the rungs in `together`, of any array."""
    largest: Errors = {}
    for rung, errors in members[0].items():
        each = {name: max(member[rung][name] for member in members) for name in errors}
        largest[rung] = dict.fromkeys(each, max(each.values())) if rung in together else each
    return largest


def is_rounded(parameters: Arrays | None, precision: Lower) -> bool:
    """Whether the precision can hold every parameter as it was loaded."""
    if not parameters or precision == "tf32":
        return False
    return all(np.array_equal(array, _rounded(array, precision)) for array in parameters.values())


def _rounded(array: np.ndarray, precision: Lower) -> np.ndarray:
    if precision == "float16":
        with np.errstate(over="ignore"):
            return array.astype(np.float16).astype(array.dtype)
    bits = array.astype(np.float32).view(np.uint32)  # of a bfloat16 the lower half is zero
    return np.where(bits & 0xFFFF, np.nan, array)
