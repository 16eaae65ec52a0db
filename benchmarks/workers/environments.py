"""Finds the interpreter that runs a backend, by one fixed rule, and what is installed in it."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from msgspec import Struct

from backends import BACKENDS
from benchmarks.workers.allocator import allocator_settings
from benchmarks.workers.processes import running, wait_for
from shared.cache import cache_dir
from shared.errors import InputError
from shared.files import from_json

CHECKOUT = Path(__file__).resolve().parents[2]

LOOK_UP_SECONDS = 120
"""Longest time in which an interpreter has to tell what is installed in it. It takes half a second."""


class Told(Struct, frozen=True):
    """The answer of `python -m backends --json`."""

    packages: dict[str, str]
    versions: dict[str, str]
    python: str


@dataclass(frozen=True)
class Environment:
    """An interpreter that has a backend's framework."""

    python: Path
    packages: dict[str, str]
    """Every installed distribution and its version."""
    versions: dict[str, str]
    """The version of each module that the adapter imports."""
    python_version: str

    @property
    def shown(self) -> str:
        """The interpreter's path, relative to the checkout if it lies inside."""
        return str(self.python.relative_to(CHECKOUT) if self.python.is_relative_to(CHECKOUT) else self.python)


def find_python(backend: str, given: dict[str, Path]) -> Path:
    """The interpreter given for this backend, else tox's environment of its name in the checkout, else this interpreter
    if it has the framework. Raises InputError with the command that makes the environment."""
    if backend in given:
        if not os.access(given[backend], os.X_OK) or not given[backend].is_file():
            raise InputError(f"--python {backend}={given[backend]}: there is no such interpreter")
        return given[backend].absolute()
    tox = CHECKOUT / ".tox" / backend / "bin" / "python"
    if tox.is_file():
        return tox
    if importlib.util.find_spec(BACKENDS[backend].modules[0]):
        return Path(sys.executable).absolute()
    raise InputError(f"no environment for {backend}; make it with: {making(backend)}")


def making(backend: str) -> str:
    """The command that makes a backend's environment, and the Python that it needs if only one will do."""
    only = BACKENDS[backend].only_python
    needs = f" (needs Python {only})" if only else ""
    return f"tox run -e {backend}{needs}"


def find_environment(backend: str, given: dict[str, Path]) -> Environment:
    """The interpreter that `find_python` gives, and what is installed in it. Raises InputError if it lacks a module of
    the backend."""
    return find_environments([backend], given)[backend]


def find_environments(backends: Iterable[str], given: dict[str, Path]) -> dict[str, Environment]:
    """The environment of each backend, by name. All interpreters are asked at once. Raises InputError."""
    with ExitStack() as stack:
        pythons = {backend: find_python(backend, given) for backend in backends}
        asked = {backend: stack.enter_context(_asked(python)) for backend, python in pythons.items()}
        return {backend: _environment(backend, pythons[backend], process) for backend, process in asked.items()}


@contextmanager
def _asked(python: Path) -> Iterator[Popen]:
    try:
        with running([python, "-m", "backends", "--json"], worker_variables(), CHECKOUT) as process:
            yield process
    except OSError as error:
        raise InputError(f"{python} does not run ({error.strerror}); pass another with --python") from None


def _environment(backend: str, python: Path, process: Popen) -> Environment:
    """The environment that the interpreter tells of. Raises InputError."""
    try:
        code, output = wait_for(process, LOOK_UP_SECONDS)
    except TimeoutError as error:
        raise InputError(f"{python} does not answer: {error}; pass another with --python") from None
    if code:
        raise InputError(f"{python} does not run ({(output.lines() or ['no output'])[-1]})")
    told = [line for line in output.recent.decode(errors="replace").splitlines() if line.startswith("{")]
    return environment_told(backend, python, told[-1] if told else "")


def environment_told(backend: str, python: Path, text: str) -> Environment:
    """The environment of an interpreter that has told this JSON text (`Told`). Raises InputError if it lacks a module
    of the backend."""
    try:
        found = from_json(text, Told)
    except (ValueError, RecursionError):
        raise InputError(f"{python} does not tell its packages; pass another with --python") from None
    missing = [m for m in BACKENDS[backend].modules if m not in found.versions]
    if missing:
        raise InputError(
            f"{python} has no {', '.join(missing)}, which {backend} needs; make its environment with: {making(backend)}"
        )
    versions = {m: found.versions[m] for m in BACKENDS[backend].modules}
    return Environment(python, found.packages, versions, found.python)


THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def worker_settings(threads: int) -> dict[str, str]:
    """The environment variables that say how a worker computes: its threads, which OpenMP and the BLAS libraries read
    as they are loaded; its allocator; and how OpenMP's threads wait, if the user says so. Raises InputError if the
    allocator's library cannot be loaded."""
    chosen = allocator_settings()
    chosen |= {name: os.environ[name] for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ}
    return chosen | dict.fromkeys(THREADS, str(threads))


def worker_variables(threads: int = 1) -> dict[str, str]:
    """The environment variables of every process in another interpreter: it can import this project, has nothing of
    this interpreter's own, and has `worker_settings` and the same cache folder, whatever folder it runs in."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")}
    own = {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}
    return kept | worker_settings(threads) | own | {"CONCORD_CACHE": str(cache_dir())}
