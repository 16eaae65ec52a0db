"""Workers side by side: how many run, in which order, and that all end together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from msgspec import Struct

from benchmarks.workers.beside import Beside
from benchmarks.workers.launcher import Turns, working
from shared.errors import ProcessFailed
from shared.job import ANSWER

MEETS = """
(folder / "came").touch()
while not all((folder.parent / other / "came").is_file() for other in ("a", "b")):
    time.sleep(0.02)
"""
"""Lasts until both workers run."""

STAYS = "(folder / 'pid').write_text(str(os.getpid()))\ntime.sleep(600)\n"


class Toy(Struct):
    """The answer of an imitation."""

    name: str


@pytest.fixture
def toy(tmp_path: Path) -> Callable[[str, str], Turns[Toy]]:
    """Gives a worker of this name, whose interpreter runs these lines in its place; `folder` is its own."""

    def toy(name: str, body: str) -> Turns[Toy]:
        script, folder = tmp_path / f"{name}.py", tmp_path / name
        folder.mkdir()
        script.write_text(
            f"#!{sys.executable}\nimport os, sys, time\nfrom pathlib import Path\nfolder = Path(sys.argv[3])\n{body}\n"
            f'(folder / {ANSWER!r}).write_text(\'{{"name": "{name}"}}\')\n'
        )
        script.chmod(0o755)
        return working(script, folder, 1, lambda event: None, Toy)

    return toy


def number_in(folder: Path) -> int | None:
    """The number that the folder's process has left there."""
    text = (folder / "pid").read_text() if (folder / "pid").is_file() else ""
    return int(text) if text else None


def test_two_workers_run_together(toy: Callable[[str, str], Turns[Toy]]) -> None:
    with Beside(2) as beside:
        begun = [beside.add(toy(name, MEETS)) for name in ("a", "b")]
        assert [beside.result(one).name for one in begun] == ["a", "b"]


def test_no_more_run_than_may(toy: Callable[[str, str], Turns[Toy]], tmp_path: Path) -> None:
    alone = "assert not list(folder.parent.glob('*/here'))\n(folder / 'here').touch()\ntime.sleep(0.3)\n"
    alone += "(folder / 'here').unlink()\n"
    with Beside(1) as beside:
        begun = [beside.add(toy(name, alone)) for name in ("a", "b", "c")]
        assert [beside.result(one).name for one in begun] == ["a", "b", "c"]


def test_what_is_run_now_comes_before_what_waits(toy: Callable[[str, str], Turns[Toy]], tmp_path: Path) -> None:
    (tmp_path / "now").mkdir()
    first = toy("now.first", "")
    first.close()  # its interpreter is all that is wanted
    with Beside(1) as beside:
        waiting = beside.add(toy("b", ""))
        answer = beside.run(tmp_path / "now.first.py", tmp_path / "now", 1, lambda event: None, Toy)
        assert (answer.name, waiting.answers) == ("now.first", [])
        assert beside.result(waiting).name == "b"


def test_all_end_if_one_fails(toy: Callable[[str, str], Turns[Toy]], tmp_path: Path) -> None:
    waits = f"while not Path({str(tmp_path / 'a' / 'pid')!r}).is_file():\n    time.sleep(0.02)\n"
    with Beside(2) as beside:
        stays = beside.add(toy("a", STAYS))
        beside.add(toy("b", f"{waits}sys.exit(3)\n"))
        with pytest.raises(ProcessFailed, match="exit code 3"):
            beside.result(stays)
    assert (number := number_in(tmp_path / "a"))
    assert not psutil.pid_exists(number)


def test_all_end_with_an_interruption(toy: Callable[[str, str], Turns[Toy]], tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]

    def interrupting() -> Turns[Toy]:
        while not all(map(number_in, folders)):
            yield
        raise KeyboardInterrupt

    with Beside(3) as beside:
        stays, *_ = [beside.add(toy(folder.name, STAYS)) for folder in folders]
        beside.add(interrupting())
        with pytest.raises(KeyboardInterrupt):
            beside.result(stays)
    assert not any(psutil.pid_exists(number) for folder in folders if (number := number_in(folder)))
