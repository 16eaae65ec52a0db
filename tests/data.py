"""Where the real data lies, and what tests that read it do without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("CONCORD_DATA_DIR") or Path(__file__).parents[2] / "shared" / "data")
"""Holds CoLA/ and MRPC/ in their original layouts, as docs/tasks.md describes them."""

needs_data = pytest.mark.skipif(
    not DATA.is_dir() and os.environ.get("CONCORD_REQUIRE_DATA") != "1",
    reason=f"no real data: {DATA} is no folder; set CONCORD_DATA_DIR to one that holds CoLA and MRPC",
)
"""Skips where the folder is missing, unless CONCORD_REQUIRE_DATA=1 says that it must be there."""
