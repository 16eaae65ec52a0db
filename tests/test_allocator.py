"""The allocator that is loaded into workers: it reaches them, changes no result, and is refused if it is not there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import run as runner
from benchmarks.cluster.cell import Asked, _run
from benchmarks.speed.__main__ import main as speed
from benchmarks.workers import allocator
from benchmarks.workers.allocator import ALLOCATOR, LIBRARY, choose_allocator, chosen_allocator, shown_allocator
from benchmarks.workers.environments import CHECKOUT, worker_settings, worker_variables
from benchmarks.workers.launcher import NO_LIMITS
from shared.errors import InputError
from shared.job import Job
from shared.recipe import Recipe
from shared.records import Record, read_records
from tests.test_environments import TAKE_AND_FREE

TOY = ["--backend", "torch", "--task", "acceptability", "--model", "random:bert-tiny", "--max-len", "16", "--limit"]
TOY += ["40", "--padding", "bucket", "--batch-size", "4", "--epochs", "2", "--threads", "1", "--device", "cpu"]


@pytest.fixture(autouse=True)
def unchosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts each test with glibc's allocator, and leaves the environment as it was."""
    for name in (ALLOCATOR, "LD_PRELOAD", "MALLOC_CONF"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def jemalloc() -> None:
    """Makes jemalloc the workers' allocator. Skips the test if the machine has none."""
    if not allocator._loads(LIBRARY):
        pytest.skip("there is no jemalloc: install the package libjemalloc2")
    choose_allocator("jemalloc")


def of_worker(program: str) -> str:
    """The output of a Python program in a worker's environment."""
    run = subprocess.run([sys.executable, "-c", program], env=worker_variables(), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_workers_keep_glibc_unless_asked() -> None:
    choose_allocator(None)
    settings = worker_settings(1)
    assert chosen_allocator() is shown_allocator() is None
    assert settings["MALLOC_ARENA_MAX"] == "1"
    assert "LD_PRELOAD" not in settings
    assert "jemalloc" not in of_worker("print(open('/proc/self/maps').read())")


@pytest.mark.usefixtures("jemalloc")
def test_the_library_is_loaded_into_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "libjemalloc" in of_worker("print(open('/proc/self/maps').read())")
    settings = worker_settings(1)
    assert settings["LD_PRELOAD"] == LIBRARY
    assert not any(name.startswith("MALLOC_") for name in settings if name != allocator.CONF)
    monkeypatch.setenv(allocator.CONF, "narenas:3")
    assert worker_settings(1)[allocator.CONF] == "narenas:3"


@pytest.mark.usefixtures("jemalloc")
def test_a_library_is_named_by_its_path_too() -> None:
    maps = of_worker("print(open('/proc/self/maps').read())")
    path = next(line.split()[-1] for line in maps.splitlines() if "libjemalloc" in line)
    choose_allocator(path)
    assert worker_settings(1)["LD_PRELOAD"] == path
    assert shown_allocator() == Path(path).name


@pytest.mark.usefixtures("jemalloc")
def test_a_path_is_found_from_the_workers_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = of_worker("print(open('/proc/self/maps').read())")
    path = next(line.split()[-1] for line in maps.splitlines() if "libjemalloc" in line)
    shutil.copyfile(path, tmp_path / "libown.so")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ALLOCATOR, "libown.so")
    assert chosen_allocator() == str(tmp_path / "libown.so")
    show = [sys.executable, "-c", "print(open('/proc/self/maps').read())"]
    run = subprocess.run(show, env=worker_variables(), cwd=CHECKOUT, capture_output=True, text=True)
    assert (run.stderr, "libown.so" in run.stdout) == ("", True)


@pytest.mark.usefixtures("jemalloc")
def test_jemalloc_keeps_what_a_step_frees() -> None:
    """The kernel zeroes hardly a page of it again."""
    assert int(of_worker(TAKE_AND_FREE)) < 1000  # of the 41,000 pages of 4 KiB that are taken


def cell(out: Path, *arguments: str) -> Record:
    """The record of one small training."""
    with pytest.raises(SystemExit) as end:
        runner.main([*TOY, "--out", str(out), *arguments])
    assert end.value.code == 0
    (record,) = read_records(out)
    return record


@pytest.mark.usefixtures("jemalloc")
def test_results_are_bit_equal_to_those_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ALLOCATOR)
    plain, loaded = cell(tmp_path / "plain"), cell(tmp_path / "loaded", "--allocator", "jemalloc")
    assert loaded.id == plain.id
    assert loaded.answer.step_loss == plain.answer.step_loss
    assert loaded.answer.predictions == plain.answer.predictions
    assert loaded.answer.test == plain.answer.test
    assert plain.circumstances.settings
    assert loaded.circumstances.settings
    assert "LD_PRELOAD" not in plain.circumstances.settings
    assert loaded.circumstances.settings["LD_PRELOAD"] == LIBRARY


def test_a_missing_library_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The dynamic loader itself only warns, and goes on without it."""
    with pytest.raises(InputError, match=r"libnone\.so cannot be loaded .* apt-get install libjemalloc2"):
        choose_allocator(str(tmp_path / "libnone.so"))
    monkeypatch.delenv(ALLOCATOR)
    monkeypatch.setattr(allocator, "LIBRARY", "libnone.so.2")
    what = ["--task", "acceptability", "--model", "random:bert-tiny", "--backend", "torch", "--out", str(tmp_path)]
    for main, more in ((runner.main, []), (speed, []), (speed, ["--engine", "ray"])):
        with pytest.raises(SystemExit) as end:
            main([*what, *more, "--allocator", "jemalloc"])
        assert end.value.code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "--allocator jemalloc: libnone.so.2 cannot be loaded" in line
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "libtext.so").write_text("no library")
    with pytest.raises(InputError, match=r"libtext\.so cannot be loaded"):
        choose_allocator(str(tmp_path / "libtext.so"))


def test_a_node_without_the_library_refuses_the_cell(tmp_path: Path) -> None:
    job = Job("train", "torch", "toy", ("0", "1"), ("accuracy",), "data", "folder", Recipe(), "cpu", 1)
    asked = Asked(job=job, versions={}, limits=NO_LIMITS, longest=1000, allocator="/lib/libnone.so")
    failed = _run(asked, job, tmp_path, Path(sys.executable)).failed
    assert failed
    assert failed.refused
    assert "--allocator /lib/libnone.so" in failed.message
