"""`benchmarks.port` on the ports of ports/, each in its framework's environment, sound and with mistakes planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.parity.rungs import RUNG
from benchmarks.port.__main__ import main
from benchmarks.workers.environments import find_python
from shared.pack import Pack
from tests.ports import MISTAKES, PORTS, Mistake, run_port
from tests.told import OTHERS

CHECKED = {
    "tanh-gelu": "layers",
    "no-bias-correction": "first step",
    "gradients-kept": "gradients",
    "norm-repeats": "norm",
    "clip-each": "clipped",
    "segments-dropped": "embeddings",
    "decay-all": "first step, steep",
    "float16-weights": "parameters",
    "loss-sum": "loss",
}
"""Mistakes by name, and the lowest rung that each fails on the default pack."""


TOLD = [OTHERS[n] for n in np.random.default_rng(15).permutation(len(OTHERS))[:6]]
"""A sample of mistakes planted in JAX and Keras."""


def command(*arguments: str | Path) -> int:
    """The exit code of `benchmarks.port`."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def pack(default_pack: Pack) -> Path:
    return default_pack.folder


def recorded(port: str, pack: Path, folder: Path, mistake: Mistake | None = None) -> Path:
    """The port's recording, made in its own environment."""
    return run_port(str(find_python(PORTS[port][0], {})), port, pack, folder, mistake)


def rungs(recording: Path) -> list[dict[str, Any]]:
    """The rungs of check.json, from the ground up."""
    found: list[dict[str, Any]] = json.loads((recording / "check.json").read_text(encoding="utf-8"))["rungs"]
    return found


@pytest.mark.parametrize("port", PORTS)
def test_every_rung_of_a_sound_port_is_seen_and_holds(pack: Path, tmp_path: Path, port: str) -> None:
    recording = recorded(port, pack, tmp_path)
    assert command("check", recording, "--pack", pack, "--require", *RUNG) == 0
    assert {found["rung"]: found["state"] for found in rungs(recording)} == dict.fromkeys(RUNG, "holds")
    assert not json.loads((recording / "check.json").read_text(encoding="utf-8"))["diagnosis"].get("causes")


@pytest.mark.parametrize("name", CHECKED)
def test_a_planted_mistake_is_named_at_its_rung(pack: Path, tmp_path: Path, name: str) -> None:
    (mistake,) = (mistake for mistake in MISTAKES if mistake.name == name)
    recording = recorded(mistake.port, pack, tmp_path, mistake)
    assert command("check", recording, "--pack", pack) == 1
    failed = next(found for found in rungs(recording) if found["state"] != "holds")
    assert (failed["rung"], failed["state"] in ("wrong", "parts")) == (CHECKED[name], True)
    found = json.loads((recording / "check.json").read_text(encoding="utf-8"))["diagnosis"]["causes"]
    assert found[0]["rungs"][0] == CHECKED[name]
    assert found
    assert all([mistake.told] in cause["ids"] for cause in found)


@pytest.mark.parametrize("mistake", TOLD, ids=[f"{mistake.port}-{mistake.name}" for mistake in TOLD])
def test_a_mistake_in_another_framework_is_named(pack: Path, tmp_path: Path, mistake: Mistake) -> None:
    recording = recorded(mistake.port, pack, tmp_path, mistake)
    assert command("check", recording, "--pack", pack) == 1
    found = json.loads((recording / "check.json").read_text(encoding="utf-8"))["diagnosis"]["causes"]
    assert found
    assert all([mistake.told] in cause["ids"] for cause in found)
