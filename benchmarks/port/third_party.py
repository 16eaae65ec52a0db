"""Third-party ports: folders ports/NAME with a script, its locked requirements and what is known of it, and for each an
environment of its own."""

from __future__ import annotations

import fcntl
import os
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks.workers.environments import CHECKOUT, worker_variables
from benchmarks.workers.processes import run_to_end
from shared.errors import InputError, ProcessFailed

PORTS = CHECKOUT / "ports"
ENVIRONMENTS = CHECKOUT / ".tox"
RECORDER = CHECKOUT / "recorder"
FACTS, LOCK, SCRIPT = "port.toml", "requirements.txt", "train.py"


class Facts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file port.toml."""

    title: str
    python: str
    """Version of the interpreter, as in 3.11."""
    package: str
    """The library that has the port, a package of the lock."""
    framework: str
    """The package of the lock that computes."""
    wrong: list[str] = []
    """Rungs that are wrong by themselves on the default pack; none if the port is faithful."""
    told: list[str] = []
    """Known mistakes (shared/hypotheses.py) that the check tells it as."""
    cause: str
    """Why they are wrong, or what a faithful port needs to be told."""
    remedy: str = ""
    """One line for users of the library; empty if nothing is needed."""


@dataclass(frozen=True)
class Port:
    """One third-party port."""

    folder: Path
    facts: Facts

    @classmethod
    def find(cls, name: str) -> Port:
        """The port of this name. Raises InputError."""
        if name not in port_names():
            raise InputError(f"there is no port {name}; for a list: python -m benchmarks.port gallery")
        folder = PORTS / name
        try:
            facts = msgspec.convert(tomllib.loads((folder / FACTS).read_text(encoding="utf-8")), Facts)
        except ValueError as error:
            raise InputError(f"ports/{name}/{FACTS} is no list of facts ({error}); correct it") from None
        return cls(folder, facts)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def library(self) -> str:
        """The package that has the port, and its version."""
        return f"{self.facts.package} {self.version(self.facts.package)}"

    @property
    def computes_with(self) -> str:
        """The framework and its version."""
        return f"{self.facts.framework} {self.version(self.facts.framework)}"

    @property
    def python_version(self) -> str:
        """Version of the interpreter."""
        return self.facts.python

    @property
    def told(self) -> list[str]:
        """Known mistakes that a check tells it as."""
        return self.facts.told

    @property
    def environment(self) -> Path:
        """The folder of its environment, which may not be made yet."""
        return ENVIRONMENTS / f"port-{self.name}"

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return self.environment / "bin" / "python"

    @property
    def lock(self) -> str:
        """The text of its requirements."""
        return (self.folder / LOCK).read_text(encoding="utf-8")

    def version(self, package: str) -> str:
        """The version of a package in the lock. Raises InputError."""
        pins = dict(line.split("==") for line in self.lock.splitlines() if "==" in line)
        if package not in pins:
            raise InputError(f"ports/{self.name}/{LOCK} does not pin {package}, which {FACTS} names; add it")
        return pins[package]

    @property
    def made_of(self) -> str:
        """Contents of the environment: the Python version and the lock. A file of it lies in the environment."""
        return f"# Python {self.facts.python}\n{self.lock}"

    @property
    def is_made(self) -> bool:
        """The environment is there, and made of this Python and this lock."""
        file = self.environment / LOCK
        return file.is_file() and file.read_text(encoding="utf-8") == self.made_of

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Waits until no other process makes this environment."""
        ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
        with (ENVIRONMENTS / f"port-{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def make_environment(self) -> None:
        """Makes the environment, in place of an earlier one. Raises InputError and ProcessFailed."""
        python = find_interpreter(self.facts.python, self.name)
        shutil.rmtree(self.environment, ignore_errors=True)
        _call([python, "-m", "venv", self.environment], f"{self.name}: {python} makes no environment")
        install = [self.python, "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", self.folder / LOCK]
        _call(install, f"ports/{self.name}/{LOCK} does not install")
        (self.environment / LOCK).write_text(self.made_of, encoding="utf-8")

    def run(self, pack: Path, recording: Path, pythons: dict[str, Path], threads: int) -> None:
        """Runs the script on the pack, in the port's own environment. Raises ProcessFailed."""
        places = {"CONCORD_PACK": str(pack.absolute()), "CONCORD_RECORDING": str(recording.absolute())}
        variables = worker_variables(threads) | places | {"PYTHONPATH": str(RECORDER)}
        _call([self.python, self.folder / SCRIPT], f"ports/{self.name}/{SCRIPT} failed", variables)


def port_names() -> list[str]:
    """Names of all third-party ports."""
    return sorted(file.parent.name for file in PORTS.glob(f"*/{FACTS}"))


def find_interpreter(version: str, port: str) -> Path:
    """An interpreter of this version on PATH or of pyenv. Raises InputError."""
    for python in _interpreters(version):
        asked: list[Any] = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if run_to_end(asked, _variables())[1].lines()[-1:] == [version]:
            return python
    raise InputError(
        f"{port} needs Python {version}, and there is no python{version} on PATH; install it, for example with: "
        f"pyenv install {version}"
    )


def _interpreters(version: str) -> Iterator[Path]:
    """Files that may be one. On PATH a file of pyenv may be a mere shim, which runs no interpreter."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders += sorted(pyenv.glob(f"versions/{version}.*/bin"), reverse=True)
    found = (folder / f"python{version}" for folder in folders)
    return (python for python in found if os.access(python, os.X_OK))


def _variables() -> dict[str, str]:
    """worker_variables without this project's modules."""
    return {name: value for name, value in worker_variables().items() if name != "PYTHONPATH"}


def _call(command: list[Any], failed: str, variables: dict[str, str] | None = None) -> None:
    """Runs a command. Raises ProcessFailed, with this message, if it does not end well."""
    code, output = run_to_end(command, variables or _variables())
    if code:
        raise ProcessFailed(failed, output.tail)
