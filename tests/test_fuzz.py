"""Mutated files of every kind are read or refused in one line: 300 here, 10,000 by python -m tests.fuzz."""

from __future__ import annotations

from random import Random

from tests.fuzz.__main__ import fuzz
from tests.fuzz.mutations import mutate

COUNT = 300


def test_damaged_files_are_read_or_refused_in_one_line() -> None:
    found = fuzz(seed=300, count=COUNT)
    assert [f"{kind} {fault}" for kind, one in found.items() for fault in one.faults] == []
    assert sum(sum(one.outcomes.values()) for one in found.values()) == COUNT
    assert sum(one.outcomes["refused"] for one in found.values()) > COUNT / 4


def test_a_mutation_follows_from_its_seed_and_changes_the_file() -> None:
    content = b'{"a": [1, 2.5, "x"], "b": {"c": null}}'
    for number in range(50):
        once, again = (mutate(content, "a.json", Random(number)) for _ in range(2))
        assert once == again
    assert len({mutate(content, "a.json", Random(number)) for number in range(50)}) > 25
