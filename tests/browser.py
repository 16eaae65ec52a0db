"""A Chromium for tests of report.html, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.processes import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""Names of the program, which a system's packages bring."""

AXE = Path(__file__).with_name("vendor") / "axe.min.js"

SERIOUS = ("serious", "critical")


@dataclass
class Opened:
    """A page that is open, and what it did."""

    page: Any
    asked: list[str] = field(default_factory=list)
    """Addresses that it asked for, but its own."""
    said: list[str] = field(default_factory=list)
    """Errors and warnings on its console."""

    def faults(self) -> list[str]:
        """Serious and critical faults of accessibility that axe finds, each with its first place."""
        found = self.page.evaluate("axe.run().then(({ violations }) => violations)")
        return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in SERIOUS]

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width


@contextmanager
def a_browser() -> Iterator[Any]:
    """Starts Chromium. Skips the test if the machine has none, or the environment no Playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not in this environment")
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("there is no Chromium: install the package chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def a_page(browser: Any, file: Path, width: int = 1440, scheme: str = "light") -> Iterator[Opened]:
    """Opens a file in a window of this width, and waits until its charts are drawn. axe is there, injected past the
    file's own policy."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(1000 * PATIENCE)
    page = context.new_page()
    opened = Opened(page)
    page.on(
        "console", lambda message: opened.said.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: opened.said.append(str(error)))
    address = file.resolve().as_uri()
    page.on("request", lambda request: opened.asked.append(request.url) if request.url != address else None)
    page.goto(address)
    page.evaluate("window.drawn")
    page.evaluate(AXE.read_text(encoding="utf-8") + "; null")
    yield opened
    context.close()
