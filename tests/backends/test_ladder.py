"""The parity ladder holds for the backend under test, and names the rung of every mistake planted into it."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from backends.contract import Load
from benchmarks.ladder import Finding, Trace, Truth, climb
from tests.backends.conftest import ROOT, Measured, torch_python
from tests.backends.mutations import EXCEPT, MUTATIONS, ONLY
from tests.backends.traced import KINDS, Build, Kind, builder, network, write_trace

BACKEND = os.environ.get("CONCORD_TEST_BACKEND", "")
Climb = Callable[[Kind, Build], list[Finding]]


@pytest.fixture(scope="session")
def truths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Truth]:
    """Torch's traces, from torch's interpreter."""
    out = tmp_path_factory.mktemp("truth")
    command = [torch_python(), "-m", "tests.backends.traced", str(out)]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    if run.returncode != 0:
        pytest.fail(f"{' '.join(command)} failed:\n{run.stderr}", pytrace=False)

    def read(folder: Path) -> Trace:
        return Trace(folder, json.loads((folder / "summary.json").read_text()))

    return {kind: Truth(read(out / kind / "float64"), read(out / kind / "float32")) for kind in KINDS}


@pytest.fixture
def climbed(truths: dict[str, Truth], tmp_path: Path) -> Climb:
    """What the ladder finds of a build."""

    def climbed(kind: Kind, build: Build) -> list[Finding]:
        truth = truths[kind]
        clip = truth.exact.summary["steep_clip"]
        return list(climb(truth, Trace(tmp_path, write_trace(build, network(kind), clip, tmp_path))))

    return climbed


@pytest.mark.parametrize("kind", KINDS)
def test_every_rung_holds(load: Load, climbed: Climb, measured: Measured, kind: Kind) -> None:
    for finding in climbed(kind, builder(load, network(kind))):
        assert finding.holds, finding
        measured(f"{kind}, {finding.rung}, share of the bound", finding.share, 1.0)


@pytest.fixture
def eager() -> Iterator[None]:
    """TensorFlow without graphs, whose tracing would take most of the time; the sound adapter is climbed with them."""
    if BACKEND != "keras":
        yield
        return
    config = importlib.import_module("tensorflow").config
    config.run_functions_eagerly(True)
    yield
    config.run_functions_eagerly(False)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("kind", "mutation"),
    [(k, m) for k in KINDS for m in MUTATIONS if ONLY.get(m, BACKEND) == BACKEND and EXCEPT.get(m) != k],
)
def test_a_mutation_is_named_by_its_rung(
    load: Load,
    climbed: Climb,
    mistake_shows: Measured,
    monkeypatch: pytest.MonkeyPatch,
    kind: Kind,
    mutation: str,
) -> None:
    broken = MUTATIONS[mutation]
    findings = climbed(kind, broken.build(load, network(kind), monkeypatch))
    first = next((finding for finding in findings if not finding.holds), None)
    assert first is not None, "no rung fails"
    assert first.rung in broken.rungs, first
    if np.isfinite(first.share):
        mistake_shows(f"{kind}, {mutation}, rung '{first.rung}'", first.share, 1.0)
