"""A place on a node of the cluster, as an actor of Ray. It runs in Ray's own Python, which has nothing of this project
but its code: this module imports the standard library, Ray, and modules of `shared` that do the same."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.cache import cache_dir
from shared.partial import locked, remove

CHECKOUT = Path(__file__).resolve().parents[2]

NEEDED = ("msgspec", "numpy", "psutil", "threadpoolctl", "tokenizers", "rich")
"""Modules that `benchmarks.cluster.cell` imports. A Python that has them runs it, else one with the lock `bench`."""

NEEDED_BY_COMMANDS = (*NEEDED, "matplotlib", "pandas", "safetensors", "scipy", "sklearn", "tabulate")
"""Modules that commands of this project import."""

COMMAND = "command"
"""File with a hash of the code, and a name that no other command has."""

TAIL = 2000
"""Bytes that are told of what a program printed."""


class Unready(Exception):
    """A node that cannot run cells; the message is one line."""


@dataclass(frozen=True)
class Where:
    """A node, in Ray's words and in ours."""

    node: str
    """Ray's id."""
    host: str
    """The machine's name and address."""


@dataclass(frozen=True)
class Folder:
    """A folder that every node has once, under a hash of its content."""

    name: str
    parts: dict[str, Any]
    """Reference to each file's bytes in the object store, by the file's path in the folder."""
    shared: str | None = None
    """The folder's place, if all nodes see it there."""
    beside: tuple[str, Folder] | None = None
    """A place in a node's cache, and the folder that has to lie there too."""


@dataclass(frozen=True)
class Interpreter:
    """The interpreter that is wanted for a backend."""

    lock: str
    """Name of the lock that its environment is made of."""
    given: str | None
    """Path on the nodes of an interpreter that is used in place of such an environment."""


@dataclass(frozen=True)
class Work:
    """A cell's job for a node."""

    name: str
    """Name of its folder there. The same job gets the same name."""
    text: str
    """`benchmarks.cluster.cell.Asked` as JSON."""
    data: Folder
    checkpoint: Folder
    interpreter: Interpreter
    shared: str | None
    """A folder that all nodes see: job folders lie there, so that another node goes on from a checkpoint."""


@dataclass(frozen=True)
class Given:
    """A file or a folder that an argument of a command names."""

    content: Folder
    """The folder, or one that has the file."""
    place: str
    """The folder that gets the content, under one that the argument has for itself."""
    name: str
    """Place of the named file or folder, there."""
    shown: str
    """Its path as it was typed."""


@dataclass(frozen=True)
class Results:
    """An argument of a command that names the folder of its results."""

    shown: str
    """The folder's path as it was typed."""


Argument = str | Given | Results


@dataclass(frozen=True)
class CommandWork:
    """A command of this project for a node."""

    name: str
    """Name of its folder there."""
    module: str
    arguments: tuple[Argument, ...]
    interpreters: tuple[tuple[str, Interpreter], ...]
    """Interpreters by backend, which are further arguments."""
    before: Folder
    """The results so far."""
    variables: dict[str, str]
    """More variables of its environment."""
    shared: str | None
    """See Work."""


@dataclass(frozen=True)
class Done:
    """The result of a cell or a command on a node."""

    told: str
    """`benchmarks.cluster.cell.Told`, or `benchmarks.cluster.command.Ended`, as JSON; empty if the process ended
    without a word."""
    files: dict[str, bytes]
    code: int
    """Exit code of the process."""
    output: str
    """The last that it printed."""


