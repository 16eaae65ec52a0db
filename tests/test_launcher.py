"""Starting workers: however a worker ends, and however its launcher does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.workers.environments import CHECKOUT, worker_variables
from benchmarks.workers.launcher import LOG, Outcome, run_worker
from shared.job import ANSWER, ERROR, EVENTS, JOB, Job
from shared.recipe import Recipe
from tests.processes import ended, obey_interrupts, wait_until, workers_of


def imitate(tmp_path: Path, body: str) -> Path:
    """An interpreter that, asked for a worker, runs these lines instead; `folder` is the job's."""
    script = tmp_path / "imitation"
    script.write_text(
        f"#!{sys.executable}\nimport json, os, signal, subprocess, sys, time\nfrom pathlib import Path\n"
        f"assert sys.argv[1:3] == ['-m', 'backends.worker']\nfolder = Path(sys.argv[3])\n{body}"
    )
    script.chmod(0o755)
    return script


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job folder, still without a job."""
    made = tmp_path / "job"
    made.mkdir()
    return made


def launch(tmp_path: Path, folder: Path, body: str, threads: int = 1) -> tuple[Outcome, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    return run_worker(imitate(tmp_path, body), folder, threads, events.append), events


def test_a_worker_that_ends_well_gives_its_answer_and_its_events_in_order(tmp_path: Path, folder: Path) -> None:
    body = f"""
with (folder / {EVENTS!r}).open("w") as events:
    for number in range(300):
        events.write(json.dumps({{"event": "step", "step": number}}) + "\\n")
        events.flush()
        time.sleep(0.001)
(folder / {ANSWER!r}).write_text('{{"total_steps": 300}}')
"""
    outcome, events = launch(tmp_path, folder, body)
    assert outcome == Outcome({"total_steps": 300})
    assert events == [{"event": "step", "step": number} for number in range(300)]


def test_half_an_event_waits_for_its_other_half(tmp_path: Path, folder: Path) -> None:
    body = f"""
with (folder / {EVENTS!r}).open("w") as events:
    for part in ('{{"event": "lo', 'aded"}}\\n{{"event"', ': "epoch"}}\\n{{"never'):
        events.write(part)
        events.flush()
        time.sleep(0.3)
