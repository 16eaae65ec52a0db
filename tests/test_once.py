"""Several real runners on one folder: each cell is run once, and what one leaves another takes up."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cells.job_folder import MODEL, remove_answered
from benchmarks.cells.locks import cell_lock, holder, lock_file, remove_ended
from benchmarks.workers.environments import CHECKOUT, find_python
from shared.errors import InputError
from shared.files import to_json
from shared.job import ANSWER, ARRAYS, CHECKPOINT
from shared.partial import locked
from shared.records import read_records, record_path
from tests.factories import answer, epoch
from tests.processes import wait_until

ROWS = 20
GRID = ("--backend", "torch", "--task", "acceptability", "--model", "random:bert-tiny", "--max-len", "16")
TOY = (*GRID, "--threads", "1", "--device", "cpu", "--limit", str(ROWS), "--seed")


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """An interpreter that is torch's, but for its worker: that one notes its job in `runs`, waits until there is a file
    `go`, and answers."""
    (tmp_path / "answer").write_text(to_json(answer([epoch(10.0)])))
    np.savez(tmp_path / "arrays.npz", dev=np.zeros((ROWS, 2), np.float32))
    python = tmp_path / "python"
    python.write_text(
        f"""#!/bin/sh
cd "{tmp_path}"
case "$*" in *backends.worker*)
    echo "$3" >> runs
    while [ ! -e go ]; do sleep 0.05; done
    sleep 0.1
    cp arrays.npz "$3/{ARRAYS}" && cp answer "$3/partial" && mv "$3/partial" "$3/{ANSWER}"
    exit;;
esac
cd "{CHECKOUT}"
exec "{find_python("torch", {})}" "$@"
"""
    )
    python.chmod(0o755)
    return python


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(quick: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts runners of these seeds."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmarks.run", *TOY, *map(str, arguments)]
        process = subprocess.Popen(
            [*command, "--out", str(tmp_path / "out"), "--python", f"torch={quick}"],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
            cwd=CHECKOUT,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def runs(tmp_path: Path) -> list[str]:
    """The job folders that workers were started in."""
    file = tmp_path / "runs"
    return file.read_text().split() if file.is_file() else []


def test_each_cell_is_run_once_by_all_runners_together(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the same grid and one that overlaps. Whoever reads meanwhile reads whole records."""
    (tmp_path / "go").touch()
    runners = [start(*range(1, 7)), start(*range(6, 0, -1)), start(*range(4, 10))]
    while any(runner.poll() is None for runner in runners):
        assert all(record.answer.test for record in read_records(tmp_path / "out"))
        time.sleep(0.02)
    shown = [runner.communicate() for runner in runners]
    assert [(runner.returncode, err) for runner, (_, err) in zip(runners, shown, strict=True)] == [(0, "")] * 3, shown
    assert capsys.readouterr().err == ""
    assert len(runs(tmp_path)) == len(set(runs(tmp_path))) == 9
    assert sorted(record.recipe.seed for record in read_records(tmp_path / "out")) == list(range(1, 10))
    assert list((tmp_path / "out" / "jobs").iterdir()) == []
    assert "| acceptability " in (tmp_path / "out" / "table.md").read_text()
    for out, _ in shown:
        assert out.count("test loss") + out.count("answered by another process") <= 6


def test_a_cell_that_another_has_is_waited_for_and_taken(start: Start, tmp_path: Path) -> None:
    first = start(1)
    wait_until(lambda: runs(tmp_path), "the first has the cell")
    second = start(1, 2)
    wait_until(lambda: len(runs(tmp_path)) == 2, "the second has another")
    (tmp_path / "go").touch()
    out, err = second.communicate()
    assert (second.returncode, err) == (0, "")
    assert "seed 1: answered by another process\n" in out
    assert len(runs(tmp_path)) == 2
    assert first.wait() == 0


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGHUP])
def test_a_cell_whose_runner_ended_is_taken_over(start: Start, tmp_path: Path, end: signal.Signals) -> None:
    first = start(1)
    wait_until(lambda: runs(tmp_path), "the first has the cell")
    second = start(1)
    line = f"waiting for process {first.pid} on {os.uname().nodename}, which has acceptability torch len 16 batch 32 se"
    assert second.stdout is not None
    assert any(said.startswith(line) for said in second.stdout)
    first.send_signal(end)
    (tmp_path / "go").touch()
    out, err = second.communicate()
    assert (second.returncode, err) == (0, "")
    assert "test loss" in out
    assert len(runs(tmp_path)) == 2
    assert len(read_records(tmp_path / "out")) == 1


@pytest.mark.parametrize("option", ["--rerun", "--retry"])
def test_what_is_asked_again_is_run_once_more_by_two(start: Start, tmp_path: Path, option: str) -> None:
    (tmp_path / "go").touch()
    if option == "--rerun":
        assert start(1, 2).wait() == 0
    else:
        (tmp_path / "arrays.npz").rename(tmp_path / "away")
        assert start(1, 2).wait() == 1
        assert len(list((tmp_path / "out" / "failed").iterdir())) == 2
        (tmp_path / "away").rename(tmp_path / "arrays.npz")
    (tmp_path / "go").unlink()
    again = [start(1, 2, option), start(1, 2, option)]
    wait_until(lambda: len(runs(tmp_path)) == 4, "each runs a cell again")
    (tmp_path / "go").touch()
    assert [runner.communicate()[1] for runner in again] == ["", ""]
    assert [runner.returncode for runner in again] == [0, 0]
    assert len(runs(tmp_path)) == 4
    assert len(read_records(tmp_path / "out")) == 2


