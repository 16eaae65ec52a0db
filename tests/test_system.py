"""Errors of the operating system, and names that a terminal would obey: one line, and no success without output."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import termios
import textwrap
from functools import partial
from pathlib import Path

import pytest

from benchmarks.cli.parser import READER_GONE, one_line_errors
from benchmarks.lengths import main as lengths
from benchmarks.report import main as report
from benchmarks.run import main as run
from benchmarks.workers.environments import CHECKOUT
from benchmarks.workers.progress import terminal
from shared.errors import InputError, ProcessFailed
from shared.limits import MESSAGE
from shared.records import write_record
from tests.factories import record
from tests.processes import PATIENCE

LONG = "x" * 300
"""A name that no file system takes."""

TOY = ["--backend", "torch", "--task", "acceptability", "--model", "random:bert-tiny"]


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, 1), (errno.EACCES, 1), (errno.EROFS, 1), (errno.EIO, 1), (errno.ENOEXEC, 2), (errno.EISDIR, 2)],
)
def test_an_error_of_the_system_names_file_and_remedy(
    number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONCORD_CACHE", str(tmp_path))
    for file, remedy in (("/toy/table.csv", ""), (f"{tmp_path}/toy", "set CONCORD_CACHE to another folder\n")):
        with pytest.raises(SystemExit) as end, one_line_errors("toy"):
            raise OSError(number, os.strerror(number), file)
        assert end.value.code == code
        line = capsys.readouterr().err
        assert line.startswith(f"toy: {file}: {os.strerror(number)}; {remedy}")
        assert line.count("\n") == 1


@pytest.mark.parametrize("kind", ["long", "file", "folder"])
def test_a_path_that_is_something_else_is_one_line(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    path = str({"long": tmp_path / LONG, "file": tmp_path / "file", "folder": tmp_path / "folder.csv"}[kind])
    calls = [
        lambda: report([path]),
        lambda: lengths(["--task", path, "--model", "random:bert-tiny"]),
        lambda: lengths(["--task", "acceptability", "--model", path]),
        lambda: run([*TOY, "--python", f"torch={path}"]),
    ]
    if kind != "folder":
        calls += [lambda: run([*TOY, "--out", path]), lambda: run([*TOY, "--save", path])]
    for call in calls:
        with pytest.raises(SystemExit) as end:
            call()
        assert end.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("script", ["#!/bin/sh\necho hello\n", "#!/bin/sh\necho '{}'\n", "garbage"])
def test_an_interpreter_that_is_something_else_is_one_line(
    script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "python"
    program.write_text(script)
    program.chmod(0o755)
    with pytest.raises(SystemExit) as end:
        run([*TOY, "--limit", "4", "--python", f"torch={program}"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert str(program) in error
    assert error.count("\n") == 1


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


@pytest.mark.parametrize("arguments", [["benchmarks.run", "--list"], ["benchmarks.report", "--help"]])
@pytest.mark.parametrize("reader", ["gone", "full"])
def test_output_that_nobody_takes_is_no_success(arguments: list[str], reader: str) -> None:
    variables = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    if reader == "gone":
        reading, output = os.pipe()
        os.close(reading)
    else:
        output = os.open("/dev/full", os.O_WRONLY)
    done = subprocess.run(command(*arguments), stdout=output, stderr=subprocess.PIPE, text=True, env=variables)
    os.close(output)
    said = f"{arguments[0]}: the output: No space left on device; free some space, or pass a folder on another disk\n"
    assert (done.returncode, done.stderr) == ((READER_GONE, "") if reader == "gone" else (1, said))


def test_a_terminal_that_closes_is_an_interruption() -> None:
    """Though neither its output nor its errors can be told any more."""
    script = "import time\nfrom benchmarks.cli.parser import one_line_errors\nwith one_line_errors('toy'):\n"
    script += (
        "    print('ready', flush=True)\n    while True:\n        time.sleep(0.01)\n        print('.', flush=True)\n"
    )
    for hangup in (signal.SIG_DFL, signal.SIG_IGN):  # a shell may keep the signal away
        terminal, inside = os.openpty()
        variables = os.environ | {"PYTHONPATH": str(CHECKOUT)}
        with subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env=variables,
            start_new_session=True,
            preexec_fn=partial(_own, inside, hangup),
        ) as process:
            os.close(inside)
            assert os.read(terminal, 5) == b"ready"
            os.close(terminal)
            assert process.wait(PATIENCE) == 130


def _own(terminal: int, hangup: signal.Handlers) -> None:
    """Makes this process's session the terminal's, whose end it is then told by SIGHUP."""
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, hangup)


def test_a_full_disk_is_told_with_the_file() -> None:
    """Though the system tells it of a descriptor, which has no name."""
    code = textwrap.dedent(
        """
        import os
        from pathlib import Path
        from benchmarks.cli.parser import one_line_errors
        from shared.files import whole_file, whole_folder
        full = os.open("/dev/full", os.O_WRONLY)
        with one_line_errors("toy"), {}(Path("{}")) as made:
            os.write(full, b"x")
        """
    )
    for make, target in (("whole_file", "table.md"), ("whole_folder", "saved")):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, target)
            done = subprocess.run(
                [sys.executable, "-c", code.format(make, path)],
                capture_output=True,
                text=True,
                env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
            )
        said = f"toy: {path}: No space left on device; free some space, or pass a folder on another disk\n"
        assert (done.returncode, done.stderr) == (1, said)


def test_names_are_no_markup_and_move_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x[/b] \x1b[31m"
    write_record(out, record(task="\x1b]0;mine\x07", model="[red]m[/]"), {})
    write_record(out, record(task="\u202eksat", model="other"), {})
    report([str(out)])
    shown = capsys.readouterr().out
    assert "x[/b] \\x1b[31m/table.md" in shown
    for name in ("\\x1b]0;mine\\x07", "[red]m[/]", "\\u202eksat"):
        assert name in shown
    assert "\x1b" not in shown


def test_a_console_shows_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    terminal().print("a [/b] :smile: \x1b[1mb\n中")
    assert capsys.readouterr().out == "a [/b] :smile: \\x1b[1mb\n中\n"


def test_messages_are_one_line_of_bounded_length() -> None:
    for message in (f"a\nb {LONG * 10}; pass c", f"\x1b[31m{LONG};\r pass c"):
        for error in (InputError(message), ProcessFailed(message, (message,))):
            assert len(str(error)) <= MESSAGE
            assert str(error).isprintable()
            assert str(error).endswith("pass c")
    assert ProcessFailed("", (f"\x1b{LONG}",)).tail[0].isprintable()
