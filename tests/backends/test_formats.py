"""Checkpoints of other formats: each is read in its own environment, and gives transformers' logits on every backend.

The files and the logits are those of tests/fixtures/make.py. tests/test_formats.py has what needs no framework.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.convert import convert, main
from shared.batching import Batch
from shared.checkpoint.config import read_architecture
from shared.checkpoint.formats import FORMATS, find_format
from shared.checkpoint.weights import saved_weights
from shared.recipe import Recipe
from tests.backends.cases import LOGITS
from tests.backends.conftest import BuildModel, Measured
from tests.checkpoints import FIXTURES, assert_same_tensors, tensors_of

BACKEND = os.environ.get("CONCORD_TEST_BACKEND")
READ_HERE = [format for format in FORMATS if format.environment in (None, BACKEND)]
HERE = [
    folder
    for folder in sorted(FIXTURES.glob("*/*"))
    if folder.is_dir() and "safetensors" not in folder.name and find_format(folder) in READ_HERE
]

Damage = Callable[[Path], object]
Refused = Callable[[Path], str]


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_logits_are_those_of_every_formats_own_library(build: BuildModel, measured: Measured, kind: str) -> None:
    """All formats give the same tensors, so that one model of this backend is compared with transformers' classes of
    PyTorch, TensorFlow and Flax."""
    folder = FIXTURES / kind / "safetensors"
    expected = json.loads((FIXTURES / kind / "expected.json").read_text())
    inputs = {name: np.array(values, np.int32) for name, values in expected["inputs"].items()}
    ids = inputs["input_ids"]
    types = inputs.get("token_type_ids", np.zeros_like(ids))
    batch = Batch(ids, types, inputs["attention_mask"], np.zeros(len(ids), np.int64))
    recipe = Recipe(max_len=ids.shape[1], batch_size=len(ids))
    architecture = read_architecture(folder, recipe, num_labels=3)
    logits = build(architecture, saved_weights(folder, architecture), recipe).predict(batch)
    for format, wanted in expected["logits"].items():
        measured(f"{kind}, {format}, logits", float(np.abs(logits - np.array(wanted)).max()), LOGITS)


@pytest.mark.parametrize("folder", HERE, ids=[f"{folder.parent.name}/{folder.name}" for folder in HERE])
def test_the_conversion_is_the_original_bit_for_bit(tmp_path: Path, folder: Path) -> None:
    convert(folder, tmp_path)
    lacks = "classifier." if folder.name == "google" else " "
    assert_same_tensors(tensors_of(tmp_path), folder.parent.name, lacks)


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Converts a folder that is refused and gives the one line. Nothing may be written."""

    def refuse(folder: Path) -> str:
        (tmp_path / "target").mkdir()
        capfd.readouterr()
        assert main([str(folder), str(tmp_path / "target")]) in (1, 2)
        assert not list((tmp_path / "target").iterdir())
        line = capfd.readouterr().err.splitlines()[-1]
        assert line
        assert "Traceback" not in line
        return line

    return refuse


def copied(source: str, target: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / source, target / "copy"))


def cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


