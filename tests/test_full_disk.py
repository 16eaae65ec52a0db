"""A disk, a tmpfs, that is full while a cell runs: nothing is lost. python -m tests.full_disk tries all stages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.workers.environments import CHECKOUT

STAGES = ("planning", "first steps")

WAYS = ((), ("unshare", "-rm"))
"""Commands under which this user may mount: as root, or as root of a namespace."""


def may_mount(way: tuple[str, ...], place: Path) -> bool:
    """Whether a tmpfs can be mounted under this command. It is not left mounted."""
    script = f"mount -t tmpfs tmpfs '{place}' && umount '{place}'"
    known = all(map(shutil.which, (*way[:1], "mount")))
    return known and subprocess.run([*way, "sh", "-c", script], capture_output=True).returncode == 0


def test_nothing_is_lost_on_a_full_disk(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    way = next((way for way in WAYS if may_mount(way, place)), None)
    if way is None:
        pytest.skip("this system lets this user mount no disk")
    done = subprocess.run(
        [*way, sys.executable, "-m", "tests.full_disk", "--out", tmp_path, "--stage", *STAGES, "--pages", "0"],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = (tmp_path / "full_disk.md").read_text()
    assert table.count("| True    |") == len(STAGES)
    for said in ("the disk has 0 MiB left", "out cannot take the record (No space left on device)"):
        assert said in table
