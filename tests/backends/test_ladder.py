"""The parity ladder holds for the backend under test, and names the rung of every mistake planted into it."""

from __future__ import annotations

import importlib
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from backends import BACKENDS
from backends.parts import PARTS, Part, parts_of
from benchmarks.parity.climb import Truth, climb
from benchmarks.parity.ladder import Climb
from benchmarks.port.values import Values
from shared.contract import Load
from shared.encoding import trained_ids
from shared.pack import Pack
from tests.backends.cases import random_batch
from tests.backends.conftest import ROOT, Measured, torch_python
from tests.backends.mutations import EXCEPT, MUTATIONS, ONLY
from tests.backends.trainings import KINDS, PADDED, TRAININGS, UNUSUAL, BuildFor, builder, data, write_recording

BACKEND = os.environ.get("CONCORD_TEST_BACKEND", "")
ClimbWith = Callable[[str, BuildFor], Climb]
"""Climbs with a build, in the training of this name."""


@pytest.fixture(scope="session")
def truths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Truth]:
    """The packs, and the reference's recordings of them, from torch's interpreter."""
    out = tmp_path_factory.mktemp("truth")
    command = [torch_python(), "-m", "tests.backends.trainings", str(out)]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    if run.returncode != 0:
        pytest.fail(f"{' '.join(command)} failed:\n{run.stderr}", pytrace=False)

    def truth(folder: Path) -> Truth:
        exact, single = (Values(folder / precision, Pack.read(folder / "pack")) for precision in ("float64", "float32"))
        return Truth.with_noise(exact, single)

    return {name: truth(out / name) for name in TRAININGS}


@pytest.fixture
def climbed(truths: dict[str, Truth], tmp_path: Path) -> ClimbWith:
    def climbed(name: str, build: BuildFor) -> Climb:
        truth = truths[name]
        dev = write_recording(build, TRAININGS[name], truth.exact.pack, tmp_path)
        return climb(truth, Values(tmp_path, truth.exact.pack), dev)

    return climbed


@pytest.mark.parametrize("name", KINDS | PADDED)
def test_every_rung_holds(load: Load, climbed: ClimbWith, measured: Measured, name: str) -> None:
    every_rung_holds(name, climbed(name, builder(load, TRAININGS[name].architecture)), measured)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", UNUSUAL)
def test_every_rung_holds_for_an_unusual_network(load: Load, climbed: ClimbWith, measured: Measured, name: str) -> None:
    every_rung_holds(name, climbed(name, builder(load, UNUSUAL[name].architecture)), measured)


@pytest.mark.parametrize("name", KINDS)
def test_every_rung_holds_by_rows(load: Load, climbed: ClimbWith, measured: Measured, name: str) -> None:
    a = TRAININGS[name].architecture
    touched = trained_ids(data(TRAININGS[name]), a.vocab_size)
    assert len(touched) < a.vocab_size / 8
    every_rung_holds(f"{name} by rows", climbed(name, builder(load, a, touched=touched)), measured)


def every_rung_holds(name: str, found: Climb, measured: Measured) -> None:
    for finding in found.findings:
        assert finding.holds, finding
        measured(f"{name}, {finding.rung}, share of the bound", finding.share, 1.0)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("kind", "mutation"),
    [(k, m) for k in KINDS for m in MUTATIONS if ONLY.get(m, BACKEND) == BACKEND and EXCEPT.get(m) != k],
)
def test_a_mutation_is_named_by_its_rung(
    load: Load,
    climbed: ClimbWith,
    mistake_shows: Measured,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    mutation: str,
) -> None:
    broken = MUTATIONS[mutation]
    found = climbed(kind, broken.build(load, KINDS[kind].architecture, monkeypatch))
    first = found.first_failure
    assert first is not None, "no rung fails"
    assert first.rung in broken.rungs, first
    clear = found.at(broken.clear) if broken.clear else first
    assert not clear.holds, clear
    if np.isfinite(clear.share):
        mistake_shows(f"{kind}, {mutation}, rung '{clear.rung}'", clear.share, 1.0)


SHOWS: dict[str, dict[str, str | None]] = {
    "torch": {"trainer": None},
    "gluon": {
        "dropout": "dropout",
        "epsilon": "embeddings",
        "loss": None,
        "pad": None,
        "clipping": None,
        "bertadam": "first step",
        "adam": "first step",
    },
    "keras": {
        "gelu": "layers",
        "epsilon": None,
        "pad": None,
        "clipping": "norm",
        "adamw": "first step",
        "rows": "first step",
        "decay": "first step",
    },
    "keras-jax": {
        "gelu": "layers",
        "epsilon": None,
        "pad": None,
        "clipping": None,
        "adamw": "first step",
        "decay": "first step",
    },
}
"""The rung at which each of the framework's own parts shows on these small networks. None if it does not: their
checkpoints have the usual epsilon, their texts no pad token, and sums over a few thousand numbers are exact enough."""


def load_with(part: Part) -> Load:
    """The `load` of the framework's own parts, with this one alone."""
    load: Load = partial(importlib.import_module(BACKENDS[part.backend].module("parts")).load, parts=[part.name])
    return load


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("kind", "part"), [(k, p) for k in KINDS for p in parts_of(BACKEND, k)], ids=str)
def test_a_standard_part_shows_at_its_rung(climbed: ClimbWith, kind: str, part: Part) -> None:
    first = climbed(kind, builder(load_with(part), KINDS[kind].architecture)).first_failure
    assert (first and first.rung) == SHOWS[BACKEND][part.name]


@pytest.mark.usefixtures("eager")
def test_only_the_standard_part_trains_the_pad_embedding(load: Load) -> None:
    a = KINDS["bert"].architecture
    batch = random_batch(a, rows=4, width=8, seed=1)
    batch.input_ids[:, 2] = a.pad_id

    def gradient_of_pad(load: Load) -> float:
        found = builder(load, a)(KINDS["bert"].recipe).gradients(batch).raw["bert.embeddings.word_embeddings.weight"]
        return float(np.abs(found[a.pad_id]).max())

    assert gradient_of_pad(load) == 0
    for part in (part for part in PARTS if part.backend == BACKEND and part.name == "pad"):
        assert gradient_of_pad(load_with(part)) > 0


@pytest.mark.parametrize("part", [part for part in PARTS if part.backend == BACKEND], ids=str)
def test_a_reader_can_see_a_standard_part_in_ten_lines(part: Part) -> None:
    assert len([line for line in part.check.splitlines() if line.strip()]) <= 10
    assert "assert" in part.check
    exec(compile(part.check, str(part), "exec"), {})
