"""docs/checkpoints.md is what the code makes."""

from __future__ import annotations

from benchmarks.reporting.checkpoints import PAGE, page, rows


def test_the_page_of_checkpoints_is_made_from_the_code() -> None:
    """If not: python -m benchmarks.reporting.checkpoints"""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_no_kind_of_checkpoint_is_listed_twice() -> None:
    kinds = [(row.part, row.kind) for row in rows()]
    assert len(set(kinds)) == len(kinds)
