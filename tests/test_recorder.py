"""The recorder: what a port's script reads and writes."""

from __future__ import annotations

import ast
import json
import os
import sys
import textwrap
import tracemalloc
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recorder import concord_recorder
from recorder.concord_recorder import Pack, Recorder, RecorderError, Run, as_array
from shared.architecture import Weights
from tests.packs import HIDDEN, LAYERS, ROWS, TOKENS, WIDTH, weights, write_pack

ROOT = Path(__file__).parents[1]
random = np.random.default_rng(5)


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return Pack(write_pack(tmp_path / "pack"))


@pytest.fixture
def record(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "recording")


def run_of(pack: Pack, name: str) -> Run:
    return next(run for run in pack.all_runs if run.name == name)


def recorded(record: Recorder, place: str) -> Weights:
    with np.load(Path(record.folder) / f"{place}.npz") as file:
        return dict(file)


def kernels(arrays: Weights) -> Weights:
    """Parameters as a port might have them: its own names, and kernels [in, out]."""
    return {f"my/{name.replace('.', '/')}": np.ascontiguousarray(array.T) for name, array in arrays.items()}


def hidden_states() -> dict[str, Any]:
    drawn = {name: random.standard_normal(shape, np.float32) for name, shape in HIDDEN.items()}
    layers = [drawn[f"layers/{n}"] for n in range(LAYERS)]
    return {"embeddings": drawn["embeddings"], "layers": layers, "pooled": drawn["pooled"]}


# The script of ten lines.


@dataclass
class Loop:
    """The functions that the script calls: a port with parameters of its own, that adds the rate at each step."""

    parameters: Weights
    settings: Any = None

    def mine(self, given: Weights, settings: Any) -> tuple[Weights, None]:
        self.parameters, self.settings = kernels(given), settings
        return self.parameters, None

    def forward(self, model: Weights, batch: Any) -> tuple[Any, np.ndarray, float]:
        assert batch.input_ids is batch["input_ids"] or (batch.input_ids == batch["input_ids"]).all()
        assert batch.labels.dtype == np.int64
        return hidden_states(), np.zeros((ROWS, 2), np.float32), 0.5

    def backward(self, loss: float) -> Weights:
        return {name: np.ones_like(array) for name, array in self.parameters.items()}

    def update(self, optimizer: None, gradients: Weights, rate: float) -> None:
        for array in self.parameters.values():
            array += np.float32(rate)


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording by the script in the module's docstring, word for word."""
    lines = str(concord_recorder.__doc__).splitlines()
    first = next(n for n, line in enumerate(lines) if "import Pack, Recorder" in line)
    last = next(n for n, line in enumerate(lines) if "record(step, parameters=model)" in line)
    monkeypatch.setenv("CONCORD_PACK", str(write_pack(tmp_path / "pack")))
    monkeypatch.setenv("CONCORD_RECORDING", str(tmp_path / "recording"))
    monkeypatch.syspath_prepend(ROOT / "recorder")
    loop = Loop({})
    names = {name: getattr(loop, name) for name in ("mine", "forward", "backward", "update")}
    exec(textwrap.dedent("\n".join(lines[first : last + 1])), names)
    sys.modules.pop("concord_recorder")
    return tmp_path / "recording"


def test_the_script_writes_a_file_for_each_part(ran: Path) -> None:
    files = {path.relative_to(ran).as_posix().removesuffix(".npz") for path in ran.rglob("*.*")}
    expected = {"recording.json", "map.json", "dropout/0/parameters", "dropout/1/hidden"}
    for run, steps in (("eval", 1), ("train", 2), ("dev", 2), ("steep", 2)):
        expected |= {f"{run}/0/parameters"}
        parts = ["hidden", "logits", "loss"] + (["gradients", "parameters"] if run in ("train", "steep") else [])
        expected |= {f"{run}/{step}/{part}" for step in range(1, steps + 1) for part in parts}
    assert files == expected


