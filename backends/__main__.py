"""`python -m backends`: the backends that this interpreter has, and their versions."""

from __future__ import annotations

from backends import BACKENDS
from benchmarks.environments import installed

if __name__ == "__main__":
    versions = installed()
    for name, backend in BACKENDS.items():
        found = [f"{module} {versions[module]}" for module in backend.modules if module in versions]
        print(f"{name}: {', '.join(found) if len(found) == len(backend.modules) else 'not here'}")
