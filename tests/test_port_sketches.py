"""Large packs: parameters and gradients are sketches, and whole arrays come in a second pass."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from benchmarks.port.pack import LARGE, generated, make_pack
from benchmarks.port.reference import Reference
from benchmarks.port.whole import one_of_each_kind
from benchmarks.workers.environments import find_python
from recorder.concord_recorder import BLOCKS, SKETCH, sketch
from shared.pack import Arrays, Pack, write_part
from tests.ports import ROOT, Mistake, written_port
from tests.recordings import change, change_all, copy_of, float32, run_port


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """The default pack, as if it were large."""
    with generated() as source:
        return make_pack(
            replace(source, sketches=True), tmp_path_factory.mktemp("port") / "pack", Reference.find({}, 1)
        )


@pytest.fixture(scope="module")
def sound(pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference's own float32."""
    return float32(pack, tmp_path_factory.mktemp("sound"))


def states(recording: Path) -> dict[str, str]:
    found = json.loads((recording / "check.json").read_text())
    return {rung["rung"]: rung["state"] for rung in found["rungs"]}


def told(recording: Path) -> list[list[list[str]]]:
    """Ids of each cause."""
    found = json.loads((recording / "check.json").read_text())
    return [cause["ids"] for cause in found["diagnosis"]["causes"]]


def test_a_sketch_keeps_what_a_comparison_needs() -> None:
    random = np.random.RandomState(3)
    one, other = random.standard_normal((300, 70)), random.standard_normal((300, 70))
    sums = np.array([sketch(one, f"name {n}")[:BLOCKS] for n in range(400)])
    assert np.square(sums).sum(1).mean() == pytest.approx(np.square(one).sum(), rel=0.05)
    assert sketch(one, "w")[BLOCKS:] == pytest.approx([np.linalg.norm(one), np.abs(one).max()], rel=1e-12)
    apart = sketch(one, "w")[:BLOCKS] - sketch(other, "w")[:BLOCKS]
    np.testing.assert_allclose(apart, sketch(one - other, "w")[:BLOCKS], atol=1e-9)
    assert (sketch(one, "w") == sketch(np.asfortranarray(one), "w")).all()


def test_a_sketch_of_few_entries_is_whole_enough() -> None:
    for size in (0, 1, 3, 63, 65):
        found = sketch(np.arange(size, dtype=np.float32) + 1, "b")
        assert found[BLOCKS] == pytest.approx(np.linalg.norm(np.arange(size) + 1.0))
        assert np.square(found[:BLOCKS]).sum() > 0 or size == 0


def test_only_a_large_pack_wants_sketches(default_pack: Pack, pack: Pack) -> None:
    assert not default_pack.wanted.sketches
    assert pack.wanted.sketches
    assert pack.contents.id != default_pack.contents.id
    with generated() as source, mock.patch("benchmarks.port.pack.LARGE", 1_000_000):
        made = make_pack(source, pack.folder.parent / "large", Reference.find({}, 1))
    assert made.wanted.sketches
    assert LARGE == 2**30


def test_sound_sketches_hold(pack: Pack, sound: Path, tmp_path: Path) -> None:
    recording = copy_of(sound, tmp_path / "recording")
    assert run_port("check", recording, "--pack", pack.folder) == 0
    assert {rung for rung, state in states(recording).items() if state != "holds"} == {"batches", "dropout"}


def of_query(by: float) -> Callable[[Arrays], Arrays]:
    name = f"{SKETCH}bert.encoder.layer.1.attention.self.query.weight"
    return lambda arrays: arrays | {name: arrays[name] * by}


@pytest.mark.parametrize(
    ("part", "lowest", "state"),
    [("gradients", "gradients", "wrong"), ("clipped", "clipped", "wrong"), ("parameters", "parameters", "parts")],
)
def test_a_sketch_that_is_off_is_found(
    pack: Pack, sound: Path, tmp_path: Path, part: str, lowest: str, state: str
) -> None:
    recording = copy_of(sound, tmp_path / "recording")
    change_all(recording, part, of_query(1.001))
    assert run_port("check", recording, "--pack", pack.folder) == 1
    found = states(recording)
    assert next((rung, how) for rung, how in found.items() if how not in ("holds", "not seen")) == (lowest, state)


@pytest.mark.parametrize("name", [f"{SKETCH}nothing", f"{SKETCH}classifier.weight"])
def test_what_is_no_sketch_is_refused(
    pack: Pack, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    recording = copy_of(sound, tmp_path / "recording")
    change(recording, "train", "1", "gradients", lambda arrays: arrays | {name: np.zeros(7)})
    assert run_port("check", recording, "--pack", pack.folder) == 2
    assert f"{name} is no sketch of a parameter" in capsys.readouterr().err


def test_whole_arrays_are_sketched_by_the_checker(pack: Pack, default_pack: Pack, tmp_path: Path) -> None:
    """A program that cannot sketch writes whole arrays."""
    recording = float32(default_pack, tmp_path)
    assert run_port("check", recording, "--pack", pack.folder) == 0
    write_part(recording, "train", "1", "gradients", {"bert.pooler.dense.bias": np.ones(64, np.float32)})
    assert run_port("check", recording, "--pack", pack.folder) == 1


def test_a_second_pass_tells_the_optimizers_mistake(
    pack: Pack, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    decays_all = {"s.decay * (name in decayed)": "s.decay"}
    script = written_port("torch_plain", tmp_path, Mistake("torch_plain", "decay-all", "", decays_all))
    recording = tmp_path / "recording"
    with mock.patch.dict(os.environ, PYTHONPATH=str(ROOT / "recorder")):
        code = run_port(
            "run", "--pack", pack.folder, "--out", recording, "--", str(find_python("torch", {})), str(script)
        )
    assert code == 1
    assert "again, with bert." in capfd.readouterr().err
    found = states(recording)
    assert next(rung for rung, state in found.items() if state == "wrong") == "first step, steep"
    assert found["first step"] == "holds"
    assert told(recording) == [[["decay-all"]]]
    whole = json.loads((recording / "recording.json").read_text())["whole"]
    assert set(one_of_each_kind(pack.wanted.parts["parameters"])) <= set(whole)
    with np.load(recording / "steep" / "1" / "parameters.npz") as file:
        kept = [name for name in file.files if not name.startswith(SKETCH)]
        assert len(file.files) == len(pack.weights) + len(whole)
    assert sorted(kept) == sorted(name.removeprefix("bert.") for name in whole)


def test_a_cut_parameter_cannot_be_sketched(pack: Pack, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "cut.py"
    script.write_text(
        "from concord_recorder import Pack, Recorder\n"
        "run = next(iter(Pack().runs))\n"
        "name = 'bert.embeddings.word_embeddings.weight'\n"
        "weights = run.weights\n"
        "Recorder()(run, parameters=dict(weights, **{name: weights[name][:900]}))\n"
    )
    with mock.patch.dict(os.environ, PYTHONPATH=str(ROOT / "recorder")):
        assert run_port("run", "--pack", pack.folder, "--out", tmp_path / "r", "--", sys.executable, str(script)) == 1
    assert "word_embeddings.weight is cut; use a pack made with --sketches no" in capfd.readouterr().err
