"""Where the real data lies, and what tests that read it do without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("CONCORD_DATA_DIR") or Path(__file__).parents[2] / "shared" / "data")
"""Holds the tasks' files in their original layouts, as docs/tasks.md describes them; CoLA/ and MRPC/ at least."""

needs_data = pytest.mark.skipif(
    not DATA.is_dir() and os.environ.get("CONCORD_REQUIRE_DATA") != "1",
    reason=f"no real data: {DATA} is no folder; set CONCORD_DATA_DIR to one that holds CoLA and MRPC",
)
"""Skips where the folder is missing, unless CONCORD_REQUIRE_DATA=1 says that it must be there."""


def needs(name: str) -> pytest.MarkDecorator:
    """Skips where the data folder does not hold this one; other machines need not have every task's files."""
    return pytest.mark.skipif(
        not (DATA / name).is_dir() and os.environ.get("CONCORD_REQUIRE_DATA") != "1",
        reason=f"no real data: {DATA / name} is no folder",
    )


def write(folder: Path, files: dict[str, str]) -> Path:
    """Made-up files, as they are: no newline is changed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content.encode())
    return folder
