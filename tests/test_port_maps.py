"""Maps by hand: those that are shipped, on recordings under other frameworks' names, and faults in a map.toml."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.port.map_file import read_map, shipped_maps
from benchmarks.port.mapping import find_names
from benchmarks.port.recording import Recording
from shared.errors import InputError
from shared.pack import Arrays, Pack, write_part
from tests.port_layouts import TABLES, as_framework
from tests.recordings import change_all, float32, run_port

LAYERS, HEADS, WIDTH = 2, 4, 64


@pytest.fixture
def pack(default_pack: Pack) -> Pack:
    return default_pack


def recorded(pack: Pack, folder: Path, arrays: Arrays, part: str = "parameters", step: str = "0") -> Recording:
    """A recording of these parameters of run `train` alone."""
    write_part(folder, "train", step, part, arrays)
    return Recording.read(folder, pack)


def framework(pack: Pack, name: str) -> Arrays:
    return as_framework(TABLES[name], pack.weights, LAYERS, HEADS)


def assert_whole(pack: Pack, recording: Recording, given: str | Path) -> None:
    """Asserts that the map gives each of the pack's parameters, bit by bit."""
    names = find_names(pack, recording, Path(given))
    assert names.unmatched == []
    mapped = names.apply(recording.arrays("train", "0", "parameters"))
    assert len(mapped) == len(pack.weights) == 41
    for name, array in pack.weights.items():
        assert mapped[name].shape == array.shape, name
        assert np.array_equal(mapped[name], array), name


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("google", "", ""),
        ("google", "$", ":0"),
        ("keras-hub", "", ""),
        ("keras-hub", "^", "bert_text_classifier_1/bert_backbone/"),
        ("flax", "", ""),
        ("flax", "^", "params/"),
        ("flax", "/", "."),
        ("paddlenlp", "", ""),
        ("paddlenlp", r"\.", "/"),
        ("gluonnlp", "", ""),
        ("gluonnlp", r"classifier\.1", "classifier.0"),
    ],
)
def test_a_shipped_map_gives_every_parameter(pack: Pack, tmp_path: Path, name: str, before: str, after: str) -> None:
    spelled = {re.sub(before, after, theirs): array for theirs, array in framework(pack, name).items()}
    assert_whole(pack, recorded(pack, tmp_path, spelled), name)


def test_every_shipped_map_is_tested_and_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert shipped_maps() == sorted(TABLES)
    assert run_port("check", "--help") == 0
    assert ", ".join(shipped_maps()).replace(" ", "") in "".join(capsys.readouterr().out.split())


def test_a_check_with_a_shipped_map_holds(pack: Pack, tmp_path: Path) -> None:
    """Gradients and updated parameters too."""
    recording = float32(pack, tmp_path)
    for part in ("parameters", "gradients", "clipped"):
        change_all(recording, part, lambda arrays: as_framework(TABLES["keras-hub"], arrays, LAYERS, HEADS))
    assert run_port("check", recording, "--pack", pack.folder, "--map", "keras-hub") == 0
    written = (recording / "map.toml").read_text()
    assert '[parameters."bert.encoder.layer.1.attention.output.dense.weight"]' in written
    assert_whole(pack, Recording.read(recording, pack), recording / "map.toml")