def test_a_recording_says_what_wrote_it(ran: Path) -> None:
    assert json.loads((ran / "recording.json").read_text()) == {
        "format": 1,
        "pack": "0123456789abcdef",
        "whole": [],
        "recorder": concord_recorder.VERSION,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
    }


def test_dev_starts_from_what_train_recorded_last(ran: Path) -> None:
    with np.load(ran / "dev" / "0" / "parameters.npz") as dev, np.load(ran / "train" / "2" / "parameters.npz") as last:
        assert set(dev) == set(last)
        assert all(np.array_equal(dev[name], last[name]) for name in dev)


def test_hidden_states_are_named_as_the_pack_names_them(ran: Path) -> None:
    with np.load(ran / "eval" / "1" / "hidden.npz") as file:
        assert {name: list(array.shape) for name, array in file.items()} == HIDDEN


def test_the_map_is_kept_in_the_recording(ran: Path) -> None:
    entry = json.loads((ran / "map.json").read_text())["entries"]["bert.pooler.dense.weight"]
    assert entry["from"] == "my/bert/pooler/dense/weight"
    assert entry["transpose"] == [1, 0]


# The pack.


def test_a_run_gives_settings_and_weights(pack: Pack) -> None:
    run = next(iter(pack.runs))
    assert (run.name, run.trains, run.settings.beta1) == ("eval", False, 0.9)
    assert run.settings.decayed == ["classifier.weight"]
    assert all(np.array_equal(array, run.weights[name]) for name, array in weights().items())


def test_weights_are_loaded_anew(pack: Pack) -> None:
    run = next(iter(pack.runs))
    run.weights["classifier.bias"][...] = 7
    assert not (run.weights["classifier.bias"] == 7).any()


def test_a_batch_names_what_it_has(pack: Pack) -> None:
    with pytest.raises(AttributeError, match="no ids; it has input_ids, token_type_ids"):
        _ = next(iter(pack.runs)).steps[0].batch.ids


def test_dev_is_left_out_before_train_was_recorded(pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    assert [run.name for run in pack.runs] == ["eval", "dropout", "train", "steep"]
    line = capsys.readouterr().err
    assert line.startswith("concord: run dev is left out: it starts where train ends; record(step, parameters=model)")
    assert line.count("\n") == 1


def test_dev_is_left_out_if_names_are_not_known(pack: Pack, record: Recorder) -> None:
    record(run_of(pack, "train").steps[-1], parameters=weights())
    assert "your names are not known; record(run, parameters=model)" in run_of(pack, "dev").lacks()


def test_dev_is_left_out_if_a_parameter_is_missing(pack: Pack, record: Recorder) -> None:
    train, mine = run_of(pack, "train"), weights()
    del mine["classifier.bias"]
    record(train, parameters=mine)
    record(train.steps[-1], parameters=mine)
    assert "no array of yours is classifier.bias" in run_of(pack, "dev").lacks()
    with pytest.raises(RecorderError, match="run dev: no array of yours"):
        _ = run_of(pack, "dev").weights


def test_dev_fills_what_a_port_has_cut(pack: Pack, record: Recorder) -> None:
    """A port may hold fewer positions than the pack: the others keep their first values."""
    train, mine = run_of(pack, "train"), weights()
    positions = "bert.embeddings.position_embeddings.weight"
    mine[positions] = mine[positions][:7]
    record(train, parameters=mine)
    record(train.steps[-1], parameters={name: array + 1 for name, array in mine.items()})
    dev = run_of(pack, "dev").weights[positions]
    assert np.array_equal(dev[:7], weights()[positions][:7] + 1)
    assert np.array_equal(dev[7:], weights()[positions][7:])


def test_a_missing_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecorderError, match=r"pack\.json is missing; write a pack by .* set CONCORD_PACK"):
        Pack(tmp_path / "none")


