"""Commands of this project that run on nodes as they are, each at a place of its own. What they read travels by a hash
of its content, and the files that they write come back."""

from __future__ import annotations

import hashlib
import platform
import shlex
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from benchmarks.cluster.command import Ended
from benchmarks.cluster.engine import RayEngine, side_by_side
from benchmarks.cluster.node import Argument, CommandWork, Done, Given, Results, Where
from benchmarks.cluster.place import LastingPlace, Lost
from benchmarks.cluster.slot import interpreter
from benchmarks.workers.allocator import ALLOCATOR, chosen_allocator
from benchmarks.workers.attempts import code_hash
from benchmarks.workers.processes import TAIL_LINES
from benchmarks.workers.progress import terminal
from shared.errors import ProcessFailed, tell
from shared.files import from_json, whole_file


@dataclass(frozen=True)
class Command:
    """A command for a node."""

    title: str
    module: str
    arguments: Sequence[Argument]
    backends: Sequence[str]
    """Backends whose interpreters it needs."""
    pythons: dict[str, Path]
    """Interpreters that are given, by backend."""
    out: Path
    """The folder of its results."""
    option: str = "--out"
    """The option that names that."""

    @property
    def name(self) -> str:
        """A name that the same command of the same code has again, and no other."""
        arguments = [(one.content.name, one.name) if isinstance(one, Given) else one for one in self.arguments]
        how = (self.pythons, chosen_allocator(), code_hash())
        asked = f"{platform.node()} {self.out.absolute()} {self.module} {arguments} {how}"
        return f"command-{hashlib.sha256(asked.encode()).hexdigest()[:24]}"


@dataclass
class Lines:
    """Shows commands as they start and end. Its methods may be called by several threads."""

    console: Console
    module: str
    commands: int
    ended: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def line(self, text: str) -> None:
        """Prints a line."""
        with self.lock:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def end(self, title: str, host: str, ended: Ended) -> None:
        """A command is over: prints what it has printed."""
        with self.lock:
            self.ended += 1
            if self.commands > 1:
                head = f"\n[{self.ended}/{self.commands}] {title} on {host}"
                self.console.print(head, highlight=False, markup=False, soft_wrap=True)
            print(ended.out, end="", flush=True)
            print(ended.errors, end="", file=sys.stderr, flush=True)

    def failed(self, title: str, failure: ProcessFailed) -> None:
        """A command could not be run to its end."""
        with self.lock:
            self.ended += 1
            tell(f"{self.module}: {title}: {failure}")
            for line in failure.tail:
                tell(f"  | {line}")


@dataclass(frozen=True)
class Ran:
    """The end of a command."""

    code: int
    """Its exit code."""
    written: frozenset[str] = frozenset()
    """The results that it wrote."""


def run_commands(engine: RayEngine, commands: Sequence[Command]) -> list[Ran]:
    """Runs commands of one module, as many at a time as find a place, and writes their results. Returns their ends, in
    order."""
    lines = Lines(terminal(), commands[0].module, len(commands))
    numbered = side_by_side(engine, enumerate(commands), lambda one: (one[0], _run(engine, one[1], lines)))
    return [ran for _, ran in sorted(numbered, key=lambda one: one[0])]


def _run(engine: RayEngine, command: Command, lines: Lines) -> Ran:
    place = LastingPlace(engine.cluster, engine.gpu, engine.threads, lines.line)

    def starts(where: Where) -> None:
        lines.line(f"{command.title}: runs on {where.host}")

    try:
        work = _work(engine, command)
        ended, files = place.result(starts, lambda actor: actor.command.remote(work), _read)
        _write(command.out, files)
        lines.end(command.title, place.host, ended)
        return Ran(ended.code, frozenset(files))
    except ProcessFailed as failure:
        lines.failed(command.title, failure)
        return Ran(failure.code)
    finally:
        place.leave()


def _work(engine: RayEngine, command: Command) -> CommandWork:
    shared, allocator = engine.cluster.sharing.shared, chosen_allocator()
    command.out.mkdir(parents=True, exist_ok=True)
    typed = shlex.join(["python", "-m", command.module, *sys.argv[1:]])
    return CommandWork(
        name=command.name,
        module=command.module,
        arguments=(*command.arguments, command.option, Results(str(command.out))),
        interpreters=tuple(
            (backend, interpreter(backend, engine.gpu, command.pythons)) for backend in command.backends
        ),
        before=engine.cluster.travel.results(command.out.resolve()),
        variables={"CONCORD_COMMAND": typed} | ({} if allocator is None else {ALLOCATOR: allocator}),
        shared=str(shared) if shared else None,
    )


def _read(done: Done) -> tuple[Ended, dict[str, bytes]]:
    """Reads what a command's process has told. Raises Lost if it, or the command, was killed, and ProcessFailed if it
    ended without a word."""
    try:
        ended = from_json(done.told, Ended)
    except (ValueError, RecursionError):
        if done.code < 0:
            raise Lost(f"the command's process ended with {done.code}") from None
        tail = done.output.strip().splitlines()[-TAIL_LINES:]
        raise ProcessFailed(f"the command's process ended with {done.code}", tuple(tail)) from None
    if ended.killed:
        raise Lost(f"the command ended with {ended.code}")
    return ended, done.files


def _write(out: Path, files: dict[str, bytes]) -> None:
    """Writes results. Raises ProcessFailed if one has no place there."""
    for name, content in files.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ProcessFailed(f"a node's answer has a file {name!r}")
        with whole_file(out / name) as file:
            file.write(content)