def test_a_file_comes_before_the_shipped_map_of_its_name(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("google").write_text("[[rules]]\npack = '(.*)'\nfrom = 'mine/\\1'\n")
    own = {f"mine/{name}": array for name, array in pack.weights.items()}
    assert_whole(pack, recorded(pack, tmp_path / "recording", own), "google")


def test_an_unknown_name_is_refused_before_anything_runs(
    pack: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = tmp_path / "started"
    command = ("run", "--pack", pack.folder, "--out", tmp_path / "out", "--map", "gogle", "--", "touch", started)
    assert run_port(*command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("--map gogle: there is no such file; shipped are flax, gluonnlp, google, keras-hub, paddlenlp")
    assert not started.exists()


def test_what_was_not_recorded_is_said_by_name(pack: Pack, tmp_path: Path) -> None:
    arrays = framework(pack, "google")
    del arrays["bert/pooler/dense/kernel"]
    names = find_names(pack, recorded(pack, tmp_path, arrays), Path("google"))
    assert names.unmatched == ["bert/pooler/dense/kernel, the map's bert.pooler.dense.weight, was not recorded"]
    assert len(names.map.entries) == 40


def test_gradients_alone_have_the_ports_names(pack: Pack, tmp_path: Path) -> None:
    recording = recorded(pack, tmp_path, framework(pack, "flax"), "gradients", "1")
    assert len(find_names(pack, recording, Path("flax")).map.entries) == 41


def test_nothing_is_missing_if_no_parameters_were_recorded(pack: Pack, tmp_path: Path) -> None:
    recording = recorded(pack, tmp_path, {"value": np.array(1, np.float32)}, "loss", "1")
    names = find_names(pack, recording, Path("flax"))
    assert names.unmatched == []
    assert names.map.entries == {}


def test_a_name_that_may_be_two_is_refused(pack: Pack, tmp_path: Path) -> None:
    arrays = framework(pack, "flax")
    twice = {f"params/{name}": array for name, array in arrays.items()} | {
        f"moments/{name}": array for name, array in arrays.items()
    }
    word = "bert/embeddings/word_embeddings/embedding"
    with pytest.raises(InputError, match=f"is either params/{word} or moments/{word}; record one of them"):
        find_names(pack, recorded(pack, tmp_path, twice), Path("flax"))


def test_names_of_another_framework_are_refused(pack: Pack, tmp_path: Path) -> None:
    recording = recorded(pack, tmp_path, framework(pack, "google"))
    with pytest.raises(InputError, match=r"--map gluonnlp finds none of its names: .+; recorded are bert/emb"):
        find_names(pack, recording, Path("gluonnlp"))


# A map.toml of one's own.

REST = "[[rules]]\npack = '(.*)'\nfrom = '\\1'\n"
"""A rule for all that no entry before has taken."""


def test_fused_heads_are_taken_apart_by_words(pack: Pack, tmp_path: Path) -> None:
    """Query, key and value in one [in, heads, 3, head], as [in, 3 * width]."""
    weights = dict(pack.weights)
    rules = ""
    for n in range(LAYERS):
        parts = [
            weights.pop(f"bert.encoder.layer.{n}.attention.self.{one}.weight") for one in ("query", "key", "value")
        ]
        split = [part.T.reshape(WIDTH, HEADS, 1, -1) for part in parts]
        weights[f"layer_{n}/qkv"] = np.concatenate(split, 2).reshape(WIDTH, 3 * WIDTH)
    for index, one in enumerate(("query", "key", "value")):
        rules += (
            f"[[rules]]\npack = 'bert\\.encoder\\.layer\\.(\\d+)\\.attention\\.self\\.{one}\\.weight'\n"
            f"from = 'layer_\\1/qkv'\nsplit = ['width', 'heads', 3, 'head']\ntake = [2, {index}]\n"
            "transpose = [1, 2, 0]\n"
        )
    (tmp_path / "map.toml").write_text(rules + REST)
    assert_whole(pack, recorded(pack, tmp_path / "recording", weights), tmp_path / "map.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules = 3", "is wrong (Expected `array`, got `int` - at `$.rules`); see docs/port.md"),
        ("[[rules]", "is no TOML"),
        ("[[rules]]\nfrom = 'x'", "is wrong (Object missing required field `pack` - at `$.rules[0]`)"),
        ("[[rules]]\npack = 'x'", "is wrong (Object missing required field `from` - at `$.rules[0]`)"),
        ("[[rules]]\npack = 'x('\nfrom = 'x'", "the rule of 'x(' is wrong (missing ), unterminated subpattern"),
        ("[[rules]]\npack = '.*'\nfrom = '\\1'", "the rule of '.*' is wrong (invalid group reference 1"),
        (f"{REST}transposed = [1, 0]", "Object contains unknown field `transposed` - at `$.rules[0]`"),
        (f"{REST}split = ['depth', 3]", "Invalid enum value 'depth' - at `$.rules[0].split[0]`"),
        (f"{REST}take = [0]", "Expected `array` of length 2, got 1 - at `$.rules[0].take`"),
        (f"{REST}transpose = '10'", "Expected `array | null`, got `str` - at `$.rules[0].transpose`"),
        ("[parameters.x]\nfrom = 'x'", "x is no parameter of the pack; see its wanted.json"),
        (
            "[parameters.'classifier.bias']\nfrom = 'classifier.bias'",
            "has no entry for bert.embeddings.word_embeddings.weight and 39 more; a map needs one for every parameter",
        ),
    ],
)
def test_a_fault_in_a_map_is_refused_in_one_line(pack: Pack, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "map.toml"
    file.write_text(text)
    with pytest.raises(InputError) as refused:
        read_map(file, pack, pack.weights)
    assert str(refused.value).startswith(f"--map {file}")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("layout", ["split = [7, 9]", "take = [5, 0]", "transpose = [1, 1]", "transpose = [0, 1, 2]"])
def test_a_layout_that_does_not_fit_is_refused(pack: Pack, tmp_path: Path, layout: str) -> None:
    file = tmp_path / "map.toml"
    file.write_text(f"[parameters.'classifier.weight']\nfrom = 'classifier.weight'\n{layout}\n{REST}")
    recording = recorded(pack, tmp_path / "recording", pack.weights)
    with pytest.raises(InputError, match=r"classifier\.weight, has shape \[3, 64\], which the map's entry does not"):
        find_names(pack, recording, file).apply(pack.weights)
