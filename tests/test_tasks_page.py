"""docs/tasks.md has the tables that the code makes."""

from __future__ import annotations

from benchmarks.reporting.tasks_page import PAGE, page_text
from shared.tasks import TASK_MODULES


def test_the_page_has_the_tables_of_this_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page_text(text) == text, "run python -m benchmarks.reporting.tasks_page"
    assert all(f"| `{name}`" in text for name in TASK_MODULES)
