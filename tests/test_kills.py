"""A sweep that is killed at random moments."""

from __future__ import annotations

from pathlib import Path

from tests.kills import kill


def test_nothing_is_lost_by_fifteen_kills(tmp_path: Path) -> None:
    found = kill(cells=2, kills=15, seed=1, scratch=tmp_path, options=("--checkpoint-every", "epoch"))
    assert found.holds, found
    assert len(found.kills) == 15
