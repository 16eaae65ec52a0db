"""The table of known mistakes, and how often each was told, from the outcomes of tests.backends.diagnoses."""

from __future__ import annotations

from pathlib import Path

from shared.pack import Pack
from tests.backends.planting import Outcome
from tests.told import NOT_SHOWN

FAILS = "its script fails"


def told(one: Outcome) -> bool:
    """Whether an outcome is as it should be, or tells nothing."""
    if one.left_out:
        return not one.left_out.startswith(FAILS)
    if one.kind == "alone" and one.planted[0] in NOT_SHOWN:
        return not one.said
    return not one.said if one.kind == "sound" else one.all_named and not one.others


def write_table(document: Path, outcomes: list[Outcome], pack: Pack) -> None:
    """Writes the table between the document's marks."""
    raise NotImplementedError