def test_a_cell_that_takes_too_long_is_kept_as_failed(start: Start, tmp_path: Path) -> None:
    for option, said in (("--timeout", "ran longer than"), ("--patience", "gave no sign for")):
        runner = start(1, option, "3", "--retry" if runs(tmp_path) else "--max-failures=0")
        out, err = runner.communicate()
        assert (runner.returncode, err) == (1, "benchmarks.run: 1 of 1 cells failed\n")
        assert f"    FAILED torch: the worker {said} {option} 3 s, and was ended\n" in out
        assert len(list((tmp_path / "out" / "failed").iterdir())) == 1
    assert len(runs(tmp_path)) == 2


def test_two_runners_share_a_cold_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch's own workers. A failure that an earlier runner was killed at keeping is removed."""
    monkeypatch.setenv("CONCORD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "out" / "failed").mkdir(parents=True)
    (tmp_path / "out" / "failed" / ".cell.json.0.partial").touch()
    command = [sys.executable, "-m", "benchmarks.run", *TOY, "1", "2", "3", "--out", str(tmp_path / "out")]
    with started(command) as one, started(command) as other:
        assert [one.wait(), other.wait()] == [0, 0]
    records = read_records(tmp_path / "out")
    assert sorted(record.recipe.seed for record in records) == [1, 2, 3]
    assert not [path for path in tmp_path.rglob(".*") if ".partial" in path.name]
    assert list((tmp_path / "out" / "jobs").iterdir()) == []


def test_a_job_whose_answer_is_recorded_is_removed(tmp_path: Path) -> None:
    """As a kill between the record and the removal leaves it, or one within the removal. A model that has no place yet
    stays, and so does what is newer than the record: an answer, or a training that is not over."""
    names = ("recorded", "half-removed", "empty", "with-model", "newer", "training", "unasked", "held")
    for name in names:
        (tmp_path / "jobs" / name / CHECKPOINT).mkdir(parents=True)
        (tmp_path / "jobs" / name / ANSWER).touch()
    (tmp_path / "jobs" / "with-model" / MODEL).mkdir()
    for name in ("half-removed", "empty", "training"):
        (tmp_path / "jobs" / name / ANSWER).rename(tmp_path / "jobs" / name / CHECKPOINT / "state")
    shutil.rmtree(tmp_path / "jobs" / "empty" / CHECKPOINT)
    (tmp_path / "records").mkdir()
    for name in names:
        record_path(tmp_path, name).touch()
    (tmp_path / "jobs" / "half-removed" / CHECKPOINT / "removed").touch()
    (tmp_path / "jobs" / "half-removed" / CHECKPOINT / "removed").unlink()
    for name in ("newer", "training"):
        os.utime(record_path(tmp_path, name), (0, 0))
    with cell_lock(tmp_path, "held"):
        remove_answered(tmp_path, set(names) - {"unasked"})
    assert {path.name for path in (tmp_path / "jobs").iterdir()} == set(names) - {"recorded", "half-removed", "empty"}


# --- the lock


def test_a_lock_says_who_has_it_and_leaves_nothing(tmp_path: Path) -> None:
    with cell_lock(tmp_path, "cell") as mine, cell_lock(tmp_path, "cell") as other, cell_lock(tmp_path, "next") as next:
        assert (mine, other, next) == (True, False, True)
        assert holder(tmp_path, "cell") == f"process {os.getpid()} on {os.uname().nodename}"
    assert holder(tmp_path, "cell") == "another process"
    assert list((tmp_path / "jobs").iterdir()) == []


def test_a_disk_without_locks_takes_no_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes may make there what is else made once."""

    def no_locks(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    file = lock_file(tmp_path, "cell")
    with pytest.raises(InputError) as error, cell_lock(tmp_path, "cell"):
        raise AssertionError
    assert str(error.value) == f"{file} cannot be locked (No locks available); pass an --out on another disk"
    with locked(tmp_path / "a"), locked(tmp_path / "a"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["jobs"]


def test_a_lock_that_was_left_is_free(tmp_path: Path) -> None:
    lock_file(tmp_path, "cell").parent.mkdir()
    lock_file(tmp_path, "cell").write_text("process 1 on nowhere")
    with cell_lock(tmp_path, "cell") as mine:
        assert mine


def test_a_lock_that_was_left_is_removed_and_one_that_is_held_stays(tmp_path: Path) -> None:
    with cell_lock(tmp_path, "held"):
        lock_file(tmp_path, "left").write_text("process 1 on nowhere")
        remove_ended(tmp_path)
        assert list((tmp_path / "jobs").iterdir()) == [lock_file(tmp_path, "held")]
    remove_ended(tmp_path / "new")


def test_one_at_a_time_has_a_lock(tmp_path: Path) -> None:
    """Though each removes the file when it gives it back."""
    script = """
import os, sys
from pathlib import Path
from benchmarks.cells.locks import cell_lock
out, had = Path(sys.argv[1]), 0
while had < 200:
    with cell_lock(out, "cell") as mine:
        if mine:
            os.mkdir(out / "inside")
            os.rmdir(out / "inside")
            had += 1
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with started(command) as one, started(command) as two, started(command) as three:
        assert [one.wait(), two.wait(), three.wait()] == [0, 0, 0]


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, cwd=CHECKOUT, env=os.environ | {"PYTHONPATH": str(CHECKOUT)}) as process:
        try:
            yield process
        finally:
            process.kill()
