"""Workers and scripts: every way in which they, or their launcher, may end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from msgspec import Struct

from benchmarks.workers.environments import CHECKOUT, worker_variables
from benchmarks.workers.launcher import LOG, Killed, Limits, ask, run_script, run_worker
from benchmarks.workers.processes import HEAD, TAIL
from benchmarks.workers.progress import RunProgress, terminal
from shared.answer import Event, Loaded, Stepped, Trained
from shared.errors import ProcessFailed
from shared.files import to_json
from shared.job import ANSWER, ERROR, EVENTS, JOB, Job
from shared.kept import seal
from shared.recipe import Recipe
from tests.processes import ended, wait_until, workers_of


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


class Toy(Struct, forbid_unknown_fields=True):
    """The answer of an imitation."""

    steps: int = 0
    variables: dict[str, str] = {}


def launch(tmp_path: Path, folder: Path, body: str, threads: int = 1) -> tuple[Toy, list[Event]]:
    events: list[Event] = []
    return run_worker(imitate(tmp_path, body), folder, threads, events.append, Toy), events


def failure(tmp_path: Path, folder: Path, body: str) -> ProcessFailed:
    with pytest.raises(ProcessFailed) as failed:
        launch(tmp_path, folder, body)
    return failed.value


def test_a_worker_gives_its_events_in_order_and_its_answer(tmp_path: Path, folder: Path) -> None:
    body = f"""
with (folder / {EVENTS!r}).open("w") as events:
    for step in range(300):
        events.write(json.dumps({{"event": "step", "epoch": 1, "step": step, "of": 300, "loss": 0.5}}) + "\\n")
        events.flush()
        time.sleep(0.001)
(folder / {ANSWER!r}).write_text('{{"steps": 300}}')
"""
    answer, events = launch(tmp_path, folder, body)
    assert answer == Toy(steps=300)
    assert events == [Stepped(epoch=1, step=step, of=300, loss=0.5) for step in range(300)]


def test_a_loss_that_is_no_number_comes_through(tmp_path: Path, folder: Path) -> None:
    body = f"""
event = {{"event": "step", "epoch": 1, "step": 1, "of": 1, "loss": float("nan")}}
(folder / {EVENTS!r}).write_text(json.dumps(event) + "\\n")
(folder / {ANSWER!r}).write_text("{{}}")
"""
    _, (event,) = launch(tmp_path, folder, body)
    assert isinstance(event, Stepped)
    assert event.loss != event.loss


def test_half_an_event_waits_for_its_other_half(tmp_path: Path, folder: Path) -> None:
    one, other = (to_json(Loaded(import_seconds=n, load_seconds=0.5)) for n in (1, 2))
    parts = [one[:9], f"{one[9:]}\n{other[:9]}", f'{other[9:]}\n{{"never']
    body = f"""
with (folder / {EVENTS!r}).open("w") as events:
    for part in {parts!r}:
        events.write(part)
        events.flush()
        time.sleep(0.3)
