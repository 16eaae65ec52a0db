"""Files and folders are whole or not there, and what killed processes left is removed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.workers.environments import CHECKOUT
from shared.files import restore, whole_file, whole_folder, write_whole
from shared.kept import kept_folder
from shared.partial import locked, remove_left_over


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """A process looks for what is left over once; each test is to be a process of its own."""
    remove_left_over.cache_clear()
    yield
    remove_left_over.cache_clear()


@contextmanager
def process(code: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Runs code that knows `folder`, until it says that it is ready. Kills it at the end."""
    begin = f"""
import os, signal, sys
from pathlib import Path
from shared.files import *
from shared.partial import locked
folder = Path({str(folder)!r})
def ready():
    print("ready", flush=True)
    signal.pause()
"""
    child = subprocess.Popen([sys.executable, "-c", begin + code], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout
        child.stdout.readline()
        yield child
    finally:
        child.kill()
        child.wait()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


WRITING = {
    "a file": "with whole_file(folder / 'a') as file: file.write(b'half'); ready()",
    "a folder": "with whole_folder(folder / 'a') as made: (made / 'b').write_text('half'); ready()",
    "a lock": "with locked(folder / 'a'): ready()",
}


@pytest.mark.parametrize("what", WRITING)
def test_what_a_killed_process_left_is_removed(tmp_path: Path, what: str) -> None:
    """Files that a living one writes stay, and so do files of other names."""
    (tmp_path / ".other").touch()
    with process(WRITING[what], tmp_path):
        (living,) = set(names(tmp_path)) - {".other"}
        write_whole(tmp_path / "mine", "1")
        assert names(tmp_path) == sorted([living, ".other", "mine"])
    remove_left_over.cache_clear()
    write_whole(tmp_path / "mine", "2")
    assert names(tmp_path) == [".other", "mine"]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    def interrupted() -> None:
        with whole_file(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    write_whole(tmp_path / "a", "before")
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "before"


def fill(folder: Path, text: str) -> None:
    with whole_folder(folder, replace=True) as made:
        (made / "content").write_text(text)


KILLED = """
rename, left = Path.rename, RENAMES
def counted(path, target):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    rename(path, target)
Path.rename = counted
with whole_folder(folder / "a", replace=True) as made:
    (made / "content").write_text("new")
ready()
"""


@pytest.mark.parametrize(("renames", "found"), [(0, "old"), (1, "old"), (2, "new")])
def test_a_replacement_that_is_killed_loses_nothing(tmp_path: Path, renames: int, found: str) -> None:
    fill(tmp_path / "a", "old")
    with process(KILLED.replace("RENAMES", str(renames)), tmp_path):
        remove_left_over.cache_clear()
    restore(tmp_path / "a")
    assert (tmp_path / "a" / "content").read_text() == found
    fill(tmp_path / "a", "newest")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a" / "content").read_text() == "newest"


def test_a_folder_that_was_replaced_and_not_removed_goes(tmp_path: Path) -> None:
    for name in ("a", ".a.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    restore(tmp_path / "a")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a" / "content").read_text() == "a"


def test_a_replacement_by_a_living_process_is_left_to_it(tmp_path: Path) -> None:
    fill(tmp_path / "a", "old")
    wait = "rename = Path.rename\ndef once(path, target):\n    rename(path, target)\n    ready()\nPath.rename = once\n"
    code = f"{wait}with whole_folder(folder / 'a', replace=True) as made: pass"
    with process(code, tmp_path):
        restore(tmp_path / "a")
        assert not (tmp_path / "a").exists()
    restore(tmp_path / "a")
    assert (tmp_path / "a" / "content").read_text() == "old"


def test_one_process_makes_a_folder_and_the_others_wait(tmp_path: Path) -> None:
    code = """
from shared.kept import kept_folder
def fill(made):
    (folder / "count").open("a").write("x")
    (made / "content").write_text("whole")
print((kept_folder(folder / "cache" / "a", fill) / "content").read_text())
"""
    begin = f"from pathlib import Path; folder = Path({str(tmp_path)!r})\n"
    with locked_here(tmp_path / "cache" / "a"):
        children = [
            subprocess.Popen([sys.executable, "-c", begin + code], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
    assert [child.communicate()[0] for child in children] == ["whole\n"] * 4
    assert (tmp_path / "count").read_text() == "x"
    assert names(tmp_path / "cache") == ["a"]


@contextmanager
def locked_here(path: Path) -> Iterator[None]:
    path.parent.mkdir()
    with locked(path):
        yield


def test_what_another_left_damaged_is_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So is a folder without a digest."""
    target = tmp_path / "cache" / "a"
    target.mkdir(parents=True)
    (target / "content").write_text("from before")

    def right(made: Path) -> None:
        (made / "content").write_text("right")

    for damaged in ("nothing", "content", "more"):
        if damaged != "nothing":
            (target / damaged).write_text("other")
        kept_folder(target, right)
        assert capsys.readouterr().err == f"{target} is not as it was written: it is made again\n"
        assert names(target) == ["content", "digest.json"]
        assert (target / "content").read_text() == "right"