(folder / {ANSWER!r}).write_text("{{}}")
"""
    _, events = launch(tmp_path, folder, body)
    assert events == [{"event": "loaded"}, {"event": "epoch"}]


def test_a_worker_that_is_killed_is_told_of_with_its_last_lines(tmp_path: Path, folder: Path) -> None:
    body = "print(*(f'line {n}\\n' for n in range(20)), sep='', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    outcome, _ = launch(tmp_path, folder, body)
    assert outcome.answer is None
    assert not outcome.bad_input
    assert outcome.error == "the worker was killed by SIGKILL; the kernel does this when memory runs out"
    assert outcome.tail == tuple(f"line {n}" for n in range(15, 20))
    assert (folder / LOG).read_text().split("\n")[0] == "line 0"


def test_a_crash_names_its_signal(tmp_path: Path, folder: Path) -> None:
    outcome, _ = launch(tmp_path, folder, "os.kill(os.getpid(), signal.SIGSEGV)\n")
    assert outcome.error == "the worker was killed by SIGSEGV"


def test_an_exception_is_told_of_with_its_last_lines(tmp_path: Path, folder: Path) -> None:
    outcome, _ = launch(tmp_path, folder, "print('so far')\nraise MemoryError('no room')\n")
    assert outcome.answer is None
    assert not outcome.bad_input
    assert outcome.error == "the worker ended with exit code 1"
    assert outcome.tail[-1] == "MemoryError: no room"


def test_a_worker_that_ends_without_an_answer_has_failed(tmp_path: Path, folder: Path) -> None:
    outcome, _ = launch(tmp_path, folder, "sys.exit(0)\n")
    assert outcome.answer is None
    assert outcome.error == "the worker ended with exit code 0"


def test_bad_input_is_what_a_worker_says_it_is_and_no_other_exit_code_2(tmp_path: Path, folder: Path) -> None:
    outcome, _ = launch(tmp_path, folder, "sys.exit(2)\n")
    assert (outcome.error, outcome.bad_input) == ("the worker ended with exit code 2", False)
    body = f"(folder / {ERROR!r}).write_text(json.dumps({{'message': 'thing; remedy'}}))\nsys.exit(2)\n"
    outcome, _ = launch(tmp_path, folder, body)
    assert outcome == Outcome(None, "thing; remedy", bad_input=True)


def test_a_worker_is_told_its_threads_and_finds_the_project(tmp_path: Path, folder: Path) -> None:
    body = f"(folder / {ANSWER!r}).write_text(json.dumps({{'at': os.getcwd()}} | dict(os.environ)))\n"
    outcome, _ = launch(tmp_path, folder, body, threads=3)
    assert outcome.answer is not None
    assert outcome.answer["OMP_NUM_THREADS"] == "3"
    assert outcome.answer["PYTHONPATH"] == outcome.answer["at"] == str(CHECKOUT)


def test_where_the_launcher_is_left_early_the_worker_and_its_children_end(tmp_path: Path, folder: Path) -> None:
    body = f"""
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(folder / {EVENTS!r}).write_text(json.dumps({{"pids": [os.getpid(), child.pid]}}) + "\\n")
time.sleep(600)
"""
    seen: list[psutil.Process] = []

    def interrupt(event: dict[str, Any]) -> None:
        seen.extend(psutil.Process(pid) for pid in event["pids"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_worker(imitate(tmp_path, body), folder, 1, interrupt)
    assert len(seen) == 2
    assert ended(seen[0])
    wait_until(lambda: ended(seen[1]), "the worker's child has ended")


# From here on the worker is the real one, on jobs that end before a framework is needed.


def job(data: Path, checkpoint: Path) -> Job:
    return Job(
        kind="train",
        backend="torch",
        task="toy",
        labels=("no", "yes"),
        metrics=("accuracy",),
        data=str(data),
        checkpoint=str(checkpoint),
        recipe=Recipe(),
        device="cpu",
        threads=1,
    )


def test_the_workers_own_bad_input_comes_back_as_one_line(tmp_path: Path, folder: Path) -> None:
    data, checkpoint = tmp_path / "data", tmp_path / "checkpoint"
    data.mkdir()
    (data / "pad_id").write_text("0")
    checkpoint.mkdir()
    job(data, checkpoint).write(folder)
    outcome = run_worker(Path(sys.executable), folder, 1, print)
    assert outcome.bad_input
    assert outcome.error.startswith(f"{checkpoint / 'config.json'} is missing; ")


def test_the_workers_own_exception_comes_back_with_its_last_lines(tmp_path: Path, folder: Path) -> None:
    job(tmp_path / "nothing", tmp_path).write(folder)
    outcome = run_worker(Path(sys.executable), folder, 1, print)
    assert outcome.error == "the worker ended with exit code 1"
    assert outcome.tail[-1].startswith("FileNotFoundError: ")


@pytest.fixture
def endless(folder: Path) -> Path:
    """A job folder that a worker never comes to the end of reading."""
    os.mkfifo(folder / JOB)
    return folder


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_worker_ends_with_its_launcher(endless: Path, end: signal.Signals) -> None:
    script = "import sys; from pathlib import Path; from benchmarks.workers.launcher import run_worker; "
    script += "run_worker(Path(sys.executable), Path(sys.argv[1]), 1, print)"
    with subprocess.Popen(
        [sys.executable, "-c", script, endless],
        env=worker_variables(),
        cwd=CHECKOUT,
        stderr=subprocess.DEVNULL,
        preexec_fn=obey_interrupts,
    ) as launcher:
        wait_until(lambda: workers_of(endless), "the worker runs")
        (worker,) = workers_of(endless)
        launcher.send_signal(end)
        assert launcher.wait() != 0
        wait_until(lambda: ended(worker), "the worker has ended")


def test_a_worker_ends_when_its_standard_input_closes(endless: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "backends.worker", endless], env=worker_variables(), cwd=CHECKOUT, stdin=subprocess.PIPE
    ) as worker:
        wait_until(lambda: workers_of(endless), "the worker runs")
        assert worker.poll() is None
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait() == 1


def test_a_job_is_read_as_it_was_written(folder: Path) -> None:
    written = job(folder / "data", folder / "checkpoint")
    written.write(folder)
    assert Job.read(folder) == written
    assert json.loads((folder / JOB).read_text())["recipe"] == Recipe().to_json()
