"""Advice about known mistakes that a pack does not tell apart, on made-up recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.parity.ladder import compare_by
from benchmarks.parity.rungs import RUNG
from benchmarks.port.alike import Made, advice
from benchmarks.port.answers import Answers, Noises
from benchmarks.port.values import Values
from shared.pack import VALUE, Pack, write_part

RUNGS = ("loss", "norm", "losses")


def written(pack: Pack, folder: Path, loss: float, norm: float) -> Values:
    """A recording of two numbers at each step."""
    write_part(folder, "eval", "1", "loss", {VALUE: np.array(loss)})
    for step in pack.run("train").steps:
        write_part(folder, "train", step.name, "loss", {VALUE: np.array(loss)})
        write_part(folder, "train", step.name, "norm", {VALUE: np.array(norm)})
    return Values(folder, pack)


def advised(pack: Pack, folder: Path, made: dict[str, tuple[float, float]], default: bool = True) -> list[str]:
    """The advice about mistakes with these losses and norms; without one they are 1."""
    exact = written(pack, folder / "exact", 1.0, 1.0)
    noises = {rung: dict.fromkeys(exact.of_rung(rung) or {}, 1e-6) for rung in RUNGS}
    answers = Answers(exact, Noises(noises, {}))
    found = {}
    for name, numbers in made.items():
        values = written(pack, folder / name, *numbers)
        findings = {
            rung: compare_by(
                RUNG[rung], exact.of_rung(rung) or {}, noises[rung], values.of_rung(rung) or {}, frozenset()
            )
            for rung in RUNGS
        }
        found[name] = Made(values, findings)
    return list(advice(found, answers, frozenset(), default))


def test_a_part_that_alone_tells_is_named(default_pack: Pack, tmp_path: Path) -> None:
    made = {"norm-after": (1.0, 2.0), "loss-sum": (3.0, 4.0), "clip-none": (3.0, 5.0)}
    found = advised(default_pack, tmp_path, made)
    assert found == ["record `norm`, which alone tells norm-after from no mistake, loss-sum from clip-none"]


def test_what_is_alike_is_one_class(default_pack: Pack, tmp_path: Path) -> None:
    same = {"loss-sum": (3.0, 4.0), "clip-none": (3.0, 4.0 + 1e-7), "decay-all": (3.0, 4.0)}
    found = advised(default_pack, tmp_path, same | {"lamb": (9.0, 9.0)})
    assert found == ["the same on this pack: loss-sum, clip-none, decay-all; no pack of this project tells them"]


def test_what_moves_nothing_needs_another_pack(default_pack: Pack, tmp_path: Path) -> None:
    found = advised(default_pack, tmp_path, {"clip-always": (1.0, 1.0), "lamb": (1.0, 1.0)}, default=False)
    assert found == [
        "clip-always is the same as no mistake on this pack; to tell, make a pack with a clip above the gradients' "
        "norm (--clip)",
        "lamb is the same as no mistake on this pack; the default pack tells",
    ]
