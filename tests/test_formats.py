"""Conversion of checkpoints in other formats, as far as no framework is needed, and the folders that it makes.

tests/backends/test_formats.py reads each format in its own environment.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from backends.convert import main
from benchmarks.workers import conversion, environments
from benchmarks.workers.conversion import converter
from shared.checkpoint.config import read_architecture
from shared.checkpoint.foreign_names import from_flax, from_tf1, from_tf2, wrapper
from shared.checkpoint.saved import read_saved
from shared.checkpoint.sources import resolve_model
from shared.checkpoint.weights import check_weights, weight_files
from shared.errors import InputError
from shared.recipe import Recipe
from tests.checkpoints import BERT, FIXTURES, assert_same_tensors, tensors_of, write_checkpoint

RECIPE = Recipe(max_len=12)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONCORD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def copied(source: str, target: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / source, target / "copy"))


# --- whole conversions


@pytest.mark.parametrize("source", ["bert/flax", "distilbert/flax-shards", "distilbert/h5-shards"])
def test_a_folder_is_converted_once_and_kept(tmp_path: Path, cache: Path, source: str) -> None:
    folder = copied(source, tmp_path)
    converted = resolve_model(str(folder), converter({}))
    assert converted.parent == cache
    assert_same_tensors(tensors_of(converted), source.partition("/")[0])
    assert (converted / "vocab.txt").read_bytes() == (folder / "vocab.txt").read_bytes()
    assert resolve_model(str(folder), unwanted) == converted
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    with pytest.raises(AssertionError, match="converted again"):
        resolve_model(str(folder), unwanted)


def unwanted(source: Path, target: Path) -> None:
    raise AssertionError("converted again")


def test_a_classifier_of_google_keeps_its_head(tmp_path: Path, cache: Path) -> None:
    def convert(source: Path, target: Path) -> None:
        shutil.copy(FIXTURES / "bert" / "safetensors" / "model.safetensors", target)

    converted = resolve_model(str(FIXTURES / "bert" / "google-classifier"), convert)
    check_weights(converted, read_architecture(converted, RECIPE, 3), head=True)
    assert read_saved(converted).labels == ("LABEL_0", "LABEL_1", "LABEL_2")


def written(source: Path, target: Path) -> None:
    """Stands for a conversion."""
    save_file({"bert.pooler.dense.bias": np.zeros(8, np.float32)}, target / "model.safetensors")


@pytest.mark.parametrize(("pieces", "cased"), [(["the", "##s", "[CLS]"], False), (["the", "The", "##s"], True)])
def test_googles_vocabulary_says_if_the_model_is_cased(
    tmp_path: Path, cache: Path, pieces: list[str], cased: bool
) -> None:
    folder = copied("bert/google", tmp_path)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *pieces]))
    converted = resolve_model(str(folder), written)
    assert json.loads((converted / "tokenizer_config.json").read_text()) == {"do_lower_case": not cased}
    config = json.loads((converted / "config.json").read_text())
    assert config == {"model_type": "bert"} | json.loads((folder / "bert_config.json").read_text())


def test_googles_folder_keeps_a_config_of_its_own(tmp_path: Path, cache: Path) -> None:
    folder = copied("bert/google", tmp_path)
    (folder / "config.json").write_text(json.dumps(BERT))
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    converted = resolve_model(str(folder), written)
    assert json.loads((converted / "config.json").read_text()) == BERT
    assert json.loads((converted / "tokenizer_config.json").read_text()) == {"do_lower_case": False}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("bert/bin", "pytorch_model.bin, PyTorch's weights, which is converted in torch's environment; "),
        ("bert/h5", "tf_model.h5, TensorFlow's weights of transformers, which is converted in keras's environment; "),
        (
            "bert/google",
            "bert_model.ckpt.index, a TensorFlow 1 checkpoint, which is converted in keras's environment; ",
        ),
    ],
)
def test_an_environment_that_is_missing_is_named(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, source: str, told: str
) -> None:
    monkeypatch.setattr(environments, "CHECKOUT", tmp_path)
    backend = told.partition("converted in ")[2].partition("'")[0]
    with pytest.raises(InputError) as refusal:
        resolve_model(str(FIXTURES / source), converter({}))
    told += f"no environment for {backend}; make it with: tox run -e {backend}"
    assert str(refusal.value).endswith(f"{source} has only {told}")
    assert not list(cache.iterdir())


# --- names


@pytest.mark.parametrize(
    ("name", "wanted", "transposed"),
    [
        ("bert/encoder/layer_11/attention/self/key/kernel", "bert.encoder.layer.11.attention.self.key.weight", True),
        ("bert/encoder/layer_3/output/LayerNorm/gamma", "bert.encoder.layer.3.output.LayerNorm.weight", False),
        ("bert/embeddings/token_type_embeddings", "bert.embeddings.token_type_embeddings.weight", False),
        ("cls/predictions/output_bias", "cls.predictions.bias", False),
        ("cls/seq_relationship/output_weights", "cls.seq_relationship.weight", False),
        ("output_weights", "classifier.weight", False),
        ("output_bias", "classifier.bias", False),
    ],
)
def test_names_of_tensorflow_1(name: str, wanted: str, transposed: bool) -> None:
    assert from_tf1(name) == (wanted, transposed)


@pytest.mark.parametrize(
    "name",
    ["global_step", "bert/pooler/dense/kernel/adam_m", "AdamWeightDecayOptimizer_1/x", "beta1_power", "w/Adam_1"],
)
def test_the_optimizers_variables_are_left_out(name: str) -> None:
    assert from_tf1(name) is None


@pytest.mark.parametrize(
    ("name", "wanted", "transposed"),
    [
        (
            "tf_bert_model/bert/encoder/layer_._11/output/dense/kernel:0",
            "bert.encoder.layer.11.output.dense.weight",
            True,
        ),
        ("tf_bert_model/bert/embeddings/word_embeddings/weight:0", "bert.embeddings.word_embeddings.weight", False),
        ("m/bert/embeddings/position_embeddings/embeddings:0", "bert.embeddings.position_embeddings.weight", False),
        ("tf_bert_for_pre_training/mlm___cls/predictions/bias:0", "cls.predictions.bias", False),
        ("m/distilbert/transformer/layer_._1/ffn/lin1/bias:0", "distilbert.transformer.layer.1.ffn.lin1.bias", False),
    ],
)
def test_names_of_tensorflow_2(name: str, wanted: str, transposed: bool) -> None:
    assert from_tf2(name) == (wanted, transposed)


def test_names_of_flax() -> None:
    assert from_flax(["bert", "encoder", "layer", "11", "output", "LayerNorm", "scale"]) == (
        "bert.encoder.layer.11.output.LayerNorm.weight",
        False,
    )
    assert from_flax(["classifier", "kernel"]) == ("classifier.weight", True)


@pytest.mark.parametrize(
    ("before", "rest"),
    [
        ("", "bert."),
        ("", ""),
        ("", "distilbert."),
        ("module.", "bert."),
        ("model.", ""),
        ("module.model.", "distilbert."),
    ],
)
def test_the_names_of_classes_around_a_model_are_found(before: str, rest: str) -> None:
    assert wrapper(["x", f"{before}{rest}embeddings.word_embeddings.weight"]) == before


# --- broken files of Flax


def array(shape: Any = (2,), dtype: Any = "float32", content: Any = bytes(8), code: int = 1) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(code, msgspec.msgpack.encode((shape, dtype, content)))


def chunked(**fields: Any) -> dict[str, Any]:
    pieces = {"0": array(), "1": array()}
    return {"__msgpack_chunked_array__": True, "shape": {"0": 2, "1": 2}, "chunks": pieces} | fields


BAD_FLAX: dict[str, tuple[Any, str]] = {
    "a number": ({"a": {"b": 3}}, "a/b has a value of type int"),
    "a word": ({"a": "b"}, "a has a value of type str"),
    "a list": ([1, 2], "the file has a value of type list"),
    "a list of arrays": ({"a": [array()]}, "a has a value of type list"),
    "nothing": ({}, "has no parameters"),
    "a key that is a number": ({3: array()}, "the file has the key 3"),
    "another extension": ({"a": array(code=2)}, "a has something else than an array"),
    "an array of objects": ({"a": array(dtype="object")}, "a has an array of type 'object'"),
    "whole numbers": ({"a": array(dtype="int32")}, "a has an array of type 'int32'"),
    "a type that is a list": ({"a": array(dtype=["float32"])}, "a has an array of type ['float32']"),
    "too few bytes": ({"a": array(shape=(3,))}, "a has an array that is not whole for its shape [3]"),
    "a billion values": ({"a": array(shape=(10**9, 10**9))}, "that is not whole for its shape"),
    "a negative shape": ({"a": array(shape=(-1, -2))}, "a has the shape [-1, -2]"),
    "a shape of words": ({"a": array(shape="2")}, "a has the shape '2'"),
    "bytes that are words": ({"a": array(content="12345678")}, "a has an array that is not whole"),
    "an extension of nothing": ({"a": msgspec.msgpack.Ext(1, b"")}, "a has a broken array"),
    "an extension of a number": ({"a": msgspec.msgpack.Ext(1, b"\x03")}, "a has a broken array"),
    "a piece too few": (chunked(chunks={"0": array()}), "has 2 values for the shape [2, 2]"),
    "pieces without a shape": (chunked(shape=None), "has a cut array without its shape or pieces"),
    "pieces by other names": (chunked(chunks={"x": array()}), "has something else than an array"),
    "one parameter twice": ({"a": {"kernel": array((1, 2)), "weight": array((2, 1))}}, "gives a.weight twice"),
}


def refused(folder: Path, target: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Converts a folder that is refused and gives the one line. Nothing may be written."""
    target.mkdir()
    assert main([str(folder), str(target)]) == 2
    assert not list(target.iterdir())
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("case", BAD_FLAX)
def test_a_bad_msgpack_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    content, told = BAD_FLAX[case]
    (tmp_path / "flax_model.msgpack").write_bytes(msgspec.msgpack.encode(content))
    assert told in refused(tmp_path, tmp_path / "target", capsys)


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "half a file": (lambda content: content[: len(content) // 2], "is no msgpack of Flax (Input data was truncated)"),
    "more behind it": (lambda content: content + b"x", "is no msgpack of Flax (MessagePack data is malformed"),
    "a key that is no text": (lambda content: b"\x81\xa1\xff\x01", "is no msgpack of Flax ('utf-8' codec"),
    "a web page": (lambda content: b"<!doctype html>", "is no msgpack of Flax"),
    "empty": (lambda content: b"", "is empty; fetch it again"),
    "a bottomless map": (lambda content: b"\x81\xa1a" * 100_000, "is no msgpack of Flax"),
    "a pointer": (
        lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "is a pointer of Git LFS, not the weights; install git-lfs and run: git lfs pull",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_msgpack_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    damage, told = DAMAGE[case]
    file = copied("bert/flax", tmp_path) / "flax_model.msgpack"
    file.write_bytes(damage(file.read_bytes()))
    assert told in refused(file.parent, tmp_path / "target", capsys)


def test_pieces_of_a_large_array_are_joined(tmp_path: Path) -> None:
    pieces = {str(i): array(content=np.array([2 * i, 2 * i + 1], "<f4").tobytes()) for i in range(2)}
    content = {"params": {"a": {"kernel": chunked(chunks=pieces)}, "b": array((4,), "bfloat16", b"\x80\x3f" * 4)}}
    (tmp_path / "flax_model.msgpack").write_bytes(msgspec.msgpack.encode(content))
    assert main([str(tmp_path), str(tmp_path)]) == 0
    tensors = tensors_of(tmp_path)
    np.testing.assert_array_equal(tensors["a.weight"], np.array([[0, 2], [1, 3]], np.float32))
    np.testing.assert_array_equal(tensors["b"], np.ones(4, np.float32))


# --- shards and Google's files

BAD_INDEX: dict[str, tuple[Any, str]] = {
    "a missing shard": ({"weight_map": {"x": "model-00009.msgpack"}}, "named in .*, is missing; add it"),
    "a parent's file": (
        {"weight_map": {"x": "../model.msgpack"}},
        "'../model.msgpack', which is no file of its folder",
    ),
    "a folder's file": ({"weight_map": {"x": "a/model.msgpack"}}, "'a/model.msgpack', which is no file of its folder"),
    "a path": ({"weight_map": {"x": "/etc/passwd"}}, "'/etc/passwd', which is no file of its folder"),
    "the parent": ({"weight_map": {"x": ".."}}, "'..', which is no file of its folder"),
    "a path of Windows": ({"weight_map": {"x": "a\\b"}}, "which is no file of its folder"),
    "a null": ({"weight_map": {"x": "a\0b"}}, "which is no file of its folder"),
    "numbers": ({"weight_map": {"x": "flax_model.msgpack", "y": 3}}, "the shard 3, which is no file of its folder"),
    "a list": ({"weight_map": ["x"]}, "names no shards"),
    "no map": ({"metadata": {}}, "names no shards"),
    "an empty map": ({"weight_map": {}}, "names no shards"),
    "no object": ([], "holds no JSON object"),
}


@pytest.mark.parametrize("case", BAD_INDEX)
@pytest.mark.parametrize("source", ["flax-shards", "safetensors-shards"])
def test_a_bad_index_is_refused(tmp_path: Path, source: str, case: str) -> None:
    content, told = BAD_INDEX[case]
    folder = copied(f"distilbert/{source}", tmp_path)
    (tmp_path / "model.msgpack").write_bytes(b"\x80")
    (index,) = folder.glob("*.index.json")
    index.write_text(json.dumps(content))
    with pytest.raises(InputError, match=told) as refusal:
        weight_files(folder) if "safetensors" in source else resolve_model(str(folder), converter({}))
    assert "\n" not in str(refusal.value)


def test_a_pointer_in_place_of_safetensors_is_named(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", BERT)
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(InputError, match="is a pointer of Git LFS"):
        weight_files(folder)


BAD_GOOGLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no values": (
        lambda folder: next(folder.glob("*.data*")).unlink(),
        r"has 0 of its 1 files bert_model\.ckpt\.data-\*",
    ),
    "one of two": (
        lambda folder: next(folder.glob("*.data*")).rename(folder / "bert_model.ckpt.data-00000-of-00002"),
        r"has 1 of its 2 files",
    ),
    "two checkpoints": (
        lambda folder: shutil.copy(folder / "bert_model.ckpt.index", folder / "model.ckpt-3.index"),
        r"has several checkpoints \(bert_model\.ckpt\.index, model\.ckpt-3\.index\); leave one",
    ),
    "no config": (lambda folder: (folder / "bert_config.json").unlink(), "has no config.json and no bert_config.json"),
    "no vocabulary": (lambda folder: (folder / "vocab.txt").unlink(), "has no tokenizer.json and no vocab.txt"),
    "an empty index": (lambda folder: (folder / "bert_model.ckpt.index").write_text(""), "is empty; fetch it again"),
    "a broken config": (lambda folder: (folder / "bert_config.json").write_text("{"), "is not valid JSON"),
}


@pytest.mark.parametrize("case", BAD_GOOGLE)
def test_a_bad_folder_of_google_is_refused(tmp_path: Path, cache: Path, case: str) -> None:
    damage, told = BAD_GOOGLE[case]
    folder = copied("bert/google", tmp_path)
    damage(folder)
    with pytest.raises(InputError, match=told) as refusal:
        resolve_model(str(folder), written)
    assert "\n" not in str(refusal.value)
    assert not cache.is_dir() or not list(cache.iterdir())


def test_a_config_of_another_size_is_refused(tmp_path: Path, cache: Path) -> None:
    folder = copied("bert/flax", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 16}))
    converted = resolve_model(str(folder), converter({}))
    with pytest.raises(InputError, match=r"has shape \[60, 8\] where config\.json says \[60, 16\]"):
        check_weights(converted, read_architecture(converted, RECIPE, 3))


def test_a_reader_that_dies_is_told_by_its_last_line(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\necho 'a warning' >&2\necho 'no memory' >&2\nexit 1\n")
    interpreter.chmod(0o755)
    found = environments.Environment(interpreter, {}, {}, "3.11")
    monkeypatch.setattr(conversion, "find_environment", lambda backend, pythons: found)
    with pytest.raises(InputError, match=r"tf_model\.h5 could not be converted \(no memory\); fetch it again"):
        resolve_model(str(FIXTURES / "bert" / "h5"), converter({}))