(folder / {ANSWER!r}).write_text("{{}}")
"""
    _, events = launch(tmp_path, folder, body)
    assert events == [Loaded(import_seconds=n, load_seconds=0.5) for n in (1, 2)]


def test_a_worker_that_is_killed_is_told_with_its_last_lines(tmp_path: Path, folder: Path) -> None:
    body = "print(*(f'line {n}\\n' for n in range(20)), sep='', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    failed = failure(tmp_path, folder, body)
    assert (str(failed), failed.code) == (
        "the worker was killed by SIGKILL; the kernel does this when memory runs out",
        1,
    )
    assert failed.tail == tuple(f"line {n}" for n in range(15, 20))
    assert (folder / LOG).read_text().split("\n")[0] == "line 0"


def test_a_crash_names_its_signal(tmp_path: Path, folder: Path) -> None:
    failed = failure(tmp_path, folder, "os.kill(os.getpid(), signal.SIGSEGV)\n")
    assert str(failed) == "the worker was killed by SIGSEGV"


def test_an_exception_is_told_with_its_last_lines(tmp_path: Path, folder: Path) -> None:
    failed = failure(tmp_path, folder, "print('so far')\nraise KeyError('no room')\n")
    assert (str(failed), failed.code) == ("the worker ended with exit code 1", 1)
    assert failed.tail[-1] == "KeyError: 'no room'"


@pytest.mark.parametrize(
    "end",
    [
        "raise MemoryError",
        'raise RuntimeError("DefaultCPUAllocator: can\'t allocate memory: you tried to allocate 8 bytes")',
        "raise ImportError('libtorch.so: failed to map segment from shared object: Cannot allocate memory')",
        "raise RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB')",
        "raise RuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes')",
        "print(\"terminate called after throwing an instance of 'std::bad_alloc'\", flush=True); os.abort()",
    ],
)
def test_a_worker_without_memory_is_told_so(tmp_path: Path, folder: Path, end: str) -> None:
    failed = failure(tmp_path, folder, f"{end}\n")
    said = "the worker ran out of memory; free some, or pass a smaller --batch-size or --max-len"
    assert (str(failed), isinstance(failed, Killed)) == (said, False)


def test_a_worker_that_ends_without_an_answer_has_failed(tmp_path: Path, folder: Path) -> None:
    failed = failure(tmp_path, folder, "sys.exit(0)\n")
    assert (str(failed), failed.code) == ("the worker ended without an answer", 1)


def test_a_signal_without_a_name_is_told_by_its_number(tmp_path: Path, folder: Path) -> None:
    failed = failure(tmp_path, folder, "os.kill(os.getpid(), 40)\n")
    assert str(failed) == "the worker was killed by signal 40"


def test_only_a_kill_from_outside_says_nothing_of_the_job(tmp_path: Path, folder: Path) -> None:
    for name, outside in (
        ("SIGKILL", True),
        ("SIGTERM", True),
        ("SIGHUP", True),
        ("SIGSEGV", False),
        ("SIGABRT", False),
    ):
        failed = failure(tmp_path, folder, f"os.kill(os.getpid(), signal.{name})\n")
        assert isinstance(failed, Killed) == outside, name


def test_a_worker_may_crash_once_it_has_answered(tmp_path: Path, folder: Path) -> None:
    body = f"(folder / {ANSWER!r}).write_text('{{\"steps\": 3}}')\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    assert launch(tmp_path, folder, body)[0] == Toy(steps=3)


@pytest.mark.parametrize(
    ("file", "written", "said"),
    [
        (ANSWER, "''", "the answer answer.json is broken (Expecting value: line 1 column 1 (char 0))"),
        (
            ANSWER,
            "'{\"steps\": 3'",
            "the answer answer.json is broken (Expecting ',' delimiter: line 1 ",
        ),
        (ANSWER, '\'{"steps": "3"}\'', "the answer answer.json is broken (Expected `int`, got `str` - at `$.steps`)"),
        (ANSWER, "'[' * 100000", "the answer answer.json is broken (it is nested too deeply"),
        (ANSWER, "'\\udcff'", "the answer answer.json is broken ("),
        (EVENTS, "'{}\\n'", "the worker's events.jsonl is broken (Object missing required field `event`)"),
        (EVENTS, "'\\x00\\n'", "the worker's events.jsonl is broken ("),
        (EVENTS, "'[' * 10**7", "the worker's events.jsonl has a line without end"),
    ],
)
def test_a_broken_answer_is_told_in_one_line(tmp_path: Path, folder: Path, file: str, written: str, said: str) -> None:
    failed = failure(tmp_path, folder, f"(folder / {file!r}).write_text({written}, errors='surrogateescape')\n")
    assert str(failed).startswith(said)
    assert (failed.code, len(str(failed).splitlines())) == (1, 1)


def test_an_answer_too_large_is_refused_by_its_size(tmp_path: Path, folder: Path) -> None:
    failed = failure(tmp_path, folder, f"os.truncate((folder / {ANSWER!r}).open('w').name, 2**30)\n")
    assert str(failed) == "the answer answer.json has 1073741824 bytes, and at most 67108864 make sense"


def test_a_reason_is_shown_as_text_and_cut(tmp_path: Path, folder: Path) -> None:
    body = f"(folder / {ERROR!r}).write_bytes({{}})\nsys.exit(2)\n"
    assert str(failure(tmp_path, folder, body.format(b"\x1b[2J\xff"))) == "\\x1b[2J\N{REPLACEMENT CHARACTER}"
    assert len(str(failure(tmp_path, folder, body.format("b'x' * 10**7")))) == 300
    assert str(failure(tmp_path, folder, body.format(b""))) == "the worker refused its job without a reason"


# --- limits


def test_a_worker_is_ended_after_its_time(tmp_path: Path, folder: Path) -> None:
    body = "while True:\n    print('at work', flush=True)\n    time.sleep(0.01)\n"
    with pytest.raises(ProcessFailed) as failed:
        run_worker(imitate(tmp_path, body), folder, 1, print, Toy, limits=Limits(timeout=3, patience=60))
    assert str(failed.value) == "the worker ran longer than --timeout 3 s, and was ended"
    assert failed.value.tail[-1] == "at work"


def test_a_worker_that_is_silent_is_ended(tmp_path: Path, folder: Path) -> None:
    """One that tells or prints something is not."""
    event = to_json(Loaded(import_seconds=1, load_seconds=1))
    told = f"(folder / {EVENTS!r}).open('a').write({event!r} + '\\n')"
    for sign in ("print('so far', flush=True)", told):
        signs = f"for _ in range(6):\n    {sign}\n    time.sleep(0.5)\n"
        silent = imitate(tmp_path, f"{signs}print('silent', flush=True)\ntime.sleep(600)\n")
        with pytest.raises(ProcessFailed) as failed:
            run_worker(silent, folder, 1, lambda event: None, Toy, limits=Limits(patience=2.5))
        assert str(failed.value) == "the worker gave no sign for --patience 2.5 s, and was ended"
        assert failed.value.tail[-1] == "silent"


def test_a_worker_that_takes_too_much_memory_is_ended(tmp_path: Path, folder: Path) -> None:
    """Processes that it started count too."""
    took = "print('at work', flush=True)\ntaken = bytearray(600 * 2**20)\ntime.sleep(600)\n"
    child = f"subprocess.run([sys.executable, '-c', 'import time\\n' + {took!r}])\n"
    for body in (took, child):
        with pytest.raises(ProcessFailed) as failed:
            run_worker(imitate(tmp_path, body), folder, 1, print, Toy, limits=Limits(memory=300 * 2**20))
        assert str(failed.value) == "the worker took more memory than --memory 300 MiB, and was ended"
        assert not isinstance(failed.value, Killed)
        assert failed.value.tail == ("at work",)
    body = f"taken = bytearray(100 * 2**20)\ntime.sleep(1)\n(folder / {ANSWER!r}).write_text('{{}}')\n"
    assert run_worker(imitate(tmp_path, body), folder, 1, print, Toy, limits=Limits(memory=300 * 2**20)) == Toy()


def test_of_a_long_output_the_first_and_last_bytes_are_kept(tmp_path: Path, folder: Path) -> None:
    body = """