def test_a_pack_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecorderError, match="has format 2, this recorder reads 1; take concord_recorder"):
        Pack(write_pack(tmp_path / "pack", form=2))


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}'])
def test_a_broken_pack_is_refused(tmp_path: Path, content: str) -> None:
    (write_pack(tmp_path / "pack") / "pack.json").write_text(content)
    with pytest.raises(RecorderError, match="write the pack again"):
        Pack(tmp_path / "pack")


def test_broken_weights_are_refused(pack: Pack) -> None:
    Path(pack.path("weights.npz")).write_bytes(b"PK\x03\x04")
    with pytest.raises(RecorderError, match=r"weights\.npz cannot be read .*; write the pack again"):
        _ = next(iter(pack.runs)).weights


# What may go wrong in a recording.


def test_an_unknown_part_is_refused(pack: Pack, record: Recorder) -> None:
    with pytest.raises(RecorderError, match="eval/1: logit is no part; parts are parameters, received, hidden"):
        record(run_of(pack, "eval").steps[0], logit=1)


def test_a_part_of_a_step_is_refused_for_a_run(pack: Pack, record: Recorder) -> None:
    with pytest.raises(RecorderError, match=r"eval: loss belongs to a step; call record\(step, loss="):
        record(run_of(pack, "eval"), loss=1.0)


def test_a_part_is_recorded_once(pack: Pack, record: Recorder) -> None:
    step = run_of(pack, "eval").steps[0]
    record(step, loss=1.0)
    record(step, logits=np.zeros((ROWS, 2)))
    with pytest.raises(RecorderError, match="eval/1: loss was recorded already"):
        record(step, loss=1.0)


def test_something_else_than_a_step_is_refused(record: Recorder) -> None:
    with pytest.raises(RecorderError, match="takes a run or a step of the pack first, not str"):
        record("eval/1", loss=1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("part", "given", "message"),
    [
        ("logits", np.zeros((2, ROWS)), r"logits has shape \[2, 3\], wanted is \[3, 2\]; reshape it"),
        ("loss", np.zeros(ROWS), r"loss has shape \[3\], wanted is \[\]; take the mean over the batch"),
        ("hidden", {"pooled": np.zeros(WIDTH)}, r"hidden: pooled has shape \[8\], wanted is \[3, 8\]"),
        (
            "hidden",
            {"layer": {"0": np.zeros(8)}},
            "layer/0 is not in .*; names are embeddings, layers/0, layers/1, poo",
        ),
        ("hidden", {}, "hidden: dict holds no array; pass a dict of arrays by name"),
        ("logits", "text", "logits: str does not become an array of numbers, but of <U4"),
        ("logits", object(), "logits: object does not become an array of numbers, but of object"),
        ("received", {"ids": {1, 2}}, "received: set does not become an array; pass arrays by name in a dict"),
        ("loss", 1j, "complex"),
    ],
)
def test_what_does_not_fit_is_named(pack: Pack, record: Recorder, part: str, given: Any, message: str) -> None:
    with pytest.raises(RecorderError, match=message) as raised:
        record(run_of(pack, "eval").steps[0], **{part: given})
    assert "\n" not in str(raised.value)
    assert not list(Path(record.folder).rglob("*.npz*"))


def test_what_is_not_wanted_in_a_step_is_left_out(pack: Pack, record: Recorder) -> None:
    record(run_of(pack, "dropout").steps[0], hidden=hidden_states(), logits=np.zeros((9, 9)), loss=1.0)
    assert [path.name for path in Path(record.folder).glob("dropout/1/*")] == ["hidden.npz"]
    assert list(recorded(record, "dropout/1/hidden")) == ["embeddings"]


@pytest.mark.parametrize("loss", [0.5, np.float64(0.5), np.full((1,), 0.5), np.full((1, 1), 0.5, np.float32)])
def test_a_loss_may_be_any_single_number(pack: Pack, record: Recorder, loss: Any) -> None:
    record(run_of(pack, "eval").steps[0], loss=loss, logits=None)
    value = recorded(record, "eval/1/loss")["value"]
    assert value.shape == ()
    assert value == 0.5


