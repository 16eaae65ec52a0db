"""Compile every requirements/NAME.in to NAME.txt by uv, which pins each package of the environment NAME exactly.

A pin that is in NAME.txt already stays if it still fits. Arguments go to `uv pip compile`: --upgrade renews all pins.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
PARTS = ("base", "test")
"""Files of choices that others include, and that are no environment by themselves."""
PLATFORMS = ["--universal", "--python-version", "3.11"]
"""One lock for every platform and Python from 3.11 on."""
PLATFORM = ["--python-platform", "x86_64-manylinux_2_28", "--python-version", "3.11"]
"""MXNet's last builds are for Linux, and its numpy has none for a Python after 3.11."""


def environments() -> list[str]:
    """The names NAME of every NAME.in that is an environment's."""
    return sorted({path.stem for path in FOLDER.glob("*.in")} - set(PARTS))


def command(name: str) -> list[str]:
    """uv's command for one lock, to be run in FOLDER."""
    excludes = ["--excludes", "excludes.txt"]
    if not name.endswith("-cuda"):
        excludes += ["--excludes", "excludes-cpu.txt"]
    platform = PLATFORM if name.startswith("gluon") else PLATFORMS
    return ["uv", "pip", "compile", f"{name}.in", "--output-file", f"{name}.txt", *platform, *excludes]


def main() -> None:
    """Compile every lock. A lock that cannot be resolved ends the command with uv's explanation."""
    options = ["--quiet", "--no-config", "--no-emit-index-url", "--custom-compile-command", "tox run -e lock"]
    for name in environments():
        print(f"{name}.txt", flush=True)
        if subprocess.run([*command(name), *options, *sys.argv[1:]], cwd=FOLDER).returncode:
            sys.exit(f"requirements/{name}.in does not resolve")


if __name__ == "__main__":
    main()
