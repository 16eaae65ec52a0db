"""The table of known mistakes: every row is made somewhere, and planted by itself in a port."""

from __future__ import annotations

import re

from benchmarks.parity.rungs import RUNG
from shared.hypotheses import HYPOTHESES, HYPOTHESIS
from shared.rules import clipping, gradients, loss, optimizer
from tests.ports import MISTAKES
from tests.told import LACKING, TORCH

MADE = {"clipping": clipping, "gradients": gradients, "loss": loss, "optimizer": optimizer}


def test_ids_are_words_and_rungs_are_those_of_the_ladder() -> None:
    assert len(HYPOTHESIS) == len(HYPOTHESES)
    for row in HYPOTHESES:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.id), row.id
        assert row.rung in RUNG
        assert row.words == row.words.strip()
        assert ("{}" in row.words) <= (row.number is not None)


def test_every_rule_of_loss_clipping_and_optimizer_is_made() -> None:
    made = {name for module in MADE.values() for name in module.CHANGES}
    wanted = {row.id for row in HYPOTHESES if row.kind in ("loss", "gradients", "clipping", "optimizer", "loop")}
    assert wanted - made == {"pad-trained", "batches-swapped"}
    assert made <= set(HYPOTHESIS)


def test_each_row_is_planted_in_a_port_or_named_as_lacking() -> None:
    planted = set(TORCH) | {mistake.told for mistake in MISTAKES if mistake.told}
    assert planted <= set(HYPOTHESIS)
    assert set(HYPOTHESIS) - planted == set(LACKING)
