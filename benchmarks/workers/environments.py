"""Finds the interpreter that runs a backend, by one fixed rule, and what is installed in it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from backends import BACKENDS
from shared.errors import InputError
from shared.files import cache_dir

CHECKOUT = Path(__file__).resolve().parents[2]


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
    python = find_python(backend, given)
    run = subprocess.run(
        [python, "-m", "backends", "--json"], capture_output=True, text=True, cwd=CHECKOUT, env=worker_variables()
    )
    if run.returncode:
        raise InputError(f"{python} does not run ({(run.stderr.strip() or 'no output').splitlines()[-1]})")
    found = json.loads(run.stdout)
    missing = [m for m in BACKENDS[backend].modules if m not in found["versions"]]
    if missing:
        raise InputError(
            f"{python} has no {', '.join(missing)}, which {backend} needs; make its environment with: {making(backend)}"
        )
    versions = {m: found["versions"][m] for m in BACKENDS[backend].modules}
    return Environment(python, found["packages"], versions, found["python"])


THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

SETTINGS = {
    # glibc gives the memory of every large array back as it is freed, and the kernel zeroes each page again when the
    # next step takes as much: an embedding's gradient alone is 47 MB in MiniLM. These make one heap that keeps what it
    # has.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_ARENA_MAX": "1",
}
"""How a worker's memory is managed, the same for every backend; libc reads it as the process starts. A variable that
the user has set takes the place of the one here."""


def worker_settings(threads: int) -> dict[str, str]:
    """The environment variables that say how a worker computes: its threads, which OpenMP and the BLAS libraries read
    as they are loaded; SETTINGS; and how OpenMP's threads wait, if the user says so."""
    chosen = {name: os.environ.get(name, default) for name, default in SETTINGS.items()}
    chosen |= {name: os.environ[name] for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ}
    return chosen | dict.fromkeys(THREADS, str(threads))


def worker_variables(threads: int = 1) -> dict[str, str]:
    """The environment variables of every process in another interpreter: it can import this project, has nothing of
    this interpreter's own, and has `worker_settings` and the same cache folder, whatever folder it runs in."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")}
    own = {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}
    return kept | worker_settings(threads) | own | {"CONCORD_CACHE": str(cache_dir())}


def find_environments(backends: list[str], pythons: dict[str, Path]) -> dict[str, Environment]:
    """The environment of each backend, by name. Raises InputError."""
    with ThreadPoolExecutor() as pool:  # an interpreter takes half a second to list its packages
        found = pool.map(lambda backend: find_environment(backend, pythons), backends)
        return dict(zip(backends, found, strict=True))
