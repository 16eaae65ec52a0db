"""Put the scripts of requirements/npm.toml into the tree, each with its licence, by `npm pack`.

A file whose sha256 is not the one in npm.toml is refused: write the new one there together with a new version.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHOSEN = Path(__file__).with_name("npm.toml")


def main() -> None:
    """Fetch every package and write its files. A package that npm does not find ends the command with npm's words."""
    for package in tomllib.loads(CHOSEN.read_text())["package"]:
        name = f"{package['name']}@{package['version']}"
        print(name, flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            if subprocess.run(["npm", "pack", "--silent", name], cwd=scratch).returncode:
                sys.exit(f"npm has no {name}")
            (packed,) = Path(scratch).glob("*.tgz")
            with tarfile.open(packed) as files:
                script, licence = (read(files, f"package/{file}") for file in (package["file"], "LICENSE"))
        found = hashlib.sha256(script).hexdigest()
        if found != package["sha256"]:
            sys.exit(f"{package['file']} of {name} has the sha256 {found}, and not that of requirements/npm.toml")
        folder = ROOT / package["folder"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / Path(package["file"]).name).write_bytes(script)
        (folder / f"{package['name']}.LICENSE").write_bytes(licence)


def read(files: tarfile.TarFile, name: str) -> bytes:
    """Return the content of a file of an archive."""
    file = files.extractfile(name)
    if file is None:
        sys.exit(f"{name} is no file")
    return file.read()


if __name__ == "__main__":
    main()