print("first")
for _ in range(40):
    sys.stdout.write("x" * 2**20)
print("\\nlast", flush=True)
sys.exit(1)
"""
    failed = failure(tmp_path, folder, body)
    assert failed.tail[-1] == "last"
    assert len(failed.tail[0]) == 300
    kept = (folder / LOG).read_bytes()
    assert kept.startswith(b"first\nxxx")
    assert kept.endswith(b"xxx\nlast\n")
    left_out = 40 * 2**20 + len(b"first\n\nlast\n") - HEAD - TAIL
    assert f"x\n... {left_out} bytes left out ...\nx".encode() in kept
    assert len(kept) < 10.1 * 2**20


def test_what_a_worker_prints_is_shown_and_not_obeyed(tmp_path: Path, folder: Path) -> None:
    body = "print('\\x1b[2J\\x07gone\\u202e', 'a\\rb', 'tab\\tbed', sep='\\n', flush=True)\nsys.exit(1)\n"
    assert failure(tmp_path, folder, body).tail == ("\\x1b[2J\\x07gone\\u202e", "a", "b", "tab\\tbed")


def test_what_a_worker_started_ends_with_it(tmp_path: Path, folder: Path) -> None:
    """Though it holds the worker's output open."""
    body = f"""
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(folder / {ANSWER!r}).write_text(json.dumps({{"steps": child.pid}}))
"""
    answer, _ = launch(tmp_path, folder, body)
    wait_until(lambda: not psutil.pid_exists(answer.steps), "the worker's child has ended")