def test_a_failure_leaves_no_half_of_a_file(pack: Pack, record: Recorder) -> None:
    with pytest.raises(RecorderError):
        record(run_of(pack, "eval"), parameters={"a": np.zeros(3), "b": np.array(["text"])})
    assert not list(Path(record.folder).rglob("*.npz*"))
    record(run_of(pack, "eval"), parameters=weights())


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RecorderError, match="is not empty and holds no recording; pass an empty or a new folder"):
        Recorder(tmp_path, fresh=True)


def test_an_earlier_recording_is_refused(pack: Pack, record: Recorder) -> None:
    record(run_of(pack, "eval").steps[0], loss=1.0)
    with pytest.raises(RecorderError, match=r"holds an earlier recording; pass Recorder\(fresh=True\)"):
        Recorder(record.folder)


def test_a_fresh_recorder_removes_an_earlier_recording(pack: Pack, record: Recorder) -> None:
    record(run_of(pack, "eval"), parameters=weights())
    (Path(record.folder) / "eval" / "0" / "hidden.npz.123").write_bytes(b"half")
    again = Recorder(record.folder, fresh=True)
    assert not list(Path(record.folder).iterdir())
    again(run_of(pack, "eval"), parameters=weights())


def test_a_fresh_recorder_removes_no_foreign_file(pack: Pack, record: Recorder) -> None:
    record(run_of(pack, "eval").steps[0], loss=1.0)
    notes = Path(record.folder) / "eval" / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(RecorderError, match="holds eval, which no recorder wrote; remove it"):
        Recorder(record.folder, fresh=True)
    assert notes.exists()


def test_a_recording_is_of_one_pack(tmp_path: Path, pack: Pack, record: Recorder) -> None:
    record(run_of(pack, "eval").steps[0], loss=1.0)
    other = Pack(write_pack(tmp_path / "other", pack_id="f" * 16))
    with pytest.raises(RecorderError, match=r"is a recording of pack 0123456789abcdef, but .* is pack f{16}"):
        record(run_of(other, "eval").steps[0], loss=1.0)


def test_a_recorder_takes_only_the_pack_it_was_given(tmp_path: Path, pack: Pack) -> None:
    other = write_pack(tmp_path / "other", pack_id="f" * 16)
    with pytest.raises(RecorderError, match="is a recording of pack ffffffffffffffff"):
        Recorder(tmp_path / "recording", pack=other)(run_of(pack, "eval").steps[0], loss=1.0)


# Arrays.


class Tensor:
    """A tensor of torch's kind, on a device and part of a graph."""

    def __init__(self, array: np.ndarray, dtype: str = "torch.float32", graph: bool = True, gpu: bool = True) -> None:
        self.array, self.dtype, self.graph, self.gpu = array, dtype, graph, gpu
        self.shape = array.shape

    def detach(self) -> Tensor:
        return Tensor(self.array, self.dtype, False, self.gpu)

    def cpu(self) -> Tensor:
        return Tensor(self.array, self.dtype, self.graph, False)

    def float(self) -> Tensor:
        return Tensor(self.array, "torch.float32", self.graph, self.gpu)

    def numpy(self) -> np.ndarray:
        if self.graph or self.gpu or self.dtype == "torch.bfloat16":
            raise TypeError("Can't convert it to numpy\nsee the documentation")
        return self.array


class PaddleTensor:
    """Gives the bits of bfloat16 as integers, as Paddle's numpy() does."""

    __module__ = "paddle"
    dtype = "paddle.bfloat16"

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape = array, array.shape

    def astype(self, dtype: str) -> np.ndarray:
        return self.array.astype(dtype)

    def numpy(self) -> np.ndarray:
        return np.zeros(self.shape, np.uint16)


class Dlpack:
    """Has nothing but DLPack."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **named: Any) -> Any:
        return self.array.__dlpack__(**named)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Protocol:
    """Has nothing but __array__."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, *arguments: Any, **named: Any) -> np.ndarray:
        return self.array


