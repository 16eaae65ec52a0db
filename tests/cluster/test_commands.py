"""Commands that run on a node as they are: checks of recordings, the ladder of one seed, measurements of speed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster

from benchmarks.workers.environments import CHECKOUT, find_python
from shared.pack import Pack
from tests.cluster.clusters import add_node, lose_node, pythons
from tests.processes import wait_until
from tests.recordings import change_all, copy_of, float32

TINY = ("--model", "random:bert-tiny", "--max-len", "16", "--backend", "torch", "--device", "cpu", "--threads", "1")
LADDER = ("--task", "paraphrase", *TINY, "--steps", "2", "--limit", "20")
SPEED = ("--task", "acceptability", *TINY, "--steps", "2", "--rounds", "1", "--baselines", "no")
REPORT = {"check.json", "check.md", "check.png", "map.toml"}


def command(module: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts a command of this project."""
    return subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )


def files(folder: Path) -> dict[str, bytes]:
    """The content of each file."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Waiting:
    """An interpreter that is torch's, but that every program but one for its packages waits until `go`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.python, self.gate = folder / "python", folder / "gate"
        waits = f'case "$*" in *--json*) ;; *) while [ ! -e "{self.gate}" ]; do sleep 0.05; done;; esac'
        self.python.write_text(f'#!/bin/sh\n{waits}\nexec "{find_python("torch", {})}" "$@"\n')
        self.python.chmod(0o755)

    @property
    def option(self) -> str:
        """The option that names it."""
        return f"--python=torch={self.python}"

    def go(self) -> None:
        """Lets the programs begin."""
        self.gate.touch()

    def programs(self) -> list[psutil.Process]:
        """Those that wait."""
        found = psutil.process_iter(["cmdline"])
        return [one for one in found if (one.info["cmdline"] or [])[:2] == ["/bin/sh", str(self.python)]]


@pytest.fixture
def waiting(tmp_path: Path) -> Waiting:
    return Waiting(tmp_path / "waiting")


@pytest.fixture(scope="module")
def recordings(default_pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of a pack's first run, with reports of checks here. Two are sound; in `bad` losses are sums."""
    folder = tmp_path_factory.mktemp("recordings")
    whole = float32(default_pack, folder / "reference")
    for name in ("one", "two", "bad"):
        copy_of(whole / "eval", folder / name / "eval")
    change_all(folder / "bad", "loss", lambda arrays: {name: 8 * array for name, array in arrays.items()})
    places = (folder / "one", folder / "bad")
    here = command("port", "check", *places, "--pack", default_pack.folder, "--threads", 1, "--report", folder / "here")
    stdout, stderr = here.communicate()
    assert here.returncode == 1, stdout + stderr
    return folder


def test_checks_on_nodes_report_as_here_though_one_is_lost(
    cluster: Cluster, recordings: Path, default_pack: Pack, waiting: Waiting, ray_options: tuple[str, ...]
) -> None:
    places = [recordings / name for name in ("one", "two", "bad")]
    asked = ("--pack", default_pack.folder, "--threads", 1, "--report", recordings / "there", waiting.option)
    runner = command("port", "check", *places, *asked, *ray_options)
    wait_until(lambda: len(waiting.programs()) == 2, "two are checked")
    lose_node(cluster)
    wait_until(lambda: len(waiting.programs()) == 1, "its programs have ended")
    waiting.go()
    stdout, stderr = runner.communicate()
    add_node(cluster)
    assert (runner.returncode, stderr) == (1, "")
    assert ") was lost (" in stdout
    assert f"\n{recordings / 'there' / 'one'}: check.md, check.json, check.png, map.toml\n" in stdout
    for name, same in (("one", "one"), ("two", "one"), ("bad", "bad")):
        there = files(recordings / "there" / name)
        assert there.keys() == REPORT
        assert there == files(recordings / "here" / same)
    last = [line.split() for line in stdout.splitlines()[-4:]]
    assert [line[1:] for line in last if line] == [["holds", "6", "seen"]] * 2 + [["WRONG", "by", "itself", "loss"]]


def test_a_recording_that_cannot_be_checked_is_named(
    recordings: Path, default_pack: Pack, tmp_path: Path, ray_options: tuple[str, ...]
) -> None:
    (tmp_path / "broken").mkdir()
    asked = ("--pack", default_pack.folder, "--threads", 1, "--report", tmp_path, *pythons("torch"))
    runner = command("port", "check", tmp_path / "broken", *asked, *ray_options)
    stdout, stderr = runner.communicate()
    assert runner.returncode == 2, stdout
    assert stderr.startswith(f"benchmarks.port: error: {tmp_path / 'broken'}")
    assert stderr.count("\n") == 1


def test_the_ladder_on_a_node_is_that_of_this_machine(tmp_path: Path, ray_options: tuple[str, ...]) -> None:
    for place, more in (("here", ()), ("there", ray_options)):
        runner = command("parity", *LADDER, *pythons("torch"), "--out", tmp_path / place, *more)
        stdout, stderr = runner.communicate()
        assert (runner.returncode, stderr) == (0, ""), stdout
    assert files(tmp_path / "here") == files(tmp_path / "there")
    assert {"parity.json", "parity.md", "parity.png"} <= files(tmp_path / "there").keys()


def test_one_node_measures_speed_and_is_named(tmp_path: Path, ray_options: tuple[str, ...]) -> None:
    """The same command again has nothing to measure."""
    asked = (*SPEED, "--padding", "longest", "--precision", "float32", *pythons("torch"), *ray_options)
    for _ in range(2):
        runner = command("speed", *asked, "--out", tmp_path)
        stdout, stderr = runner.communicate()
        assert (runner.returncode, stderr) == (0, ""), stdout
    assert "1 rounds: 0 measurements to make; " in stdout
    (host,) = {line.partition(": runs on ")[2] for line in stdout.splitlines() if ": runs on " in line}
    assert f"\n- measured on {host}\n" in (tmp_path / "speed.md").read_text()
    (kept,) = (tmp_path / "rounds").iterdir()
    assert json.loads(kept.read_text())["nodes"] == [host]


def test_ctrl_c_ends_a_command_on_its_node(tmp_path: Path, waiting: Waiting, ray_options: tuple[str, ...]) -> None:
    runner = command("speed", *SPEED, waiting.option, *ray_options, "--out", tmp_path / "out")
    wait_until(waiting.programs, "it measures")
    runner.send_signal(signal.SIGINT)
    _, stderr = runner.communicate()
    kept = "rounds that are done are kept on their node, or in --shared-dir; there the same command goes on"
    said = f"benchmarks.speed: interrupted; {kept}\n"
    assert (runner.returncode, stderr) == (130, said)
    wait_until(lambda: not waiting.programs(), "its programs have ended")


def test_a_measurement_is_alone(tmp_path: Path, ray_options: tuple[str, ...]) -> None:
    runner = command("speed", *SPEED, *ray_options, "--exclusive", "no", "--out", tmp_path)
    stdout, stderr = runner.communicate()
    said = "benchmarks.speed: error: --exclusive no: a measurement has its node to itself; leave it out\n"
    assert (runner.returncode, stdout, stderr) == (2, "", said)
