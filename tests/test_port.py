"""`benchmarks.port` on the default pack, with real reference processes: verdicts, exit codes, refusals."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks.port.pack import generated, make_pack
from benchmarks.port.reference import Reference
from shared.checkpoint.sources import resolve_model
from shared.checkpoint.weights import WEIGHTS
from shared.errors import InputError
from shared.pack import Arrays, Pack, part_file, write_part
from tests.recordings import as_a_port_names, change, change_all, copy_of, float32, run_port


@pytest.fixture
def folder(default_pack: Pack) -> Path:
    """The default pack."""
    return default_pack.folder


@pytest.fixture(scope="module")
def sound(default_pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording as a sound port would make it."""
    return float32(default_pack, tmp_path_factory.mktemp("sound"))


@pytest.fixture
def recording(sound: Path, tmp_path: Path) -> Path:
    """A sound recording, to change."""
    return copy_of(sound, tmp_path / "recording")


def states(recording: Path) -> dict[str, str]:
    """The verdict of each rung, by check.json."""
    found: dict[str, Any] = json.loads((recording / "check.json").read_text())
    return {rung["rung"]: rung["state"] for rung in found["rungs"]}


def only_wrong(recording: Path) -> list[str]:
    return [rung for rung, state in states(recording).items() if state in ("wrong", "parts")]


def check(recording: Path, folder: Path, *options: str | Path) -> int:
    return run_port("check", recording, "--pack", folder, *options)


def test_a_pack_is_small_and_made_the_same_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_port("pack", "--out", tmp_path / "again") == 0
    assert Pack.read(tmp_path / "again").contents.id == Pack.read(folder).contents.id
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 5e6
    printed = capsys.readouterr().out
    table = printed[printed.index("Known mistakes") : printed.index("\n- ")].splitlines()
    assert any(line.split()[:3] == ["gelu-tanh", "layers", "70.2×"] for line in table)
    assert max(map(len, table)) <= 80
    assert "this pack cannot show: clip-always" in printed
    assert "make a pack with a clip above the gradients' norm (--clip)" in printed
    assert "record `norm`, which alone tells norm-after from no mistake" in printed


def test_a_pack_needs_nothing_but_numpy_and_json(folder: Path) -> None:
    contents = json.loads((folder / "pack.json").read_text())
    assert [run["name"] for run in contents["runs"]] == ["eval", "dropout", "train", "dev", "steep"]
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        assert weights["classifier.weight"].shape == (3, 64)
    rates = [step["learning_rate"] for step in contents["runs"][2]["steps"]]
    assert rates[0] == 0
    assert rates[2] == max(rates)
    steep = contents["runs"][4]
    assert len({step["learning_rate"] for step in steep["steps"]}) == 6
    assert f"{steep['settings']['clip']:.2g}" == str(steep["settings"]["clip"])


def test_gradients_alone_may_be_wrong_by_the_network(recording: Path, folder: Path) -> None:
    for file in recording.glob("*/*/*.npz"):
        if (file.parts[-3], file.stem) not in (("train", "gradients"), ("eval", "parameters")):
            file.unlink()
    change_all(
        recording,
        "gradients",
        lambda arrays: {name: array * (1 + 1e-3 * (array > 0)) for name, array in arrays.items()},
    )
    assert check(recording, folder) == 1
    assert {rung: state for rung, state in states(recording).items() if state != "not seen"} == {
        "parameters": "holds",
        "gradients": "parts",
    }


def test_a_sound_port_holds_under_its_own_names(recording: Path, folder: Path) -> None:
    as_a_port_names(Pack.read(folder), recording)
    assert check(recording, folder) == 0
    found = states(recording)
    assert {rung for rung, state in found.items() if state != "holds"} == {"batches", "dropout"}
    assert json.loads((recording / "check.json").read_text())["mapped"] == 41
    for file in ("check.md", "check.png", "map.toml"):
        assert (recording / file).is_file()


def test_the_map_that_was_written_can_be_given(recording: Path, folder: Path) -> None:
    as_a_port_names(Pack.read(folder), recording)
    assert check(recording, folder) == 0
    assert check(recording, folder, "--map", recording / "map.toml") == 0
    assert only_wrong(recording) == []


def scaled(by: float) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {name: array * np.float32(by) for name, array in arrays.items()}


def of_layer(arrays: Arrays) -> Arrays:
    return arrays | {"layers/0": arrays["layers/0"] + np.float32(0.001)}