def test_bad_input_is_only_what_a_worker_says_is(tmp_path: Path, folder: Path) -> None:
    """Exit code 2 alone is not enough."""
    failed = failure(tmp_path, folder, "sys.exit(2)\n")
    assert (str(failed), failed.refused, failed.code) == ("the worker ended with exit code 2", False, 1)
    failed = failure(tmp_path, folder, f"(folder / {ERROR!r}).write_text('thing; remedy')\nsys.exit(2)\n")
    assert (str(failed), failed.refused, failed.code, failed.tail) == ("thing; remedy", True, 2, ())


def test_a_worker_is_told_its_threads_and_finds_the_project(tmp_path: Path, folder: Path) -> None:
    variables = "{'at': os.getcwd()} | dict(os.environ)"
    body = f"(folder / {ANSWER!r}).write_text(json.dumps({{'variables': {variables}}}))\n"
    found = launch(tmp_path, folder, body, threads=3)[0].variables
    assert found["OMP_NUM_THREADS"] == "3"
    assert found["PYTHONPATH"] == found["at"] == str(CHECKOUT)


def test_a_worker_and_its_children_end_with_an_interruption(tmp_path: Path, folder: Path) -> None:
    body = f"""
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
event = {{"event": "step", "epoch": 1, "step": os.getpid(), "of": child.pid, "loss": 0}}
(folder / {EVENTS!r}).write_text(json.dumps(event) + "\\n")
time.sleep(600)
"""
    seen: list[psutil.Process] = []

    def interrupt(event: Event) -> None:
        assert isinstance(event, Stepped)
        seen.extend(psutil.Process(pid) for pid in (event.step, event.of))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_worker(imitate(tmp_path, body), folder, 1, interrupt, Toy)
    assert len(seen) == 2
    assert ended(seen[0])
    wait_until(lambda: ended(seen[1]), "the worker's child has ended")


def test_what_fails_in_ask_is_named_by_its_label(tmp_path: Path, folder: Path) -> None:
    """A worker's failure and its bad input alike."""
    body = f"(folder / {ERROR!r}).write_text('thing; remedy')\nsys.exit(int((folder / {JOB!r}).is_file()) + 1)\n"
    with RunProgress(terminal(), cells=1) as progress, pytest.raises(ProcessFailed) as failed:
        ask("torch", job(tmp_path, tmp_path), imitate(tmp_path, body), folder / "new", Toy, progress)
    assert (str(failed.value), failed.value.refused) == ("torch: thing; remedy", True)


# --- scripts


def script(tmp_path: Path, body: str) -> list[Path | str]:
    file = tmp_path / "toy.py"
    file.write_text(f"import json, os, sys\nfrom pathlib import Path\n{body}")
    return [sys.executable, file, "argument"]


def test_a_script_leaves_its_answer_in_a_file(tmp_path: Path) -> None:
    """The file is its last argument; its variables are those given."""
    body = "variables = {'argument': sys.argv[1], 'chosen': os.environ['CHOSEN']}\n"
    body += "Path(sys.argv[2]).write_text(json.dumps({'variables': variables}))\n"
    found = run_script(script(tmp_path, body), tmp_path / "answer.json", 1, Toy, {"CHOSEN": "yes"})
    assert found.variables == {"argument": "argument", "chosen": "yes"}


def test_a_script_that_fails_is_named_with_its_last_lines(tmp_path: Path) -> None:
    body = "print(*range(20), sep='\\n', flush=True)\nraise MemoryError('no room')\n"
    with pytest.raises(ProcessFailed) as failed:
        run_script(script(tmp_path, body), tmp_path / "answer.json", 1, Toy)
    assert (str(failed.value), failed.value.code) == ("toy.py ended with exit code 1", 1)
    assert failed.value.tail[-1] == "MemoryError: no room"
    assert len(failed.value.tail) == 5


def test_a_script_that_leaves_no_answer_has_failed(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match=r"^toy\.py ended without an answer$"):
        run_script(script(tmp_path, ""), tmp_path / "answer.json", 1, Toy)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGHUP])
