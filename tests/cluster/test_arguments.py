"""Options of a command as a node gets them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.cli.parser import Parser
from benchmarks.cli.typed import typed_options
from benchmarks.cluster.arguments import _values
from benchmarks.cluster.arguments import given as given_path
from benchmarks.cluster.cluster import Cluster, Sharing
from benchmarks.cluster.commands import Command, _work
from benchmarks.cluster.engine import RayEngine
from benchmarks.cluster.node import Argument, Given
from benchmarks.cluster.travel import Travel
from benchmarks.workers.allocator import ALLOCATOR


@pytest.fixture
def travel() -> Travel:
    """Folders' way to nodes that are not there."""
    return Travel(SimpleNamespace(put=len), None)  # type: ignore[arg-type]


def values(travel: Travel, *line: str) -> list[Argument]:
    """The values of the one option in a command line."""
    parser = Parser()
    for name in ("--task", "--map", "--data-dir"):
        parser.add_argument(name)
    options = parser.parse_args(line)
    (typed,) = typed_options(parser, options, ())
    return list(_values(travel, typed, options))


def command(*arguments: Argument) -> Command:
    return Command("speed", "benchmarks.speed", arguments, [], {}, Path("out"))


def test_a_folder_that_has_a_name_by_chance_stays(
    travel: Travel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registered task and a shipped map are known by their names; other folders and files go along."""
    monkeypatch.chdir(tmp_path)
    for name in ("cola", "flax", "reviews"):
        (tmp_path / name).mkdir()
    (tmp_path / "map.toml").touch()
    assert values(travel, "--task", "cola") == ["cola"]
    assert values(travel, "--map", "flax") == ["flax"]
    for line in (("--task", "./reviews"), ("--map", "map.toml"), ("--data-dir", "cola")):
        (value,) = values(travel, *line)
        assert isinstance(value, Given)
        assert value.shown == line[1].removeprefix("./")


def test_a_folder_has_its_own_name_however_it_is_typed(
    travel: Travel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "data" / "inner"
    inner.mkdir(parents=True)
    (inner / "task.toml").touch()
    monkeypatch.chdir(inner)
    assert [given_path(travel, Path(typed)).name for typed in ("..", ".")] == ["data", "inner"]
    assert given_path(travel, Path("task.toml")).name == "inner/task.toml"
    monkeypatch.chdir(inner.parent)
    assert given_path(travel, Path("inner/../inner/task.toml")).name == "inner/task.toml"


def test_a_command_takes_its_allocator_along(travel: Travel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = RayEngine(Cluster(travel.ray, Sharing()))
    monkeypatch.chdir(tmp_path)
    without = command()
    plain, name = _work(engine, without), without.name
    monkeypatch.setenv(ALLOCATOR, "libown.so")
    with_own = _work(engine, without)
    assert ALLOCATOR not in plain.variables
    assert with_own.variables[ALLOCATOR] == str(tmp_path / "libown.so")
    assert (plain.name, with_own.name) == (name, without.name)
    assert plain.name != with_own.name


def test_two_descriptions_in_one_folder_are_two_commands(travel: Travel, tmp_path: Path) -> None:
    for name in ("one.toml", "two.toml"):
        (tmp_path / name).touch()
    one, two = (given_path(travel, tmp_path / name) for name in ("one.toml", "two.toml"))
    assert one.content == two.content
    assert len({command(one).name, command(two).name, command(one).name}) == 2