@pytest.mark.parametrize(
    ("part", "how", "wrong"),
    [
        # What is wrong with one value shows there, and in what should follow from it.
        ("gradients", scaled(1.001), {"gradients", "norm", "clipped", "norm, steep", "clipped, steep"}),
        ("norm", scaled(1.001), {"norm", "norm, steep"}),
        ("clipped", scaled(1.01), {"clipped", "clipped, steep"}),
        ("hidden", of_layer, {"layers"}),
        ("loss", scaled(1.001), {"loss", "losses", "losses, steep"}),
    ],
)
def test_a_value_that_is_off_is_found_where_it_is(
    recording: Path, folder: Path, part: str, how: Callable[[Arrays], Arrays], wrong: set[str]
) -> None:
    change_all(recording, part, how)
    assert check(recording, folder) == 1
    found = set(only_wrong(recording))
    assert found
    assert found <= wrong | {"first step, steep", "last step, steep", "pooled"}
    assert min(wrong, key=list(states(recording)).index) in found


def test_what_was_not_recorded_is_not_a_pass(recording: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in recording.glob("*/*/clipped.npz"):
        file.unlink()
    assert check(recording, folder) == 0
    assert states(recording)["clipped"] == "not seen"
    assert check(recording, folder, "--require", "clipped") == 1
    assert "Required and not seen: clipped." in capsys.readouterr().out


def test_a_part_of_a_rungs_arrays_is_no_pass(recording: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_all(recording, "gradients", lambda arrays: {k: v for k, v in arrays.items() if "layer.0" in k})
    assert check(recording, folder) == 0
    assert "Seen in part: gradients (16 of 41 arrays seen)." in capsys.readouterr().out
    assert check(recording, folder, "--require", "gradients") == 1


def test_a_fault_lies_between_the_two_seen_rungs(
    recording: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only logits and losses were recorded, and the logits are off."""
    for file in recording.glob("*/*/*.npz"):
        if file.stem not in ("logits", "loss"):
            file.unlink()
    change(recording, "eval", "1", "logits", scaled(1.01))
    assert check(recording, folder) == 1
    assert states(recording)["logits"] == "parts"
    assert "'logits' parts" in capsys.readouterr().out


def no_bytes(recording: Path) -> None:
    file = part_file(recording, "eval", "1", "hidden")
    file.write_bytes(file.read_bytes()[:200])


def other_pack(recording: Path) -> None:
    (recording / "recording.json").write_text(json.dumps({"format": 1, "pack": "0" * 16, "recorder": "1.0.0"}))


def newer(recording: Path) -> None:
    (recording / "recording.json").write_text(json.dumps({"format": 9, "pack": "0" * 16, "recorder": "9.0.0"}))


def emptied(recording: Path) -> None:
    for file in recording.glob("*/*/*.npz"):
        file.unlink()


def other_shape(recording: Path) -> None:
    change(recording, "eval", "1", "logits", lambda arrays: {"value": arrays["value"][:2]})


def too_large(recording: Path) -> None:
    write_part(recording, "train", "0", "parameters", {"x": np.zeros((2000, 1000), np.float32)})


def foreign_run(recording: Path) -> None:
    (recording / "warmup" / "1").mkdir(parents=True)


def leading_out(recording: Path) -> None:
    write_part(recording, "train", "1", "gradients", {"../../x": np.zeros(3, np.float32)})


def linked(recording: Path) -> None:
    target = recording / "eval" / "1" / "loss.npz"
    target.unlink()
    target.symlink_to(Path(__file__))


def words(recording: Path) -> None:
    np.savez(part_file(recording, "eval", "1", "logits"), value=np.full((8, 3), "a"))


def objects(recording: Path) -> None:
    np.savez(part_file(recording, "eval", "1", "logits"), value=np.full((8, 3), {}, dtype=object))


def nothing(recording: Path) -> None:
    write_part(recording, "eval", "1", "loss", {})


def strangers(recording: Path) -> None:
    noise = np.random.RandomState(0)
    for file in recording.glob("*/0/parameters.npz"):
        write_part(
            recording, file.parts[-3], "0", "parameters", {"w": noise.standard_normal((7, 5)).astype(np.float32)}
        )


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (no_bytes, "hidden.npz cannot be read"),
        (other_pack, "is a recording of pack 0000000000000000"),
        (newer, "is of format 9, by recorder 9.0.0"),
        (emptied, "is an empty recording"),
        (other_shape, "value has shape [2, 3], and [8, 3] is wanted"),
        (too_large, "has 2000000 entries"),
        (foreign_run, "has a run 'warmup'"),
        (leading_out, "leads out of the recording"),
        (linked, "leads out of the recording"),
        (words, "value is of type <U1; record numbers"),
        (objects, "logits.npz cannot be read"),
        (nothing, "loss.npz holds 0 arrays; record one"),
        (strangers, "no parameter has the values of one of the pack's"),
    ],
)
def test_a_faulty_recording_is_refused_in_one_line(
    recording: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    fault: Callable[[Path], None],
    message: str,
) -> None:
    fault(recording)
    assert check(recording, folder) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("benchmarks.port: error: ")
    assert message in line
    assert not (recording / "check.json").exists()


def test_names_of_a_port_are_no_markup(recording: Path, folder: Path) -> None:
    """Not in the page, which may go into an issue tracker."""
    name = "<img src=x onerror=alert(1)>|\n# heading `x`"
    stranger = np.random.RandomState(0).standard_normal((7, 5)).astype(np.float32)
    change(recording, "eval", "0", "parameters", lambda arrays: arrays | {name: stranger})
    assert check(recording, folder) == 0
    page = (recording / "check.md").read_text()
    assert "?img src?x onerror?alert(1)???? heading ?x? is no parameter of the pack" in page
    assert str(recording.parent) not in page
    assert str(folder) not in page


def test_a_damaged_map_is_refused(recording: Path, folder: Path, capsys: Any) -> None:
    (recording / "map.json").write_text(json.dumps({"format": 1, "entries": 3, "ambiguous": [], "unmatched": []}))
    assert check(recording, folder) == 2
    assert "its map is damaged" in capsys.readouterr().err


def test_nan_is_named_with_its_first_place(recording: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def with_nan(arrays: Arrays) -> Arrays:
        array = arrays["layers/1"].copy()
        array[0, 3, 5] = np.nan
        return arrays | {"layers/1": array}

    change(recording, "eval", "1", "hidden", with_nan)
    assert check(recording, folder) == 1
    assert "NaN in layers/1 at [0, 3, 5]" in capsys.readouterr().out


def test_files_by_hand_are_read_too(recording: Path, folder: Path) -> None:
    """One .npy an array, in folders, without recording.json."""
    for file in sorted(recording.glob("*/*/*.npz")):
        with np.load(file) as arrays:
            for name in arrays.files:
                target = file.with_suffix("") / f"{name}.npy" if name != "value" else file.with_suffix(".npy")
                target.parent.mkdir(parents=True, exist_ok=True)
                np.save(target, arrays[name])
        file.unlink()
    assert check(recording, folder) == 0
    assert states(recording)["last step, steep"] == "holds"


def test_a_changed_pack_is_refused(folder: Path, recording: Path, tmp_path: Path, capsys: Any) -> None:
    changed = copy_of(folder, tmp_path / "changed")
    (changed / "config.json").write_text((changed / "config.json").read_text().replace("gelu", "relu"))
    assert check(recording, changed) == 2
    assert "was changed since it was made" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../../outside", "/outside", "batches/../../outside", ".", ""])
def test_a_pack_names_no_file_outside(folder: Path, tmp_path: Path, name: str) -> None:
    """Runs, steps and parts are names of folders and files in a recording."""
    changed = copy_of(folder, tmp_path / "changed")
    contents, wanted = (json.loads((folder / file).read_text()) for file in ("pack.json", "wanted.json"))
    run = contents["runs"][0]
    spoilt = [
        contents | {"runs": [run | {"name": name}]},
        contents | {"runs": [run | {"steps": [run["steps"][0] | {"batch": name}]}]},
    ]
    for one in spoilt:
        (changed / "pack.json").write_text(json.dumps(one))
        with pytest.raises(InputError, match=f"^{changed} is a damaged pack "):
            Pack.read(changed)
    (changed / "pack.json").write_text(json.dumps(contents))
    (changed / "wanted.json").write_text(json.dumps(wanted | {"runs": {"eval": {"0": {name: {}}}}}))
    with pytest.raises(InputError, match=f"^{changed} is a damaged pack "):
        Pack.read(changed)


def test_run_hands_over_the_folders_and_checks(folder: Path, tmp_path: Path, sound: Path) -> None:
    script = (
        "import os, shutil; assert os.path.isfile(os.environ['CONCORD_PACK'] + '/pack.json');"
        f"shutil.copytree({str(sound)!r}, os.environ['CONCORD_RECORDING'])"
    )
    out = tmp_path / "recording"
    assert run_port("run", "--pack", folder, "--out", out, "--", sys.executable, "-c", script) == 0
    assert only_wrong(out) == []


def test_a_command_that_fails_is_not_checked(folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "recording"
    assert run_port("run", "--pack", folder, "--out", out, "--", sys.executable, "-c", "raise SystemExit(3)") == 1
    assert "ended with exit code 3; nothing is checked" in capsys.readouterr().err
    assert run_port("run", "--pack", folder, "--out", out, "--", "no-such-command") == 2
    assert run_port("run", "--pack", folder, "--out", out) == 2


SMALL = {
    "vocab_size": 1000,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "id2label": {"0": "a", "1": "b", "2": "c"},
    "label2id": {"a": 0, "b": 1, "c": 2},
}


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "roberta", "pad_token_id": 1, "type_vocab_size": 1},
        {"model_type": "albert", "embedding_size": 16, "pad_token_id": 0},
        {"model_type": "electra", "embedding_size": 16, "pad_token_id": 0},
        {"model_type": "mpnet", "pad_token_id": 1},
        {"model_type": "deberta-v2", "pad_token_id": 0, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        {"model_type": "modernbert", "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2},
    ],
    ids=lambda config: str(config["model_type"]),
)
def test_any_classifier_of_transformers_can_be_packed(config: dict[str, Any], tmp_path: Path) -> None:
    """Its states are found in its module tree, and its own float32 holds."""
    reference = Reference.find({}, 1)
    with generated(SMALL | config) as source:
        pack = make_pack(source, tmp_path / "pack", reference)
    assert list(pack.wanted.runs["eval"]["1"]["hidden"]) == ["embeddings", "layers/0", "layers/1", "pooled"]
    recording = float32(pack, tmp_path)
    assert check(recording, pack.folder) == 0
    assert {rung for rung, state in states(recording).items() if state == "not seen"} == {"batches", "dropout"}


def test_a_checkpoint_is_packed_with_its_own_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_port("pack", "--model", "random:bert-tiny", "--out", tmp_path / "pack") == 0
    assert "random:bert-tiny with generated ids" in capsys.readouterr().out
    packed, stored = Pack.read(tmp_path / "pack").weights, load_file(resolve_model("random:bert-tiny") / WEIGHTS)
    assert len(packed) == len(stored) + 2
    for name, array in stored.items():
        found = packed[name] if name in packed else packed[f"bert.{name}"]
        assert (found == array).all()


def test_the_recipes_optimizer_is_the_packs(tmp_path: Path) -> None:
    options = ["--optimizer", "adam", "--eps-place", "before", "--clip", "none", "--decay-exempt", "bias"]
    assert run_port("pack", *options, "--out", tmp_path / "pack") == 0
    pack = Pack.read(tmp_path / "pack")
    train, steep = (pack.run(name).settings for name in ("train", "steep"))
    assert (train.optimizer, train.eps_place, train.clip) == ("adam", "before", None)
    assert (steep.optimizer, steep.decay) == ("adam", 0.1)
    assert any("LayerNorm.weight" in name for name in train.decayed)
    assert check(float32(pack, tmp_path), pack.folder) == 0


def test_a_task_is_packed_with_its_first_batches(tmp_path: Path) -> None:
    options = ["--task", "paraphrase", "--model", "random:bert-tiny", "--steps", "3", "--batch-size", "4"]
    assert run_port("pack", *options, "--max-len", "24", "--out", tmp_path / "pack") == 0
    pack = Pack.read(tmp_path / "pack")
    assert [len(run.steps) for run in pack.contents.runs] == [1, 1, 3, 2, 3]
    assert pack.batch(pack.run("train").steps[2])["input_ids"].shape == (4, 24)
    assert (pack.folder / "vocab.txt").is_file()
    assert check(float32(pack, tmp_path), pack.folder) == 0


def test_a_network_that_transformers_does_not_know_is_refused(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL | {"model_type": "perceptron"}))
    assert run_port("pack", "--config", tmp_path / "config.json", "--out", tmp_path / "pack") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "transformers builds no classifier of" in line
    assert not (tmp_path / "pack").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pack", "--task", "mrpc"], "--task needs --model"),
        (["pack", "--model", "minilm", "--config", "c.json"], "--config is for random weights"),
        (["pack", "--max-len", "16", "32"], "a pack has one recipe"),
        (["pack", "--max-len", "16"], "--max-len is for a task's rows"),
        (["pack", "--steps", "3"], "--steps is for a task's rows"),
        (["check", "nowhere"], "nowhere is no folder"),
        (["check", "nowhere", "--pack", "nothing"], "nothing is no pack"),
        (["check", "nowhere", "--require", "summit"], "--require 'summit': the rungs are parameters"),
        (["check", "nowhere", "--map", "none.toml"], "is no folder"),
    ],
)
def test_bad_options_are_refused(folder: Path, capsys: Any, arguments: list[str], message: str) -> None:
    if arguments[0] == "check" and "--pack" not in arguments:
        arguments = [*arguments, "--pack", str(folder)]
    assert run_port(*arguments) == 2
    assert message in capsys.readouterr().err