class NdArray:
    """An array of MXNet's kind."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def asnumpy(self) -> np.ndarray:
        return self.array


VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "kind", [Tensor, lambda array: Tensor(array, "torch.bfloat16"), PaddleTensor, Dlpack, Protocol, NdArray, np.asarray]
)
def test_anything_that_becomes_an_array_is_taken(kind: Callable[[np.ndarray], Any]) -> None:
    array = as_array(kind(VALUES), "x")
    assert np.array_equal(array, VALUES)
    assert array.dtype == np.float32
    assert not np.shares_memory(array, VALUES)


def test_arrays_are_contiguous() -> None:
    array = as_array(np.asfortranarray(VALUES)[:, ::2], "x")
    assert array.flags["C_CONTIGUOUS"]
    assert np.array_equal(array, VALUES[:, ::2])


@pytest.mark.parametrize(
    ("given", "kept"),
    [("float16", "float32"), ("float64", "float64"), (">f4", "float32"), ("int32", "int32"), ("bool", "bool")],
)
def test_types_that_are_kept(given: str, kept: str) -> None:
    assert as_array(np.ones(2, given), "x").dtype == np.dtype(kept)


def test_a_failing_conversion_is_told_in_one_line() -> None:
    class Symbolic:
        def __array__(self, *arguments: Any, **named: Any) -> np.ndarray:
            raise NotImplementedError("Cannot convert a symbolic Tensor\n  to a numpy array")

    with pytest.raises(RecorderError) as raised:
        as_array(Symbolic(), "train/1: loss")
    assert str(raised.value) == (
        "train/1: loss: Symbolic does not become an array (Cannot convert a symbolic Tensor to a numpy array);"
        " pass an array of numpy"
    )


IndexedSlicesValue = namedtuple("IndexedSlicesValue", ["values", "indices", "dense_shape"])


def test_indexed_slices_become_dense_and_repeated_rows_are_summed() -> None:
    slices = IndexedSlicesValue(np.array([[1.0, 2], [3, 4], [5, 6]], np.float32), np.array([2, 0, 2]), np.array([4, 2]))
    expected = np.array([[3, 4], [0, 0], [6, 8], [0, 0]], np.float32)
    assert np.array_equal(as_array(slices, "x"), expected)


def test_indexed_slices_without_a_shape_are_refused() -> None:
    slices = IndexedSlicesValue(np.ones((1, 2), np.float32), np.array([0]), None)
    with pytest.raises(RecorderError, match="without dense_shape; call tf"):
        as_array(slices, "x")


# Names.

State = namedtuple("State", ["scale", "shift"])


ACTIVATION = partial(max, default=0)


@dataclass
class Tree:
    kernel: np.ndarray
    layers: list[np.ndarray]
    activation: Any = ACTIVATION
    width: int = 3


class Variable(Tensor):
    """A variable of Keras' kind."""

    def __init__(self, array: np.ndarray, name: str, trainable: bool = True) -> None:
        super().__init__(array, graph=False, gpu=False)
        self.name, self.trainable = name, trainable


class KerasModel:
    def __init__(self, variables: list[Variable]) -> None:
        self.weights = variables
        self.trainable_variables = [variable for variable in variables if variable.trainable]


class Module:
    """A module of torch's kind, whose parameters may hold gradients."""

    def __init__(self, arrays: Weights, gradients: Weights | None = None) -> None:
        self.parameters = {name: Tensor(array) for name, array in arrays.items()}
        for name, parameter in self.parameters.items():
            vars(parameter)["grad"] = Tensor(gradients[name]) if gradients and name in gradients else None

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.parameters.items()


class MlxModule(dict[str, Any]):
    def parameters(self) -> dict[str, Any]:
        return {"layer": {"weight": VALUES}}

    trainable_parameters = parameters


