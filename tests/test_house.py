"""The house: imports run benchmarks -> backends -> shared, and only its own rooms import a framework. The recorder
imports nothing of the project."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends import BACKENDS

ROOT = Path(__file__).parents[1]
STOREYS = ("recorder", "shared", "backends", "benchmarks")
"""Packages, from the ground up."""
FRAMEWORKS = {module for backend in BACKENDS.values() for module in backend.modules} | {"optax", "tf_keras", "onnx"}
OUTSIDE = {
    "recorder/concord_torch.py": {"torch"},
    "recorder/concord_keras.py": {"keras"},
}
"""Modules outside the rooms that import a framework: the recorder's watchers belong to a framework each."""


def modules(storey: str) -> list[Path]:
    """Files of every module of a storey."""
    return sorted((ROOT / storey).rglob("*.py"))


def imports(file: Path) -> Iterator[str]:
    """Names of all modules that the file imports, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            yield str(node.module)


def started(file: Path) -> Iterator[str]:
    """Names of this project's modules that are strings in the file, as they are for `python -m`."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            first, *others = node.value.split(".")
            if first in STOREYS and all(part.isidentifier() for part in others):
                yield node.value


@pytest.mark.parametrize("storey", STOREYS)
def test_nothing_is_imported_from_above(storey: str) -> None:
    above = STOREYS[STOREYS.index(storey) + 1 :]
    assert modules(storey)
    for file in modules(storey):
        reached = [name for name in (*imports(file), *started(file)) if name.split(".")[0] in above]
        assert not reached, f"{file.relative_to(ROOT)} reaches up to {', '.join(reached)}"


def test_the_recorder_is_imported_by_its_checker() -> None:
    for storey in STOREYS[1:]:
        for file in modules(storey):
            inside = file.is_relative_to(ROOT / "benchmarks" / "port") or file == ROOT / "shared" / "sketches.py"
            reached = any(name.split(".")[0] == "recorder" for name in imports(file))
            assert inside or not reached, f"{file.relative_to(ROOT)} imports the recorder"


def rooms(framework: str) -> list[Path]:
    """Folders that may import a framework."""
    return [ROOT / backend.room.replace(".", "/") for backend in BACKENDS.values() if framework in backend.modules]


@pytest.mark.parametrize("storey", STOREYS)
def test_only_its_own_rooms_import_a_framework(storey: str) -> None:
    for file in modules(storey):
        name = file.relative_to(ROOT).as_posix()
        for framework in {module.split(".")[0] for module in imports(file)} & FRAMEWORKS:
            inside = any(file.is_relative_to(room) for room in rooms(framework))
            assert inside or framework in OUTSIDE.get(name, set()), f"{name} imports {framework}"


def test_every_room_has_the_modules_that_it_does_not_lack() -> None:
    for backend in BACKENDS.values():
        room = ROOT / backend.room.replace(".", "/")
        assert (room / "adapter.py").is_file()
        for optional in ("probes", "parts", "trainer", "bare"):
            assert (room / f"{optional}.py").is_file() == (optional not in backend.lacks), f"{backend.name} {optional}"


def test_a_room_borrows_no_framework_that_its_backend_lacks() -> None:
    """A room may import modules of another room: they import nothing that its own environment has not."""
    borrowed = []
    for backend in BACKENDS.values():
        for file in sorted(backend.folder.rglob("*.py")):
            for name in imports(file):
                other = ROOT / f"{name.replace('.', '/')}.py"
                if name.startswith("backends.") and other.parent not in (backend.folder, ROOT / "backends"):
                    borrowed.append(name)
                    needed = {module.split(".")[0] for module in imports(other)} & FRAMEWORKS
                    assert needed <= set(backend.modules), f"{backend.name} borrows {name}"
    assert "backends.keras.network" in borrowed
