"""`python -m backends`: the backends that this interpreter has, and their versions. With `--json`, all that a runner in
another interpreter asks: every installed package, the version behind each module of the registry, and Python's own."""

from __future__ import annotations

import importlib.metadata
import json
import sys

from backends import BACKENDS


def installed() -> dict[str, str]:
    """The version behind each module of BACKENDS that this interpreter can import."""
    providers = importlib.metadata.packages_distributions()
    modules = {module for backend in BACKENDS.values() for module in backend.modules}
    return {m: importlib.metadata.version(providers[m][0]) for m in sorted(modules) if m in providers}


def as_json() -> str:
    """An object with `packages`, `versions` (`installed`) and `python`."""
    packages = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    by_name = dict(sorted(packages.items(), key=lambda item: item[0].lower()))
    return json.dumps({"packages": by_name, "versions": installed(), "python": sys.version.split()[0]})


def main() -> None:
    """Prints a line a backend, or the JSON."""
    if "--json" in sys.argv[1:]:
        print(as_json())
        return
    versions = installed()
    for name, backend in BACKENDS.items():
        found = [f"{module} {versions[module]}" for module in backend.modules if module in versions]
        print(f"{name}: {', '.join(found) if len(found) == len(backend.modules) else 'not here'}")


if __name__ == "__main__":
    main()