if BACKEND == "torch":
    import torch

    class Harmful:
        """An object whose unpickling would make a file."""

        def __reduce__(self) -> Any:
            return open, ("harm-was-done", "w")

    def state() -> dict[str, Any]:
        return {name: torch.tensor(array) for name, array in tensors_of(FIXTURES / "bert" / "safetensors").items()}

    def tied() -> dict[str, Any]:
        tensors = state()
        return tensors | {"cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"]}

    NESTED: dict[str, Callable[[], Any]] = {
        "under state_dict, beside an epoch": lambda: {"epoch": 3, "state_dict": state()},
        "under model, beside an optimizer": lambda: {"model": state(), "optimizer": {"state": {0: state()}}},
        "two keys deep": lambda: {"checkpoint": {"module": state()}, "rng": torch.zeros(8)},
        "of DataParallel": lambda: {f"module.{name}": tensor for name, tensor in state().items()},
        "of Lightning": lambda: {
            "state_dict": {f"model.{name}": tensor for name, tensor in state().items()},
            "hyper_parameters": {"lr": 0.1},
        },
        "with an average beside it": lambda: {"ema": {n: t + 1 for n, t in state().items()}, "model": state()},
        "tied": tied,
    }

    @pytest.mark.parametrize("case", NESTED)
    def test_nested_weights_are_found(tmp_path: Path, case: str) -> None:
        torch.save(NESTED[case](), tmp_path / "pytorch_model.bin")
        convert(tmp_path, tmp_path)
        assert_same_tensors(tensors_of(tmp_path), "bert")

    def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
        torch.save({name: tensor.bfloat16() for name, tensor in state().items()}, tmp_path / "pytorch_model.bin")
        convert(tmp_path, tmp_path)
        for name, array in tensors_of(tmp_path).items():
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, state()[name].bfloat16().float().numpy())

    def saved(content: Callable[[], Any]) -> Damage:
        return lambda folder: torch.save(content(), folder / "pytorch_model.bin")

    WORDS = "bert.embeddings.word_embeddings.weight"
    BAD_BIN: dict[str, tuple[Damage, str]] = {
        "code in a pickle": (saved(lambda: state() | {"x": Harmful()}), "object of io.open, which is refused"),
        "code in a plain pickle": (
            lambda folder: (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Harmful())),
            "cannot be read as tensors alone (",
        ),
        "a whole model": (saved(lambda: torch.nn.Linear(2, 2)), "object of torch.nn.modules.linear.Linear"),
        "an optimizer": (
            saved(lambda: {"state": {0: state()}, "param_groups": []}),
            "holds no model, or several (state",
        ),
        "two models": (saved(lambda: {"a": state(), "b": state()}), "holds no model, or several (a, b); save"),
        "a list": (saved(lambda: [torch.zeros(2)]), "holds no model, or several (list)"),
        "a number": (saved(lambda: 3), "holds no model, or several (int)"),
        "a view of a billion values": (
            saved(lambda: state() | {WORDS: torch.zeros(1).expand(10**9)}),
            f"{WORDS} has more values than the file",
        ),
        "sparse": (saved(lambda: state() | {WORDS: torch.eye(3).to_sparse()}), f"{WORDS} is sparse or quantized"),
        "half a file": (lambda folder: cut(folder / "pytorch_model.bin", 6000), ""),
        "text": (lambda folder: (folder / "pytorch_model.bin").write_text("<html>404</html>"), ""),
    }

    @pytest.mark.parametrize("case", BAD_BIN)
    def test_a_bad_bin_is_refused(tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
        monkeypatch.chdir(tmp_path)
        damage, wanted = BAD_BIN[case]
        folder = copied("bert/bin", tmp_path)
        damage(folder)
        assert wanted in refused(folder)
        assert not (tmp_path / "harm-was-done").exists()


if BACKEND == "keras":
    import h5py
    import tensorflow as tf

    def edited(change: Callable[[Any], object]) -> Damage:
        def damage(folder: Path) -> None:
            with h5py.File(folder / "tf_model.h5", "r+") as file:
                change(file["classifier/tf_bert_for_sequence_classification/classifier"])

        return damage

    def replaced(**fields: Any) -> Callable[[Any], object]:
        def change(group: Any) -> None:
            del group["kernel:0"]
            group.create_dataset("kernel:0", **fields)

        return change

    def only_a_link(folder: Path) -> None:
        (folder / "tf_model.h5").rename(folder / "elsewhere.h5")
        with h5py.File(folder / "tf_model.h5", "w") as file:
            file["bert"] = h5py.ExternalLink("elsewhere.h5", "/bert")

    def outside(group: Any) -> None:
        folder = Path(group.file.filename).parent
        (folder / "secret").write_bytes(bytes(96))
        replaced(shape=(8, 3), dtype="f4", external=[(str(folder / "secret"), 0, 96)])(group)

    def virtual(group: Any) -> None:
        layout = h5py.VirtualLayout((8, 3), "f4")
        layout[:] = h5py.VirtualSource("elsewhere.h5", "x", (8, 3))
        del group["kernel:0"]
        group.create_virtual_dataset("kernel:0", layout)

    BAD_H5: dict[str, tuple[Damage, str]] = {
        "half a file": (lambda folder: cut(folder / "tf_model.h5", 20_000), "truncated or no HDF5"),
        "a text": (lambda folder: (folder / "tf_model.h5").write_text("<html>404</html>"), "truncated or no HDF5"),
        "a link to another file": (only_a_link, "has no parameters"),
        "values in another file": (edited(outside), "does not lie whole in the file"),
        "a virtual dataset": (edited(virtual), "does not lie whole in the file"),
        "values that are not there": (
            edited(replaced(shape=(10**6, 10**6), dtype="f4", chunks=(100, 100))),
            "does not lie whole in the file",
        ),
        "compressed": (
            edited(replaced(data=np.zeros((800, 3), "f4"), compression="gzip")),
            "does not lie whole in the file",
        ),
        "whole numbers": (edited(replaced(data=np.zeros((8, 3), "i4"))), "values of type int32"),
        "words": (edited(replaced(data=["a", "b"])), "values of type object"),
        "one parameter twice": (
            edited(lambda group: group.create_dataset("weight:0", data=np.zeros((3, 8), "f4"))),
            "gives classifier.weight twice",
        ),
    }

    @pytest.mark.parametrize("case", BAD_H5)
    def test_a_bad_h5_is_refused(tmp_path: Path, refused: Refused, case: str) -> None:
        damage, wanted = BAD_H5[case]
        folder = copied("bert/h5", tmp_path)
        damage(folder)
        assert wanted in refused(folder)

    def of_tensorflow_2(folder: Path) -> None:
        for file in folder.glob("bert_model.*"):
            file.unlink()
        tf.train.Checkpoint(x=tf.Variable(1.0)).write(str(folder / "bert_model.ckpt"))

    DATA = "bert_model.ckpt.data-00000-of-00001"
    BAD_TF1: dict[str, tuple[Damage, str]] = {
        "half of the values": (lambda folder: cut(folder / DATA, 3000), "no whole TensorFlow checkpoint"),
        "half an index": (lambda folder: cut(folder / "bert_model.ckpt.index", 600), "no whole TensorFlow checkpoint"),
        "a text as index": (
            lambda folder: (folder / "bert_model.ckpt.index").write_text("<html>404</html>"),
            "no whole TensorFlow checkpoint",
        ),
        "other values": (
            lambda folder: (folder / DATA).write_bytes(struct.pack("<f", 1.0) * 1476),
            "no whole TensorFlow checkpoint",
        ),
        "of TensorFlow 2": (of_tensorflow_2, "is of TensorFlow 2"),
    }

    @pytest.mark.parametrize("case", BAD_TF1)
    def test_a_bad_tensorflow_checkpoint_is_refused(tmp_path: Path, refused: Refused, case: str) -> None:
        damage, wanted = BAD_TF1[case]
        folder = copied("bert/google", tmp_path)
        damage(folder)
        assert wanted in refused(folder)
