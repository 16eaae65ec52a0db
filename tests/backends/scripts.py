"""Runs scripts on a pack, one after another in this process, in the environment of their framework:

    python -m tests.backends.scripts PACK FOLDER...

Each folder has a train.py, and gets its recording, or failed.txt with the reason.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from pathlib import Path
from unittest import mock

from recorder import concord_recorder


def main() -> None:
    """Runs every script."""
    sys.modules["concord_recorder"] = concord_recorder
    for folder in map(Path, sys.argv[2:]):
        places = {"CONCORD_PACK": sys.argv[1], "CONCORD_RECORDING": str(folder / "recording")}
        with mock.patch.dict(os.environ, places):
            try:
                runpy.run_path(str(folder / "train.py"))
            except Exception:
                (folder / "failed.txt").write_text(traceback.format_exc(), encoding="utf-8")


if __name__ == "__main__":
    main()