def test_a_script_ends_with_its_launcher(tmp_path: Path, end: signal.Signals) -> None:
    """Though it watches nothing, and is suspended."""
    body = "import time\nPath(sys.argv[1], 'pid').write_text(str(os.getpid()))\ntime.sleep(600)\n"
    command = [*map(str, script(tmp_path, body)[:2]), str(tmp_path)]
    launch = f"""
from pathlib import Path
from benchmarks.cli.parser import one_line_errors
from benchmarks.workers.launcher import run_script
with one_line_errors("test"):
    run_script({command!r}, Path({str(tmp_path / "answer.json")!r}), 1, dict)
"""
    file = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", launch], env=worker_variables(), stderr=subprocess.PIPE) as launcher:
        wait_until(lambda: file.is_file() and file.read_text(), "the script runs")
        started = psutil.Process(int(file.read_text()))
        started.suspend()
        launcher.send_signal(end)
        assert launcher.stderr is not None
        assert launcher.stderr.read() == (b"" if end == signal.SIGKILL else b"test: interrupted; nothing is kept\n")
        assert launcher.wait() == (-end if end == signal.SIGKILL else 130)
        wait_until(lambda: ended(started), "the script has ended")


def test_an_interruption_as_a_process_starts_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes when the process runs, and nobody has it yet."""
    made: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def interrupted(*arguments: object, **settings: object) -> subprocess.Popen[bytes]:
        made.append(start(*arguments, **settings))  # type: ignore[call-overload]
        os.kill(os.getpid(), signal.SIGINT)
        return made[-1]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_script(script(tmp_path, "import time\ntime.sleep(60)\n"), tmp_path / "answer.json", 1, Toy)
    assert made[0].returncode == -signal.SIGKILL


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP])
def test_what_a_ports_command_started_ends_with_the_check(tmp_path: Path, end: signal.Signals) -> None:
    file = tmp_path / "pid"
    command = ["sh", "-c", f"sleep 60 & echo $! > {file}; wait"]
    launch = f"""
from pathlib import Path
from benchmarks.cli.parser import one_line_errors
from benchmarks.port.running import run_command
with one_line_errors("test"):
    run_command({command!r}, Path(), Path(), ())
"""
    with subprocess.Popen([sys.executable, "-c", launch], env=worker_variables(), stderr=subprocess.PIPE) as launcher:
        wait_until(lambda: file.is_file() and file.read_text(), "the command runs")
        started = psutil.Process(int(file.read_text()))
        launcher.send_signal(end)
        assert launcher.stderr is not None
        assert launcher.stderr.read() == b"test: interrupted; nothing is kept\n"
        wait_until(lambda: ended(started), "what the command started has ended")


# --- the real worker, on jobs that end before a framework is needed


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
    seal(data)
    checkpoint.mkdir()
    job(data, checkpoint).write(folder)
    with pytest.raises(ProcessFailed) as failed:
        run_worker(Path(sys.executable), folder, 1, print, Trained)
    assert failed.value.refused
    assert str(failed.value).startswith(f"{checkpoint / 'config.json'} is missing; ")


def test_the_workers_own_exception_comes_with_its_last_lines(tmp_path: Path, folder: Path) -> None:
    (folder / JOB).write_text("{}")
    with pytest.raises(ProcessFailed) as failed:
        run_worker(Path(sys.executable), folder, 1, print, Trained)
    assert str(failed.value) == "the worker ended with exit code 1"
    assert failed.value.tail[-1].startswith("msgspec.ValidationError: ")


@pytest.fixture
def endless(folder: Path) -> Path:
    """A job folder that a worker never comes to the end of reading."""
    os.mkfifo(folder / JOB)
    return folder


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_worker_ends_with_its_launcher(endless: Path, end: signal.Signals) -> None:
    script = "import sys; from pathlib import Path; from benchmarks.workers.launcher import run_worker; "
    script += "run_worker(Path(sys.executable), Path(sys.argv[1]), 1, print, dict)"
    with subprocess.Popen(
        [sys.executable, "-c", script, endless],
        env=worker_variables(),
        cwd=CHECKOUT,
        stderr=subprocess.DEVNULL,
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
