"""The locks: what was chosen in requirements/NAME.in, pinned whole in NAME.txt, one for each environment of tox.ini."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from backends import BACKENDS
from requirements.compile import PARTS, environments

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"
LOCKS = sorted(path.stem for path in FOLDER.glob("*.txt") if not path.stem.startswith("excludes"))
CUDA = re.compile(r"nvidia-|cuda-|triton|jax-cuda|mxnet-cu")
"""How the names of packages begin that only a GPU needs."""


def lines(path: Path) -> list[str]:
    """The lines of a requirements file that are no comments."""
    return [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]


def chosen(path: Path) -> list[Requirement]:
    """Reads what a .in file asks for, with the files that it includes or is constrained by."""
    found = []
    for line in lines(path):
        option, _, other = line.partition(" ")
        found += chosen(path.with_name(other)) if option in ("-r", "-c") else [Requirement(line)]
    return found


def asked(path: Path) -> set[str]:
    """The names of packages that must be in the lock of a .in file."""
    own = {canonicalize_name(Requirement(line).name) for line in lines(path) if not line.startswith("-")}
    return own.union(*(asked(path.with_name(line[3:])) for line in lines(path) if line.startswith("-r ")))


def pins(name: str, python: str) -> dict[str, str]:
    """The version of each package that the lock gives on Linux for a Python such as 3.12."""
    found: dict[str, str] = {}
    platform = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux"}
    for requirement in map(Requirement, lines(FOLDER / f"{name}.txt")):
        if requirement.marker is None or requirement.marker.evaluate(platform):
            package = canonicalize_name(requirement.name)
            assert package not in found, f"{name}.txt pins {package} twice for Python {python}"
            found[package] = str(requirement.specifier).removeprefix("==")
    return found


def test_every_environment_has_a_lock() -> None:
    assert {"bench", "lint", *BACKENDS} <= set(LOCKS)


def test_a_lock_belongs_to_each_file_of_choices() -> None:
    assert environments() == LOCKS
    included = re.findall(r"^-r (.+)\.in$", "\n".join(path.read_text() for path in FOLDER.glob("*.in")), re.MULTILINE)
    assert set(PARTS) <= set(included)


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_of_a_lock_is_an_exact_pin(name: str) -> None:
    for line in lines(FOLDER / f"{name}.txt"):
        assert re.fullmatch(r"[a-z0-9.-]+==[0-9][a-z0-9.]*( ; .+)?", line), line


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_what_was_chosen(name: str, python: str) -> None:
    locked = pins(name, python)
    assert asked(FOLDER / f"{name}.in") <= locked.keys()
    for requirement in chosen(FOLDER / f"{name}.in"):
        package = canonicalize_name(requirement.name)
        assert package not in locked or requirement.specifier.contains(locked[package]), package


@pytest.mark.parametrize("name", [name for name in LOCKS if not name.endswith("-cuda")])
def test_a_lock_for_a_cpu_holds_nothing_for_a_gpu(name: str) -> None:
    assert [line for line in lines(FOLDER / f"{name}.txt") if CUDA.match(line)] == []


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_brings_a_second_tensorflow(name: str) -> None:
    packages = {line.partition("==")[0] for line in lines(FOLDER / f"{name}.txt")}
    assert "tensorflow-text" not in packages
    assert not {"tensorflow", "tensorflow-cpu"} <= packages


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_index_and_no_path(name: str) -> None:
    assert not re.search(r"https?:|file:|index-url|find-links|(^|\s)/", (FOLDER / f"{name}.txt").read_text())


def test_tox_names_each_framework_once() -> None:
    text = "\n".join(lines(ROOT / "tox.ini"))
    named = {name: len(re.findall(rf"(?<![\w-]){name}(?![\w-])", text)) for name in BACKENDS}
    assert named == dict.fromkeys(BACKENDS, 1)
