"""The ports of ports/, each in its own framework's environment, compared with transformers in float64."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.conftest import ROOT, Measured, torch_python
from tests.ports import MISTAKES, PORTS, Arrays, Mistake, read_part, run_port

BACKEND = os.environ.get("CONCORD_TEST_BACKEND", "")
MINE = [port for port, backends in PORTS.items() if BACKEND in backends]
PLANTED = [mistake for mistake in MISTAKES if mistake.port in MINE]
DROPPED = 0.1
"""Rate of run dropout."""


@dataclass(frozen=True)
class Rung:
    """Arrays to compare. The bound on an array's error is

    absolute + relative * (the array's largest entry) + of_norm * (the largest entry of all its part's arrays)
    """

    places: tuple[str, ...]
    """RUN/STEP/PART."""
    only: str = ""
    """Prefix of the arrays' names."""
    absolute: float = 0.0
    relative: float = 0.0
    of_norm: float = 0.0


RUNGS = {
    "parameters": Rung(("eval/0/parameters",), absolute=1e-9),
    "embeddings": Rung(("eval/1/hidden",), "embeddings", 1e-5),
    "layers": Rung(("eval/1/hidden",), "layers/", 1e-5),
    "pooled": Rung(("eval/1/hidden",), "pooled", 1e-5),
    "logits": Rung(("eval/1/logits",), absolute=1e-5),
    "dropout": Rung(("dropout/1/hidden",), "embeddings"),
    "loss": Rung(("eval/1/loss",), absolute=5e-6),
    "gradients": Rung(("train/1/gradients", "steep/1/gradients"), relative=1e-5, of_norm=1e-6),
    "norm": Rung(("train/1/norm", "steep/1/norm"), relative=1e-5),
    "clipped": Rung(("train/1/clipped", "steep/1/clipped"), relative=1e-5, of_norm=1e-6),
    "first step": Rung(("train/1/parameters",), absolute=2e-6),
    "first step, steep": Rung(("steep/1/parameters",), absolute=1e-5),
    "second gradients": Rung(("train/2/gradients", "steep/2/gradients"), relative=1e-3, of_norm=1e-4),
    "last step": Rung(("train/4/parameters", "steep/4/parameters"), absolute=2e-5),
    "dev": Rung(("dev/1/logits", "dev/2/logits"), absolute=2e-5),
}
"""From the ground up."""


@dataclass(frozen=True)
class Reference:
    """The pack, and what transformers computes of it."""

    folder: Path

    @property
    def pack(self) -> Path:
        return self.folder / "pack"

    def part(self, place: str) -> Arrays:
        """A part of the truth, float64."""
        with np.load(self.folder / "truth" / f"{place}.npz") as file:
            return dict(file)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters."""
        return {name: array.shape for name, array in self.part("eval/0/parameters").items()}

    def error(self, recording: Path, port: str, rung: str) -> float:
        """The largest error of the rung's arrays, in units of their bounds."""
        asked, errors = RUNGS[rung], []
        shapes = self.shapes()
        for place in asked.places:
            found, exact = read_part(recording, port, place, shapes), self.part(place)
            assert set(found) == set(exact), place
            if rung == "dropout":
                return dropped(found["embeddings"], exact["embeddings"])
            of_norm = asked.of_norm * max(float(np.abs(array).max()) for array in exact.values())
            for name, array in exact.items():
                assert found[name].shape == array.shape, f"{place}: {name}"
                if name.startswith(asked.only):
                    bound = asked.absolute + asked.relative * np.abs(array).max() + of_norm
                    errors.append(float(np.abs(found[name] - array).max() / bound))
        return max(errors)


def dropped(found: np.ndarray, exact: np.ndarray) -> float:
    """How far embeddings are from those whose entries are zero at the rate and scaled otherwise, in units of bounds."""
    share = abs(float((found == 0).mean()) - DROPPED) / 0.005  # five standard deviations
    kept = np.abs(found - exact / (1 - DROPPED))[found != 0].max() / 2e-5
    return max(share, float(kept))


@pytest.fixture(scope="session")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """See tests/port_reference.py."""
    folder = tmp_path_factory.mktemp("ports")
    command = [torch_python(), "-m", "tests.port_reference", str(folder)]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return Reference(folder)


@pytest.fixture(scope="session")
def sound(exact: Reference, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The recording of each port as it is, by the port's name."""
    return cache(lambda port: run_port(sys.executable, port, exact.pack, tmp_path_factory.mktemp(port)))


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("port", MINE)
def test_a_sound_port_is_transformers(exact: Reference, sound: Any, measured: Measured, port: str, rung: str) -> None:
    measured(f"{port}, {rung}, in units of its bound", exact.error(sound(port), port, rung), 1.0)


@pytest.mark.parametrize("port", MINE)
def test_a_port_records_the_inputs_as_given(exact: Reference, sound: Any, port: str) -> None:
    for place in ("eval/1", "train/2", "dev/2"):
        given = exact.part(f"{place}/received")
        found = read_part(sound(port), port, f"{place}/received", {})
        assert set(found) == set(given)
        for name, array in given.items():
            np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("mistake", PLANTED, ids=lambda mistake: mistake.name)
def test_a_planted_mistake_fails_at_its_rung(
    exact: Reference, mistake_shows: Measured, tmp_path: Path, mistake: Mistake
) -> None:
    recording = run_port(sys.executable, mistake.port, exact.pack, tmp_path, mistake)
    for rung in RUNGS:
        error = exact.error(recording, mistake.port, rung)
        if rung == mistake.rung:
            mistake_shows(f"{mistake.port}, {mistake.name}, {rung}", error, 1.0)
            return
        assert error <= 1, f"{rung} fails before {mistake.rung}"


@pytest.mark.parametrize("port", MINE)
def test_a_ports_script_is_short(port: str) -> None:
    lines = (ROOT / "ports" / port / "train.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60


if "files" in MINE:

    def test_files_in_float64_are_transformers(exact: Reference, measured: Measured, tmp_path: Path) -> None:
        """The network and the optimizer by hand are the formulas, not only close to them."""
        recording = run_port(sys.executable, "files", exact.pack, tmp_path, double=True)
        shapes = exact.shapes()
        for place in ("eval/1/hidden", "train/1/gradients", "train/4/parameters", "steep/4/parameters", "dev/2/logits"):
            found = read_part(recording, "files", place, shapes)
            error = max(float(np.abs(found[name] - array).max()) for name, array in exact.part(place).items())
            measured(f"files in float64, {place}", error, 1e-9)