A, B = VALUES, VALUES + 1


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"a": {"b": A, "c": [A, B]}, "d": None}, ["a/b", "a/c/0", "a/c/1"]),
        (OrderedDict(x=A), ["x"]),
        ([("one", A), ("two", B)], ["one", "two"]),
        ((A, [B, A]), ["0", "1/0", "1/1"]),
        (State(A, B), ["scale", "shift"]),
        (Tree(A, [B]), ["kernel", "layers/0"]),
        ({"w:0": A, "file": B}, ["w", "file"]),
        (Module({"x.weight": A}), ["x.weight"]),
        (MlxModule(hidden="nothing"), ["layer/weight"]),
        (KerasModel([Variable(A, "d/kernel:0"), Variable(B, "d/kernel:0")]), ["d/kernel", "d/kernel#2"]),
        ([Variable(A, "k:0"), Variable(B, "b:0")], ["k", "b"]),
        (A, ["value"]),
    ],
)
def test_names_of_parameters(pack: Pack, record: Recorder, given: Any, names: list[str]) -> None:
    record(run_of(pack, "eval"), parameters=given)
    assert list(recorded(record, "eval/0/parameters")) == names


def test_hidden_states_may_be_a_tuple_as_in_transformers(pack: Pack, record: Recorder) -> None:
    states = tuple(np.full((ROWS, TOKENS, WIDTH), n, np.float32) for n in range(LAYERS + 1))
    record(run_of(pack, "eval").steps[0], hidden=states)
    arrays = recorded(record, "eval/1/hidden")
    assert {name: array.flat[0] for name, array in arrays.items()} == {"embeddings": 0, "layers/0": 1, "layers/1": 2}


def test_hidden_states_may_be_an_output_of_transformers(pack: Pack, record: Recorder) -> None:
    states = tuple(np.zeros((ROWS, TOKENS, WIDTH), np.float32) for _ in range(LAYERS + 1))
    output = OrderedDict(last_hidden_state=states[-1], pooler_output=np.zeros((ROWS, WIDTH)), hidden_states=states)
    record(run_of(pack, "eval").steps[0], hidden=output)
    assert set(recorded(record, "eval/1/hidden")) == set(HIDDEN)


@pytest.mark.parametrize("part", ["gradients", "clipped"])
def test_gradients_of_a_module_are_those_it_holds(pack: Pack, record: Recorder, part: str) -> None:
    module = Module({"x": A, "y": B}, {"x": B})
    train = run_of(pack, "train")
    record(train, parameters=module)
    record(train.steps[0], **{part: module})
    assert list(recorded(record, f"train/1/{part}")) == ["x"]
    assert np.array_equal(recorded(record, f"train/1/{part}")["x"], B)


def test_a_module_without_gradients_is_refused(pack: Pack, record: Recorder) -> None:
    with pytest.raises(RecorderError, match="no parameter of Module holds a gradient; call record after the backward"):
        record(run_of(pack, "train").steps[0], gradients=Module({"x": A}))


def test_gradients_may_be_pairs_with_variables(pack: Pack, record: Recorder) -> None:
    """Variables of one name are told apart by what they are; a gradient may be None."""
    variables = [Variable(A, "kernel:0"), Variable(B, "kernel:0"), Variable(A, "bias:0")]
    train = run_of(pack, "train")
    record(train, parameters=KerasModel(variables))
    record(train.steps[0], gradients=[(A + 5, variables[2]), (None, variables[0]), (A + 6, variables[1])])
    arrays = recorded(record, "train/1/gradients")
    assert {name: array.flat[0] for name, array in arrays.items()} == {"bias": 5, "kernel#2": 6}