class Node:
    """A place on a node. With `alone`, no other such place of the node is in use at the same time, whoever asked for
    it: the operating system holds the lock until this process ends."""

    def __init__(self, alone: bool) -> None:
        self.alone = alone
        self.held: int | None = None

    def where(self) -> Where:
        """Waits until the place is free. Tells where it is."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        if self.alone and self.held is None:
            file = _folder("slots") / f"{node}.lock"
            self.held = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(self.held, fcntl.LOCK_EX)
        return Where(node, f"{platform.node()} ({ray.util.get_node_ip_address()})")

    def packages(self, interpreter: Interpreter) -> tuple[str, str]:
        """The path of a backend's interpreter, and what it tells of its packages (`python -m backends --json`). Raises
        Unready."""
        python = _interpreter(interpreter)
        code = _code()
        ran = subprocess.run(
            [python, "-m", "backends", "--json"], capture_output=True, text=True, cwd=code, env=_variables(code)
        )
        if ran.returncode:
            raise Unready(f"{python} on {platform.node()} does not run ({_last_line(ran.stdout + ran.stderr)})")
        return str(python), next((line for line in ran.stdout.splitlines()[::-1] if line.startswith("{")), "")

    def answer(self, work: Work) -> Done:
        """Runs a cell's job. Raises Unready."""
        python, bench = _interpreter(work.interpreter), _bench_python(NEEDED)
        folder = _folder("jobs", work.shared) / work.name
        asked = folder.with_name(f"{folder.name}.asked")
        asked.write_text(work.text, encoding="utf-8")
        given = [asked, folder, _placed(work.data), _placed(work.checkpoint), python]
        done, found = _run_module(bench, "benchmarks.cluster.cell", given)
        asked.unlink(missing_ok=True)
        if found.get("circumstances") or (found.get("failed") or {}).get("refused"):
            remove(folder)  # else a checkpoint may be in it
        return done

    def command(self, work: CommandWork) -> Done:
        """Runs a command, on the results that one that was killed may have left in its folder. The same command waits
        meanwhile. Raises Unready."""
        bench = _bench_python(NEEDED_BY_COMMANDS)
        pythons = {backend: str(_interpreter(wanted)) for backend, wanted in work.interpreters}
        folder = _folder("jobs", work.shared) / work.name
        asked = folder.with_name(f"{folder.name}.asked")
        wanted = {
            "module": work.module,
            "arguments": [_argument(argument) for argument in work.arguments],
            "pythons": pythons,
            "before": str(_placed(work.before)),
            "variables": work.variables | {"CONCORD_NODE": self.where().host},
        }
        with locked(asked):  # another place of this node may have the same command
            asked.write_text(json.dumps(wanted), encoding="utf-8")
            done, found = _run_module(bench, "benchmarks.cluster.command", [asked, folder])
            asked.unlink(missing_ok=True)
            if done.told and not found["killed"]:
                remove(folder)
        return done


def _argument(argument: Argument) -> dict[str, Any]:
    """An argument as `benchmarks.cluster.command` reads it."""
    if isinstance(argument, str):
        return {"type": "Text", "text": argument}
    if isinstance(argument, Results):
        return {"type": "Results", "shown": argument.shown}
    told = {"content": str(_placed(argument.content)), "place": argument.place, "name": argument.name}
    return {"type": "Given", **told, "shown": argument.shown}


