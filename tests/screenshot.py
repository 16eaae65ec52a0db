"""Takes a picture of the top of a folder's report.html: python -m tests.screenshot DIR PNG [WIDTH HEIGHT [light|dark]].
The folder is left as it is."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.reporting.html.page import FILE, document_of
from benchmarks.reporting.record_tables import Tables
from shared.records import Records
from tests.browser import a_browser, a_page


def main(folder: Path, picture: Path, width: int, height: int, scheme: str) -> None:
    """Writes the picture, a PNG."""
    with tempfile.TemporaryDirectory() as scratch, a_browser() as browser:
        file = Path(scratch) / FILE
        records = Records(folder)
        file.write_text(document_of(folder, Tables.of(records) if records else None).html(), encoding="utf-8")
        with a_page(browser, file, width, scheme) as opened:
            opened.page.set_viewport_size({"width": width, "height": height})
            opened.page.screenshot(path=str(picture))


if __name__ == "__main__":
    folder, picture, *rest = sys.argv[1:]
    width, height, scheme = [*rest, *("1200", "1060", "light")[len(rest) :]]
    main(Path(folder), Path(picture), int(width), int(height), scheme)
