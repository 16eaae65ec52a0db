"""The table of known mistakes: every row is made somewhere, and planted by itself in a port of each framework."""

from __future__ import annotations

import re

import pytest

from benchmarks.parity.rungs import RUNG
from benchmarks.port.gallery import find_ports
from shared.hypotheses import HYPOTHESES, HYPOTHESIS
from shared.rules import clipping, gradients, loss, optimizer
from tests.ports import MISTAKES
from tests.told import LACKS, TORCH
from tests.told_jax import JAX, JAX_LACKS
from tests.told_keras import KERAS, KERAS_LACKS

MADE = {"clipping": clipping, "gradients": gradients, "loss": loss, "optimizer": optimizer}
PLANTED = {"torch": (TORCH, LACKS), "jax": (JAX, JAX_LACKS), "keras": (KERAS, KERAS_LACKS)}


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


def test_each_row_is_planted_in_a_port() -> None:
    assert set(TORCH) | set(JAX) | set(KERAS) == set(HYPOTHESIS)
    assert {mistake.told for mistake in MISTAKES if mistake.told} <= set(HYPOTHESIS)
    assert {name for port in find_ports(["all", "own"]) for name in port.told} <= set(HYPOTHESIS)


@pytest.mark.parametrize("port", PLANTED)
def test_each_row_is_planted_in_each_port_or_cannot_be(port: str) -> None:
    planted, lacks = PLANTED[port]
    assert set(planted) | set(lacks) == set(HYPOTHESIS)
    assert not set(planted) & set(lacks)
