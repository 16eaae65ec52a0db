"""The folders of real data and reported inputs, marks that skip tests without them, and a writer of made-up files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("CONCORD_DATA_DIR") or Path(__file__).parents[2] / "shared" / "data")
"""The folder with the tasks' files in their original layouts (docs/tasks.md), at least CoLA/ and MRPC/."""

needs_data = pytest.mark.skipif(
    not DATA.is_dir() and os.environ.get("CONCORD_REQUIRE_DATA") != "1",
    reason=f"no real data: {DATA} is no folder; set CONCORD_DATA_DIR to one that holds CoLA and MRPC",
)
"""Skips a test if the folder is missing. With CONCORD_REQUIRE_DATA=1 the test fails instead."""

CASES = DATA.parent / "cases"
"""Folders with inputs that users reported, each with a README."""

needs_cases = pytest.mark.skipif(
    not CASES.is_dir() and os.environ.get("CONCORD_REQUIRE_DATA") != "1",
    reason=f"no reported inputs: {CASES} is no folder",
)
"""Skips a test if the folder is missing. With CONCORD_REQUIRE_DATA=1 the test fails instead."""


COMMIT = "86b5e0934494bd15c9632b12f734a8a67f723594"
"""A commit of the hub."""


def needs(name: str) -> pytest.MarkDecorator:
    """Skips a test if the data folder lacks this folder, as not every machine has all tasks' files. With
    CONCORD_REQUIRE_DATA=1 the test fails instead."""
    return pytest.mark.skipif(
        not (DATA / name).is_dir() and os.environ.get("CONCORD_REQUIRE_DATA") != "1",
        reason=f"no real data: {DATA / name} is no folder",
    )


def write(folder: Path, files: dict[str, str]) -> Path:
    """Writes made-up files into a folder, and returns the folder. No newline is changed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content.encode())
    return folder