def test_gradients_without_names_take_the_parameters_names(pack: Pack, record: Recorder) -> None:
    train = run_of(pack, "train")
    variables = [Variable(A, "k:0"), Variable(A, "seed:0", trainable=False), Variable(A, "b:0")]
    record(train, parameters=KerasModel(variables))
    record(train.steps[0], gradients=[A + 1, A + 2])
    arrays = recorded(record, "train/1/gradients")
    assert {name: array.flat[0] for name, array in arrays.items()} == {"k": 1, "b": 2}


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        ([A, A], "a list of 2 arrays without names, for 3 parameters; pass a dict by name"),
        ([A, A.T, A], r"the list has shape \[3, 2\] for y of shape \[2, 3\]"),
        ({"else": A}, "no name is one of the parameters recorded for train: else, but x; record all under the same"),
    ],
)
def test_gradients_that_fit_no_parameters_are_refused(
    pack: Pack, record: Recorder, gradients: Any, message: str
) -> None:
    train = run_of(pack, "train")
    record(train, parameters={"x": A, "y": A, "z": A})
    with pytest.raises(RecorderError, match=message):
        record(train.steps[0], gradients=gradients)


def test_a_list_of_gradients_needs_parameters_first(pack: Pack, record: Recorder) -> None:
    with pytest.raises(RecorderError, match=r"a list without names; record\(run, parameters=model\) first"):
        record(run_of(pack, "train").steps[0], gradients=[A])


def test_a_second_model_keeps_the_first_ones_names(pack: Pack, record: Recorder) -> None:
    """Keras numbers the layers of a second model on."""
    first, train = run_of(pack, "eval"), run_of(pack, "train")
    record(first, parameters={"dense/kernel": A, "dense_1/kernel": B})
    record(train, parameters={"dense_2/kernel": A, "dense_3/kernel": B})
    record(train.steps[0], gradients={"dense_3/kernel": A, "dense_2/kernel": B})
    assert list(recorded(record, "train/0/parameters")) == ["dense/kernel", "dense_1/kernel"]
    assert list(recorded(record, "train/1/gradients")) == ["dense_1/kernel", "dense/kernel"]


# Promises.


def test_no_second_copy_of_a_model_is_held(pack: Pack, record: Recorder) -> None:
    model = {str(n): np.ones(2**18, np.float32) for n in range(20)}
    train = run_of(pack, "train")
    record(train.steps[0], loss=1.0)
    tracemalloc.start()
    record(train.steps[0], parameters=model)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20


def test_the_recorder_imports_the_standard_library_and_numpy_alone() -> None:
    nodes = list(ast.walk(ast.parse((ROOT / "recorder" / "concord_recorder.py").read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "numpy"}


def test_folders_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert os.path.samefile(Pack(write_pack(Path("pack"))).folder, tmp_path / "pack")
    assert Recorder().folder == "recording"


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (
            ["bert.embeddings", "bert.embeddings.word_embeddings", "bert.encoder.layer.0", "bert.encoder.layer.1",
             "bert.encoder.layer.1.output", "bert.encoder.layer.10", "bert.pooler", "bert.pooler.dense"],
            {"bert.embeddings": "embeddings", "bert.encoder.layer.0": "layers/0", "bert.encoder.layer.1": "layers/1",
             "bert.encoder.layer.10": "layers/2", "bert.pooler": "pooled"},
        ),
        (
            ["embeddings_dropout", "transformer_layer_0", "transformer_layer_1", "pooled_dense", "dropout"],
            {"embeddings_dropout": "embeddings", "transformer_layer_0": "layers/0", "transformer_layer_1": "layers/1",
             "pooled_dense": "pooled"},
        ),
        (["bert/embeddings", "bert/encoder/layer/0", "bert/encoder/layer/0/attention"],
         {"bert/embeddings": "embeddings", "bert/encoder/layer/0": "layers/0"}),
        (["a", "b"], {}),
    ],
)  # fmt: skip
def test_layers_are_found_by_their_usual_paths(paths: list[str], found: dict[str, str]) -> None:
    assert concord_recorder.name_layers(paths) == found


def test_layers_are_found_by_patterns() -> None:
    assert concord_recorder.name_layers(["body.2", "body.1", "emb"], embeddings="emb", layers=r"body\.\d+") == {
        "emb": "embeddings",
        "body.1": "layers/0",
        "body.2": "layers/1",
    }
    with pytest.raises(RecorderError, match="pooled: no path matches x; paths are a"):
        concord_recorder.name_layers(["a"], pooled="x")
