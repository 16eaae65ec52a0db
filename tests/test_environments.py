"""The interpreter that runs a backend, and what is installed in it."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from backends import BACKENDS, Backend
from backends.devices import alone
from benchmarks.workers import environments
from benchmarks.workers.environments import (
    CHECKOUT,
    Environment,
    find_environment,
    find_python,
    worker_settings,
    worker_variables,
)
from shared.errors import InputError


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in which tox has made nothing yet."""
    monkeypatch.setattr(environments, "CHECKOUT", tmp_path)
    return tmp_path


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend whose framework this interpreter has: numpy."""
    monkeypatch.setitem(BACKENDS, "here", Backend("here", "backends.here", ("numpy",), 1))
    return "here"


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend whose framework no interpreter has."""
    monkeypatch.setitem(BACKENDS, "absent", Backend("absent", "backends.absent", ("no_such_framework",), 1))
    return "absent"


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return path


def test_the_interpreter_that_was_given_comes_first(checkout: Path, backend: str) -> None:
    executable(checkout / ".tox" / backend / "bin" / "python", "")
    given = executable(checkout / "given", "")
    assert find_python(backend, {backend: given}) == given


def test_then_the_environment_that_tox_made_in_the_checkout(checkout: Path, backend: str) -> None:
    python = executable(checkout / ".tox" / backend / "bin" / "python", "")
    assert find_python(backend, {}) == python
    assert find_python(backend, {"torch": Path("/elsewhere")}) == python


def test_then_this_interpreter_if_it_has_the_framework(checkout: Path, backend: str) -> None:
    assert find_python(backend, {}) == Path(sys.executable).absolute()


def test_else_the_command_that_makes_the_environment_is_named(checkout: Path, absent: str) -> None:
    with pytest.raises(InputError, match=r"^no environment for absent; make it with: tox run -e absent$"):
        find_python(absent, {})


def test_gluons_command_names_the_python_that_it_needs(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError) as error:
        find_python("gluon", {})
    assert str(error.value) == "no environment for gluon; make it with: tox run -e gluon (needs Python 3.11)"


def test_a_given_interpreter_that_is_missing_is_named(checkout: Path, backend: str) -> None:
    """No other is tried."""
    missing = checkout / "nowhere" / "python"
    with pytest.raises(InputError, match=rf"--python here={missing}: there is no such interpreter"):
        find_python(backend, {backend: missing})


def test_a_given_file_that_cannot_be_executed_is_refused(checkout: Path, backend: str) -> None:
    file = checkout / "python"
    file.write_text("")
    with pytest.raises(InputError, match="there is no such interpreter"):
        find_python(backend, {backend: file})


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\nsleep 600", "does not answer: it takes longer than 1 s; pass another with --python"),
        ("#!/bin/sh\necho 2 + 2", "does not tell its packages; pass another with --python"),
        ("#!/bin/sh\necho '{}'", "does not tell its packages; pass another with --python"),
        ("#!/bin/sh\nyes", "does not answer: it takes longer than 1 s; pass another with --python"),
        ("#!/bin/sh\nprintf '\\033[2J'; exit 3", r"does not run (\x1b[2J)"),
        ("no program", "does not run (Exec format error); pass another with --python"),
    ],
)
def test_a_given_file_that_is_no_interpreter_is_refused(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setattr(environments, "LOOK_UP_SECONDS", 1)
    file = executable(tmp_path / "python", script)
    with pytest.raises(InputError) as error:
        find_environment(backend, {backend: file})
    assert str(error.value) == f"{file} {said}"
    assert not any(str(file) in (process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))


@pytest.mark.parametrize(
    ("name", "distributions"),
    [
        ("torch", {"torch": "torch", "transformers": "transformers"}),
        ("gluon", {"mxnet": "mxnet", "gluonnlp": "gluonnlp"}),
        ("keras", {"tensorflow": "tensorflow_cpu", "keras": "keras", "keras_hub": "keras-hub"}),
    ],
)
def test_packages_and_versions_are_those_that_pip_lists(name: str, distributions: dict[str, str]) -> None:
    found = find_environment(name, {})
    pip = subprocess.run(
        [found.python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=True,
    )
    listed = {package["name"]: package["version"] for package in json.loads(pip.stdout)}
    assert found.packages == listed
    assert found.versions == {module: listed[name] for module, name in distributions.items()}
    version = subprocess.run([found.python, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"Python {found.python_version}\n" == version


def test_an_interpreter_is_named_with_the_module_it_lacks(absent: str) -> None:
    with pytest.raises(InputError) as error:
        find_environment(absent, {absent: Path(sys.executable)})
    assert str(error.value) == (
        f"{sys.executable} has no no_such_framework, which absent needs; make its environment with: tox run -e absent"
    )


def test_an_interpreter_that_fails_is_named_with_its_last_line(tmp_path: Path, backend: str) -> None:
    broken = executable(tmp_path / "python", "#!/bin/sh\necho first >&2\necho 'libfoo.so not found' >&2\nexit 127\n")
    with pytest.raises(InputError) as error:
        find_environment(backend, {backend: broken})
    assert str(error.value) == f"{broken} does not run (libfoo.so not found)"


def test_an_interpreter_in_the_checkout_has_a_short_path(checkout: Path) -> None:
    def shown(python: Path) -> str:
        return Environment(python, packages={}, versions={}, python_version="3.11.7").shown

    assert shown(checkout / ".tox" / "torch" / "bin" / "python") == ".tox/torch/bin/python"
    assert shown(Path("/somewhere/venv/bin/python")) == "/somewhere/venv/bin/python"


def test_another_interpreter_finds_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets nothing of this interpreter's own."""
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "of this one")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    variables = worker_variables(3)
    assert "of this one" not in variables.values()
    assert variables["PYTHONPATH"] == str(CHECKOUT)
    assert variables["OMP_NUM_THREADS"] == "3"
    assert variables["CUDA_VISIBLE_DEVICES"] == "1"


def test_the_users_settings_come_first_except_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALLOC_ARENA_MAX", "OMP_WAIT_POLICY", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    usual = worker_settings(2)
    assert usual["OMP_NUM_THREADS"] == "2"
    assert "OMP_WAIT_POLICY" not in usual
    chosen = {"MALLOC_ARENA_MAX": "7", "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "64"}
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    assert worker_settings(2) == usual | chosen | {"OMP_NUM_THREADS": "2"}
    assert worker_settings(2).items() <= worker_variables(2).items()


TAKE_AND_FREE = """
import resource
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    before = faults()
    arrays = [b"x" * (size << 20) for size in (1, 12, 48, 100)]
    del arrays
print(faults() - before)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc",
    reason="MALLOC_* are settings of glibc; musl and macOS have other allocators, which never read them",
)
def test_memory_that_a_step_frees_serves_the_next_one() -> None:
    """The kernel zeroes hardly a page of it again."""
    run = subprocess.run([sys.executable, "-c", TAKE_AND_FREE], env=worker_variables(), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 100  # of the 41,000 pages of 4 KiB that are taken


def test_a_program_is_shown_one_of_the_gpus_that_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [alone(device) for device in ("cpu", "cuda:0", "cuda:2")] == ["", "0", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-b")
    assert [alone(device) for device in ("cpu", "cuda:0", "cuda:1")] == ["", "5", "GPU-b"]
