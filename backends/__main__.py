"""Prints the backends that this interpreter has, and their versions:

    python -m backends

With `--json` it prints what a runner in another interpreter needs: every installed package, the version of each module
in the registry, and Python's version.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys

from backends import BACKENDS


def installed() -> dict[str, str]:
    """Version of each module in BACKENDS that this interpreter can import."""
    providers = importlib.metadata.packages_distributions()
    modules = {module for backend in BACKENDS.values() for module in backend.modules}
    return {m: importlib.metadata.version(providers[m][0]) for m in sorted(modules) if m in providers}


def as_json() -> str:
    """JSON text of an object with `packages`, `versions` (as `installed` gives them) and `python`."""
    packages = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    by_name = dict(sorted(packages.items(), key=lambda item: item[0].lower()))
    return json.dumps({"packages": by_name, "versions": installed(), "python": sys.version.split()[0]})


def main() -> None:
    """Prints a line for each backend, or the JSON."""
    if "--json" in sys.argv[1:]:
        print(as_json())
        return
    versions = installed()
    for name, backend in BACKENDS.items():
        found = [f"{module} {versions[module]}" for module in backend.modules if module in versions]
        print(f"{name}: {', '.join(found) if len(found) == len(backend.modules) else 'not here'}")


if __name__ == "__main__":
    main()
