"""Runs a command of this project on a node: python -m benchmarks.cluster.command ASKED FOLDER

Its input lies in FOLDER/in, and its results in FOLDER/out: an attempt that was killed has left there what it had made,
and the next goes on from that. It prints one JSON object, an `Ended`. It ends when its standard input is closed."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from subprocess import DEVNULL
from tempfile import TemporaryFile
from typing import IO

from msgspec import Struct

from backends.worker import end_with_the_launcher
from benchmarks.cli.parser import INTERRUPTED
from benchmarks.workers.processes import end_with_children, started
from shared.files import from_json, hash_file, link_or_copy, to_json
from shared.partial import locked, whole_files

TAIL = 2**16
"""Bytes that are told of what the command printed, of each stream."""

LARGEST = 2**28
"""The most bytes of all results."""


class Text(Struct, frozen=True, tag=True):
    """An argument as it is."""

    text: str


class Results(Struct, frozen=True, tag=True):
    """The argument that names the folder of the results."""

    shown: str
    """The folder's path as it was typed."""


class Given(Struct, frozen=True, tag=True):
    """The argument that names a file or a folder."""

    content: str
    """The folder on this node that is meant, or that has the file."""
    place: str
    name: str
    shown: str
    """Its path as it was typed."""


class Asked(Struct, frozen=True, kw_only=True):
    """The command."""

    module: str
    arguments: list[Text | Results | Given]
    pythons: dict[str, str]
    """Interpreters, by backend."""
    before: str
    """Folder with the results so far, named by a hash of its content."""
    variables: dict[str, str]
    """More variables of its environment."""


class Ended(Struct, frozen=True, kw_only=True):
    """The end of a command on a node."""

    code: int
    """Its exit code; below 0 if a signal ended it that it does not catch."""
    killed: bool
    """Whether a signal ended it, caught or not: it has no result, and its folder is kept."""
    out: str
    """The last that it printed."""
    errors: str
    """The last that it printed on standard error."""
    files: dict[str, str] = {}
    """Path of each result that was written, by its place under the folder of the results."""


def main() -> None:
    """Runs the command that the command line names."""
    asked, folder = map(Path, sys.argv[1:])
    end_with_the_launcher()
    with locked(folder):  # an earlier process with this command may not have ended yet
        print(to_json(run(from_json(asked.read_bytes(), Asked), folder)), flush=True)


def run(asked: Asked, folder: Path) -> Ended:
    """Runs the command in this folder."""
    shutil.rmtree(folder / "in", ignore_errors=True)
    before, out = Path(asked.before), folder / "out"
    _begin(before, out, folder / "before")
    kept = {file: _version(out / file) for file in _files(before) if hash_file(out / file) == hash_file(before / file)}
    code, printed, errors = _printed(asked, folder)
    if code < 0 or code == INTERRUPTED:
        return Ended(code=code, killed=True, out=printed, errors=errors)
    made = (path.relative_to(out).as_posix() for path in whole_files(out))
    files = {file: str(out / file) for file in sorted(made) if kept.get(file) != _version(out / file)}
    size = sum(Path(file).stat().st_size for file in files.values())
    if size > LARGEST:
        errors += f"{asked.module}: its results are {size:,} bytes; {LARGEST:,} are taken at most\n"
        return Ended(code=code or 1, killed=False, out=printed, errors=errors)
    return Ended(code=code, killed=False, out=printed, errors=errors, files=files)


def _begin(before: Path, out: Path, begun: Path) -> None:
    """Puts the results so far into the folder. What a killed attempt has made of the same ones is newer, and stays;
    what it has made of others does not hide them. `begun` notes which they were."""
    out.mkdir(parents=True, exist_ok=True)
    same = begun.is_file() and begun.read_text(encoding="utf-8") == before.name
    begun.unlink(missing_ok=True)
    for file in _files(before):
        if not (same and (out / file).exists()):
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(before / file, out / file)
    begun.write_text(before.name, encoding="utf-8")


def _printed(asked: Asked, folder: Path) -> tuple[int, str, str]:
    """Runs the command. Returns its exit code, and the last that it printed on standard output and on standard error,
    where paths are as they were typed."""
    arguments, typed = [], {}
    for number, argument in enumerate(asked.arguments):
        arguments.append(_argument(argument, folder, number))
        if not isinstance(argument, Text):
            typed[arguments[-1]] = argument.shown
    arguments += [f"--python={backend}={python}" for backend, python in asked.pythons.items()]
    command = [sys.executable, "-m", asked.module, *arguments]
    with TemporaryFile() as printed, TemporaryFile() as errors:
        streams = {"stdin": DEVNULL, "stdout": printed, "stderr": errors}
        with started(command, end_with_children, env=os.environ | asked.variables, **streams) as process:
            code = process.wait()
        return code, _tail(printed, typed), _tail(errors, typed)


def _argument(argument: Text | Results | Given, folder: Path, number: int) -> str:
    """The argument for the command line. What it names gets its own name there."""
    match argument:
        case Text():
            return argument.text
        case Results():
            return str(folder / "out")
        case Given():
            place, content = folder / "in" / str(number), Path(argument.content)
            target = place / argument.place
            target.mkdir(parents=True, exist_ok=True)
            for file in _files(content):
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(content / file, target / file)
            return str(place / argument.name)


def _version(file: Path) -> tuple[int, int]:
    """Changes whenever the file is written."""
    status = file.stat()
    return status.st_ino, status.st_mtime_ns


def _files(folder: Path) -> list[str]:
    """The files under the folder, by their places in it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _tail(file: IO[bytes], typed: dict[str, str]) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
    text = file.read().decode(errors="replace")
    for place, shown in typed.items():
        text = text.replace(place, shown)
    return text


if __name__ == "__main__":
    main()
