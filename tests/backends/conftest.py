"""Fixtures: the backend under test, references from torch's interpreter, and a summary of the largest differences."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from backends import BACKENDS
from shared.architecture import Architecture, Weights
from shared.contract import Build, Load, Model
from shared.recipe import Recipe
from tests.backends.cases import TRAINED, USUAL

ROOT = Path(__file__).parents[2]
THREADS = 1
"""Number of CPU threads of all tests: TensorFlow cannot change it within a process."""
Reference = Callable[[str], dict[str, np.ndarray]]
"""Returns the arrays of a case by its name."""
Measured = Callable[[str, float, float], None]
"""Notes a largest difference and its bound for the summary. Fails if the difference exceeds the bound."""
BuildModel = Callable[..., Model]
Untrained = Callable[[str], Model]
"""Returns a model of a case in TRAINED by its name. Tests share it, so none may train it or set its weights."""

_MEASURED = "measured"
"""A property of reports, which come from every process that runs tests: a line of the summary."""


def pytest_configure(config: pytest.Config) -> None:
    # MXNet 1.9 is older than these warnings, and cannot be changed.
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning:(mxnet|gluonnlp).*")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = (report for reports in terminalreporter.stats.values() for report in reports)
    noted = [note for one in reports if getattr(one, "when", None) == "call" for note in one.user_properties]
    if noted:
        terminalreporter.section(f"largest differences of {os.environ['CONCORD_TEST_BACKEND']}")
        for line in sorted(line for name, line in noted if name == _MEASURED):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def load() -> Load:
    """The adapter under test."""
    name = os.environ.get("CONCORD_TEST_BACKEND", "")
    if name not in BACKENDS:
        pytest.fail(
            f"CONCORD_TEST_BACKEND is {name!r}; set it to one of {', '.join(BACKENDS)}, or run tox run -e test-torch",
            pytrace=False,
        )
    try:
        adapter = importlib.import_module(BACKENDS[name].adapter)
    except ModuleNotFoundError as error:
        pytest.fail(
            f"{sys.executable} cannot import {error.name}; run these tests by tox run -e {name},test-{name}",
            pytrace=False,
        )
    adapter_load: Load = adapter.load
    return adapter_load


@pytest.fixture(scope="session")
def build(load: Load) -> BuildModel:
    """Builds a model of the backend under test, on the CPU: `build(architecture, weights, recipe)`."""

    def build(architecture: Architecture, weights: Weights, recipe: Recipe | None = None) -> Model:
        return load(Build(architecture, weights, recipe or USUAL, "cpu", THREADS))

    return build


@pytest.fixture
def eager() -> Iterator[None]:
    """Runs TensorFlow without graphs, whose making would take most of the time."""
    if os.environ.get("CONCORD_TEST_BACKEND") != "keras":
        yield
        return
    config = importlib.import_module("tensorflow").config
    config.run_functions_eagerly(True)
    yield
    config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def untrained(build: BuildModel) -> Untrained:
    """See `Untrained`."""
    return cache(lambda kind: build(TRAINED[kind].architecture, TRAINED[kind].weights))


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Returns a case's arrays from tests/reference.py, which torch's interpreter runs once."""
    folder = tmp_path_factory.mktemp("reference")
    command = [torch_python(), "-m", "tests.reference", str(folder)]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    if run.returncode != 0:
        pytest.fail(f"{' '.join(command)} failed:\n{run.stderr}", pytrace=False)

    def arrays(case: str) -> dict[str, np.ndarray]:
        with np.load(folder / f"{case}.npz") as file:
            return dict(file)

    return arrays


def torch_python() -> str:
    """Path of the interpreter of torch's environment, which computes references."""
    python = Path(os.environ.get("CONCORD_TORCH_PYTHON", ROOT / ".tox" / "torch" / "bin" / "python"))
    if python.exists():
        return str(python)
    if "CONCORD_TORCH_PYTHON" not in os.environ and importlib.util.find_spec("torch"):
        return sys.executable
    pytest.fail(
        f"{python} is missing, which computes the references; run tox run -e torch --notest, or set"
        " CONCORD_TORCH_PYTHON to an interpreter that has torch and transformers",
        pytrace=False,
    )


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """See `Measured`."""

    def note(what: str, value: float, bound: float) -> None:
        record_property(_MEASURED, f"{what}: {value:.1e} (bound {bound:.1e})")
        assert value <= bound, f"{what}: {value:.2e} exceeds {bound:.2e}"

    return note


@pytest.fixture
def mistake_shows(record_property: Callable[[str, object], None]) -> Measured:
    """The opposite of `measured`: notes by what factor a deliberate mistake exceeds a bound. Fails below ten."""

    def note(what: str, value: float, bound: float) -> None:
        record_property(_MEASURED, f"mistake, {what}: {value / bound:.0f} times the bound")
        assert value >= 10 * bound, f"{what}: {value:.2e} is not ten times {bound:.2e}: the test could not tell"

    return note