def _run_module(python: Path, module: str, arguments: Sequence[Any]) -> tuple[Done, dict[str, Any]]:
    """Runs a module of this project, and takes the files that it tells of. Returns what it told, too."""
    code = _code()
    # A pipe that closes with this process, however it ends: the other process then ends too.
    with (
        tempfile.TemporaryFile() as printed,
        subprocess.Popen(
            list(map(str, [python, "-m", module, *arguments])),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            cwd=code,
            env=_variables(code),
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        told = process.stdout.read().decode()
        process.wait()
        printed.seek(max(0, printed.seek(0, os.SEEK_END) - TAIL))
        output = printed.read().decode(errors="replace")
    found = _read(told)
    files = {name: Path(path).read_bytes() for name, path in found.get("files", {}).items()}
    return Done(told if found else "", files, process.returncode, output), found


def _read(told: str) -> dict[str, Any]:
    """Reads what a process told; empty if it was cut off."""
    try:
        found: dict[str, Any] = json.loads(told)
    except ValueError:
        return {}
    return found


def _folder(name: str, shared: str | None = None) -> Path:
    folder = (Path(shared) if shared else cache_dir() / "cluster") / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unready(f"{folder} on {platform.node()} cannot be made ({error.strerror})") from None
    return folder


def _code() -> Path:
    """The code's own place on this node. Ray removes its copy when a node ends, though a cell may still run."""
    target = _folder("code") / (CHECKOUT / COMMAND).read_text(encoding="utf-8").split()[0]
    if target.is_dir():
        return target
    with locked(target):
        if not target.is_dir():
            partial = target.with_name(f".{target.name}.new")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(CHECKOUT, partial)
            partial.rename(target)
    return target


def _placed(folder: Folder) -> Path:
    """The folder's place on this node. Its files come through the object store if no earlier cell has brought them."""
    if folder.beside is not None:
        _keep(*folder.beside)
    if folder.shared is not None:
        if not Path(folder.shared).is_dir():
            raise Unready(f"{platform.node()} does not see {folder.shared}; pass a --shared-dir that every node sees")
        return Path(folder.shared)
    import ray

    target = _folder("folders") / folder.name
    if target.is_dir():
        return target
    with locked(target):
        if not target.is_dir():
            partial = target.with_name(f".{target.name}.new")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            for name, part in folder.parts.items():
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                (partial / name).write_bytes(ray.get(part))
            partial.rename(target)
    return target


def _keep(place: str, folder: Folder) -> None:
    """Copies a folder to its place in the cache, if nothing is there."""
    target = cache_dir() / place
    if target.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target):
        if not target.is_dir():
            partial = target.with_name(f".{target.name}.new")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(_placed(folder), partial)
            partial.rename(target)


def _interpreter(wanted: Interpreter) -> Path:
    """The interpreter that is given, else that of an environment with exactly the packages of the lock. Raises
    Unready."""
    if wanted.given is None:
        return environment(CHECKOUT / "requirements" / f"{wanted.lock}.txt", _folder("environments"))
    if not os.access(wanted.given, os.X_OK):
        raise Unready(f"there is no interpreter {wanted.given} on {platform.node()}; pass another with --python")
    return Path(wanted.given)


def _bench_python(modules: Sequence[str]) -> Path:
    if all(importlib.util.find_spec(module) for module in modules):
        return Path(sys.executable)
    return environment(CHECKOUT / "requirements" / "bench.txt", _folder("environments"))


def environment(lock: Path, folder: Path) -> Path:
    """The interpreter of an environment with the packages of a lock, and no others. It is made in `folder` once, under
    a name that tells lock and Python; other processes that want it wait. Raises Unready."""
    version = ".".join(map(str, sys.version_info[:2]))
    digest = hashlib.sha256(lock.read_bytes() + version.encode()).hexdigest()[:16]
    target = folder / f"{lock.stem}-{digest}"
    python = target / "bin" / "python"
    if target.is_dir():
        return python
    folder.mkdir(parents=True, exist_ok=True)
    with locked(target):
        if not target.is_dir():
            partial = target.with_name(f".{target.name}.new")
            shutil.rmtree(partial, ignore_errors=True)
            _run([sys.executable, "-m", "venv", partial], lock)
            pip = [partial / "bin" / "python", "-m", "pip", "install", "--no-deps", "--disable-pip-version-check"]
            _run([*pip, "--requirement", lock], lock)
            partial.rename(target)  # only its scripts know the path, and nothing calls them
    return python


def _run(command: Sequence[Any], lock: Path) -> None:
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=_variables())
    if ran.returncode:
        raise Unready(
            f"{platform.node()} cannot make the environment of requirements/{lock.name} "
            f"({_last_line(ran.stdout + ran.stderr)}); mend that, or pass --python BACKEND=PATH"
        )


def _variables(code: Path = CHECKOUT) -> dict[str, str]:
    """Environment variables of a program in another interpreter: this code can be imported, and nothing else of this
    interpreter's."""
    without = ("PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in without} | {"PYTHONPATH": str(code)}


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no output"])[-1]
