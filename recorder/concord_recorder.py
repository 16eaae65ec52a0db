"""Records what a port of a model computes, for `python -m benchmarks.port check`.

One file. It needs Python 3.7 or later and numpy. Copy it next to a training script, or `pip install` its folder.
A pack is a folder with all that a port is given. A recording is a folder with what the port computed. A script reads
the one and writes the other in some ten lines:

    from concord_recorder import Pack, Recorder

    pack, record = Pack(), Recorder()                  # folders from CONCORD_PACK and CONCORD_RECORDING, or given
    for run in pack.runs:                              # run.name, run.weights, run.settings, run.steps
        model, optimizer = mine(run.weights, run.settings)
        record(run, parameters=model)                  # as loaded
        for step in run.steps:                         # step.batch, step.learning_rate
            hidden, logits, loss = forward(model, step.batch)
            record(step, hidden=hidden, logits=logits, loss=loss)
            if run.trains:
                gradients = backward(loss)
                record(step, gradients=gradients)
                update(optimizer, gradients, step.learning_rate)
                record(step, parameters=model)

Each part is optional, and a step may be recorded in several calls. A part that was not recorded is not seen, which is
never a pass.

    parameters  all parameters. For a run: as loaded. For a step: after its update
    received    the inputs as the model saw them, by name
    hidden      {"embeddings": [b, s, width], "layers": a list of [b, s, width], "pooled": [b, width]}, or a tuple as
                transformers' hidden_states: the embeddings, then the layers
    logits      [b, num_labels]
    loss        one number, the mean over the batch
    gradients   the gradient of every parameter, before clipping
    norm        one number: the global norm of the gradients
    clipped     the gradients after clipping

Parameters and gradients may be a module of torch, Paddle or MLX, a Keras model, a block of MXNet, a dict, a pytree, a
list of (name, array) or of (gradient, variable), as Keras' optimizers take; gradients also a plain list in the order of
the parameters. Arrays may be anything that becomes an array of numpy. Hidden states, logits, losses and norms that the
pack does not want in a step (wanted.json) are left out, so that a script can record every step alike.

Of a large pack, parameters and gradients are recorded as sketches: 66 numbers for each of the pack's parameters, found
through the map (`sketch`). Whole arrays are kept of those parameters alone that CONCORD_WHOLE names.

Your names of parameters are mapped to the pack's by value (`find_map`), if record(run, parameters=...) comes before any
training. The run `dev` starts from the parameters that were recorded after the last step of `train`.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import sys
import zipfile
import zlib
from collections import Counter, defaultdict
from types import SimpleNamespace
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Sequence, Tuple, Union

import numpy as np

VERSION = "1.0.0"
FORMAT = 1
PARTS = ("parameters", "received", "hidden", "logits", "loss", "gradients", "norm", "clipped")
SINGLE = ("logits", "loss", "norm")
"""Parts that hold one array, named `value`."""
BY_PARAMETER = ("parameters", "gradients", "clipped")
SKETCH, BLOCKS = "sketch of ", 64
"""A sketch's name is this and the parameter's; and the number of its sums."""

Arrays = Dict[str, np.ndarray]
Entry = Dict[str, Any]
Folder = Union[str, "os.PathLike[str]"]
Leaves = List[Tuple[str, Any]]
"""Names with what becomes an array."""


class RecorderError(ValueError):
    """Bad input. The message is one line that names the thing and the remedy."""


# The pack.


class Batch(Dict[str, np.ndarray]):
    """Arrays of a batch, int64, as items and as attributes."""

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self[name]
        except KeyError:
            raise AttributeError("the batch has no {}; it has {}".format(name, ", ".join(self))) from None


class Step:
    """One step of a run."""

    def __init__(self, run: Run, asked: Mapping[str, Any]) -> None:
        self.run = run
        self.name = str(asked["name"])
        self.learning_rate = float(asked["learning_rate"])
        self._file = str(asked["batch"])

    @property
    def batch(self) -> Batch:
        """input_ids, token_type_ids and attention_mask, int64 [b, s], and labels, int64 [b]."""
        return Batch(_load(self.run.pack.path(self._file)))


class Run:
    """One run of the pack."""

    def __init__(self, pack: Pack, asked: Mapping[str, Any]) -> None:
        self.pack = pack
        self.name = str(asked["name"])
        self.about = str(asked.get("about", ""))
        self.trains = bool(asked["trains"])
        self.settings = SimpleNamespace(**asked["settings"])
        self.start = str(asked["weights"])
        """A file, or the run whose last parameters this one starts from."""
        self.steps = [Step(self, one) for one in asked["steps"]]

    @property
    def weights(self) -> Arrays:
        """Parameters to start from, float32, by HuggingFace's names. Read from the disk each time."""
        if self.start.endswith(".npz"):
            return _load(self.pack.path(self.start))
        lacking = self.lacks()
        if lacking or self.pack.map is None:
            raise RecorderError(f"run {self.name}: {lacking}")
        weights = next(run for run in self.pack.all_runs if run.name == self.start).weights
        for name, array in self.pack.map.apply(self.pack.left[self.start]).items():
            weights[name][_front(array.shape)] = array
        return weights

    def lacks(self) -> str:
        """Says what must be recorded before this run, or nothing."""
        if self.start.endswith(".npz"):
            return ""
        if self.start not in self.pack.left:
            return f"it starts where {self.start} ends; record(step, parameters=model) after the last step of that run"
        if self.pack.map is None:
            return "your names are not known; record(run, parameters=model) before the first step of a run"
        if self.pack.map.missing:
            missing = ", ".join(self.pack.map.missing[:3])
            return f"no array of yours is {missing}; load all of run.weights before record(run, parameters=model)"
        return ""


class Pack:
    """Reads a pack: `folder`, else $CONCORD_PACK, else `pack`. Raises RecorderError if there is none, or one of a newer
    format."""

    def __init__(self, folder: Folder | None = None) -> None:
        self.folder = os.fspath(folder or os.environ.get("CONCORD_PACK") or "pack")
        content = _read_json(self.path("pack.json"))
        if content.get("format", 0) > FORMAT:
            raise RecorderError(
                f"{self.path('pack.json')} has format {content['format']}, this recorder reads {FORMAT};"
                " take concord_recorder.py of the project that wrote the pack"
            )
        try:
            self.id = str(content["id"])
            self.all_runs = [Run(self, asked) for asked in content["runs"]]
            wanted = _read_json(self.path("wanted.json"))
            self.wanted: dict[str, Any] = wanted["runs"]
            self.sketches = bool(wanted.get("sketches"))
            """Parameters and gradients are wanted as sketches."""
        except (KeyError, TypeError) as error:
            raise RecorderError(f"{self.folder} is no whole pack ({error}); write the pack again") from None
        self.map: Map | None = None
        """From the port's parameters to the pack's, once they were recorded."""
        self.left: dict[str, Arrays] = {}
        """The last parameters of each run that another one starts from: the one copy of a model that is held."""

    def path(self, name: str) -> str:
        """Path of a file of the pack."""
        return os.path.join(self.folder, name)

    @property
    def runs(self) -> Iterator[Run]:
        """The runs in their order. A run is left out, with a line on stderr, if the weights it starts from were not
        recorded."""
        for run in self.all_runs:
            lacking = run.lacks()
            if lacking:
                print(f"concord: run {run.name} is left out: {lacking}", file=sys.stderr)
            else:
                yield run


# The recording.


class Recorder:
    """Writes a recording into `folder`, else $CONCORD_RECORDING, else `recording`.

    The folder must be missing or empty, so that two recordings never mix; with `fresh` an earlier recording there is
    removed first. The pack is that of the first run or step recorded; if `pack` is given, only that one is accepted.
    """

    def __init__(self, folder: Folder | None = None, pack: Pack | Folder | None = None, fresh: bool = False) -> None:
        self.folder = os.fspath(folder or os.environ.get("CONCORD_RECORDING") or "recording")
        self._pack = pack if pack is None or isinstance(pack, Pack) else Pack(pack)
        self._started = False
        self._done: dict[tuple[str, str, str], bool] = {}
        self._first: dict[str, tuple[int, ...]] = {}
        """Names and shapes of the parameters of the first run that recorded them."""
        self._loaded: dict[str, _Loaded] = {}
        """Arrays by run."""
        self._whole = [name for name in os.environ.get("CONCORD_WHOLE", "").split(",") if name]
        """The pack's names of the parameters that are kept whole beside their sketches."""
        _claim(self.folder, fresh)

    def __call__(self, at: Run | Step, **parts: Any) -> None:
        """Records parts of a run (its parameters as loaded) or of a step. A part that is None is not recorded. Raises
        RecorderError."""
        if not isinstance(at, (Run, Step)):
            raise RecorderError(f"record takes a run or a step of the pack first, not {type(at).__name__}")
        run, step = (at, "0") if isinstance(at, Run) else (at.run, at.name)
        self._check_pack(run.pack)
        for part in parts:
            if part not in PARTS:
                raise RecorderError(f"{run.name}/{step}: {part} is no part; parts are {', '.join(PARTS)}")
            if isinstance(at, Run) and part != "parameters":
                raise RecorderError(f"{run.name}: {part} belongs to a step; call record(step, {part}=...)")
            if (run.name, step, part) in self._done:
                raise RecorderError(
                    f"{run.name}/{step}: {part} was recorded already; record each part of a step once, and start again"
                    " with Recorder(fresh=True)"
                )
        self._start(run.pack)
        for part, thing in parts.items():
            if thing is not None:
                self._record(run, step, part, thing)
                self._done[run.name, step, part] = True

    record = __call__

    def _check_pack(self, pack: Pack) -> None:
        if self._pack is not None and self._pack.id != pack.id:
            raise RecorderError(
                f"{self.folder} is a recording of pack {self._pack.id}, but {pack.folder} is pack {pack.id};"
                " start another Recorder for it"
            )

    def _start(self, pack: Pack) -> None:
        self._pack = pack
        if not self._started:
            versions = {"recorder": VERSION, "python": sys.version.split()[0], "numpy": np.__version__}
            content = dict(format=FORMAT, pack=pack.id, whole=self._whole, **versions)
            _write_json(os.path.join(self.folder, "recording.json"), content)
            self._started = True

    def _record(self, run: Run, step: str, part: str, thing: Any) -> None:
        where = f"{run.name}/{step}: {part}"
        leaves = self._leaves(run, step, part, thing, where)
        wanted = None
        if part in SINGLE or part == "hidden":
            wanted = run.pack.wanted.get(run.name, {}).get(step, {}).get(part, {})
            leaves = _only_wanted(leaves, wanted, run.pack, part, where)
            if not leaves:
                return
        maps = step == "0" and run.pack.map is None and run.start.endswith(".npz")
        last = part == "parameters" and bool(run.steps) and step == run.steps[-1].name
        ends = last and any(other.start == run.name for other in run.pack.all_runs)
        kept: Arrays = {}

        def arrays() -> Iterator[tuple[str, np.ndarray]]:
            for name, leaf in leaves:
                label = where if name == "value" else f"{where}: {name}"
                array = as_array(leaf, label)
                if wanted is not None:
                    array = _fitting(array, tuple(wanted[name]), label)
                if maps or ends:
                    kept[name] = array
                yield name, array

        file, sketches = os.path.join(self.folder, run.name, step, f"{part}.npz"), run.pack.sketches and not wanted
        sketches = sketches and part in BY_PARAMETER
        if maps and sketches:  # names are needed before anything can be sketched
            kept = dict(arrays())
        elif not sketches:
            _write_npz(file, arrays())
        if maps:
            run.pack.map = find_map(_open(run.pack.path(run.start)), kept, getattr(run.settings, "heads", 1))
            _write_json(os.path.join(self.folder, "map.json"), run.pack.map.to_json())
        if sketches:
            if run.pack.map is None:
                raise RecorderError(f"{where}: sketches need your names; record(run, parameters=model) first")
            _write_npz(file, run.pack.map.sketched(kept.items() if maps else arrays(), self._whole))
        if ends:
            run.pack.left[run.name] = kept

    def _leaves(self, run: Run, step: str, part: str, thing: Any, where: str) -> Leaves:
        """Names and things of a part."""
        if part in SINGLE:
            return [("value", thing)]
        loaded = self._loaded.get(run.name)
        if part in ("gradients", "clipped"):
            leaves = _gradients(thing, loaded, where)
        else:
            leaves = list(_named(_hidden(thing) if part == "hidden" else thing, where))
        if not leaves:
            raise RecorderError(f"{where}: {type(thing).__name__} holds no array; pass a dict of arrays by name")
        leaves = _numbered(leaves)
        if part == "parameters" and step == "0":
            loaded = self._loaded[run.name] = _Loaded(leaves)
            self._first = self._first or loaded.shapes
            if list(loaded.shapes.values()) == list(self._first.values()) and set(loaded.shapes) != set(self._first):
                # A second model of Keras has the same layers by other names.
                loaded.aliases = dict(zip(loaded.shapes, self._first))
        if loaded and part in ("parameters", "gradients", "clipped"):
            if not any(name in loaded.shapes for name, _ in leaves):
                raise RecorderError(
                    f"{where}: no name is one of the parameters recorded for {run.name}: {leaves[0][0]}, but"
                    f" {next(iter(loaded.shapes))}; record all under the same names"
                )
            leaves = [(loaded.aliases.get(name, name), leaf) for name, leaf in leaves]
        return leaves


class _Loaded:
    """Parameters of a run as they were first recorded: their names, order and identity."""

    def __init__(self, leaves: Leaves) -> None:
        self.shapes = {name: _shape(leaf) for name, leaf in leaves}
        self.trained = [name for name, leaf in leaves if getattr(leaf, "trainable", True) is not False]
        self.names = {id(leaf): name for name, leaf in leaves}
        self.aliases: dict[str, str] = {}
        """Name in the first run of each, if it has another one here."""

    def named(self, gradients: Sequence[Any], where: str) -> Leaves:
        """Gives a plain list of gradients the parameters' names. Raises RecorderError if they do not fit in number or
        shape."""
        for names in (list(self.shapes), self.trained):
            if len(names) == len(gradients):
                break
        else:
            raise RecorderError(
                f"{where}: a list of {len(gradients)} arrays without names, for {len(self.shapes)} parameters; pass a"
                " dict by name, or (gradient, variable) pairs"
            )
        for name, gradient in zip(names, gradients):
            if gradient is not None and _shape(gradient) not in ((), self.shapes[name]):
                raise RecorderError(
                    f"{where}: the list has shape {list(_shape(gradient))} for {name} of shape"
                    f" {list(self.shapes[name])}; pass a dict by name, or (gradient, variable) pairs"
                )
        return [(name, gradient) for name, gradient in zip(names, gradients) if gradient is not None]


def _only_wanted(leaves: Leaves, wanted: Mapping[str, Any], pack: Pack, part: str, where: str) -> Leaves:
    """The leaves that the pack wants in this step. Raises RecorderError for a name that it wants in no step."""
    known = {name: 1 for run in pack.wanted.values() for step in run.values() for name in step.get(part, ())}
    for name, _ in leaves:
        if name not in known:
            raise RecorderError(f"{where}: {name} is not in {pack.path('wanted.json')}; names are {', '.join(known)}")
    return [(name, leaf) for name, leaf in leaves if name in wanted]


def _fitting(array: np.ndarray, shape: tuple[int, ...], label: str) -> np.ndarray:
    """The array in the wanted shape. A wanted number may have come as an array of one entry."""
    if array.shape == shape or (array.size == 1 and shape == ()):
        return array.reshape(shape)
    remedy = "take the mean over the batch" if shape == () else "reshape it"
    raise RecorderError(f"{label} has shape {list(array.shape)}, wanted is {list(shape)}; {remedy}")


# Names of what is given.


def _named(thing: Any, where: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the name and the array-like of each leaf of a model, dict, list or pytree. None has none."""
    if thing is None:
        return
    if _is_array(thing):
        yield prefix or "value", thing
        return
    for key, part in _children(thing, where):
        if part is not None:
            key = re.sub(r":0$|_orig_mod\.", "", key)  # of TensorFlow, and of torch.compile
            yield from _named(part, where, f"{prefix}/{key}" if prefix else key)


def _children(thing: Any, where: str) -> Iterable[tuple[str, Any]]:
    if callable(getattr(thing, "trainable_parameters", None)) and callable(getattr(thing, "parameters", None)):
        return thing.parameters().items()  # MLX's module
    for variables in (getattr(thing, "weights", None), getattr(thing, "trainable_variables", None)):
        if isinstance(variables, (list, tuple)) and hasattr(thing, "trainable_variables"):
            return [(_name(variable) or str(n), variable) for n, variable in enumerate(variables)]
    if callable(getattr(thing, "named_parameters", None)):
        return thing.named_parameters()
    if callable(getattr(thing, "_collect_params_with_prefix", None)):
        return thing._collect_params_with_prefix().items()  # MXNet's block
    if callable(getattr(thing, "items", None)):
        return [(str(key), part) for key, part in thing.items()]
    if hasattr(thing, "_fields"):
        return zip(thing._fields, thing)
    if isinstance(thing, (list, tuple)):
        if all(isinstance(one, (list, tuple)) and len(one) == 2 and isinstance(one[0], str) for one in thing):
            return thing
        return [(_name(part) or str(n), part) for n, part in enumerate(thing)]
    if dataclasses.is_dataclass(thing):
        return [(field.name, _arrays_only(getattr(thing, field.name))) for field in dataclasses.fields(thing)]
    raise RecorderError(f"{where}: {type(thing).__name__} does not become an array; pass arrays by name in a dict")


def _arrays_only(thing: Any) -> Any:
    """None for what a module of equinox keeps beside its arrays: functions and sizes."""
    if isinstance(thing, (str, int, float)) or (callable(thing) and not dataclasses.is_dataclass(thing)):
        return None
    return thing


def _is_array(thing: Any) -> bool:
    if isinstance(thing, (np.ndarray, np.generic, int, float)) or _is_sliced(thing):
        return True
    if hasattr(thing, "shape") and hasattr(thing, "dtype"):
        return True
    return any(hasattr(thing, name) for name in ("__array__", "__dlpack__", "__array_interface__", "numpy", "asnumpy"))


def _is_sliced(thing: Any) -> bool:
    """Whether it is TensorFlow's IndexedSlices, or TF1's IndexedSlicesValue."""
    return all(hasattr(thing, name) for name in ("values", "indices", "dense_shape"))


def _name(variable: Any) -> str:
    """The name of a framework's variable, without the :0 of TensorFlow; empty if it has none."""
    for attribute in ("path", "name"):
        name = getattr(variable, attribute, None)
        if isinstance(name, str) and name:
            return name[:-2] if name.endswith(":0") else name
    return ""


def _numbered(leaves: Leaves) -> Leaves:
    """Names made unlike: the second `kernel` becomes `kernel#2`."""
    seen: Counter[str] = Counter()
    numbered = []
    for name, leaf in leaves:
        seen[name] += 1
        numbered.append((name if seen[name] == 1 else f"{name}#{seen[name]}", leaf))
    return numbered


def _gradients(thing: Any, loaded: _Loaded | None, where: str) -> Leaves:
    """Names and gradients of a model that holds them, of pairs with variables, of a plain list, or of a tree."""
    is_list = isinstance(thing, (list, tuple)) and not hasattr(thing, "_fields")
    if is_list and all(isinstance(one, (list, tuple)) and len(one) == 2 and _name(one[1]) for one in thing):
        names = loaded.names if loaded else {}
        pairs = []
        for gradient, variable in thing:
            name = _name(variable)
            known = names.get(id(variable), "")
            pairs.append((known if known.split("#")[0] == name else name, gradient))
        return [(name, gradient) for name, gradient in pairs if gradient is not None]
    if is_list and all(one is None or _is_array(one) for one in thing):
        if loaded is None:
            raise RecorderError(
                f"{where}: a list without names; record(run, parameters=model) first, or pass a dict by name"
            )
        return loaded.named(thing, where)
    leaves = list(_named(thing, where))
    if not any(hasattr(thing, name) for name in ("named_parameters", "trainable_variables", "collect_params")):
        return leaves
    found = [(name, _gradient_of(leaf)) for name, leaf in leaves]
    if all(gradient is None for _, gradient in found):
        raise RecorderError(
            f"{where}: no parameter of {type(thing).__name__} holds a gradient; call record after the backward pass, or"
            " pass a list in the order of the parameters"
        )
    return [(name, gradient) for name, gradient in found if gradient is not None]


def _gradient_of(parameter: Any) -> Any:
    """The gradient that a parameter of torch, Paddle, MXNet or Keras on torch holds, or None."""
    for holder in (parameter, getattr(parameter, "value", None)):
        gradient = getattr(holder, "grad", None)
        if callable(gradient):
            return None if getattr(parameter, "grad_req", "") == "null" else gradient()
        if gradient is not None:
            return gradient
    return None


def _hidden(thing: Any) -> Any:
    """Hidden states under the pack's names: of a tuple, or of an output of transformers."""
    read: Any = thing.get if isinstance(thing, Mapping) else lambda name: getattr(thing, name, None)
    if read("hidden_states") is not None:
        return dict(_hidden(tuple(read("hidden_states"))), pooled=read("pooler_output"))
    if isinstance(thing, (list, tuple)) and not hasattr(thing, "_fields") and thing:
        return {"embeddings": thing[0], "layers": list(thing[1:])}
    return thing


PLACES = {
    "embeddings": r"(.*[./])?embeddings(_dropout)?",
    "layers": r"(.*[./])?(transformer_)?(layers?|h|blocks|transformer_cells)[./_]+\d+",
    "pooled": r"(.*[./])?(pooler|pooled_dense|pre_classifier)",
}


def name_layers(paths: Iterable[str], **patterns: str) -> dict[str, str]:
    """The name in `hidden` of each path of a module that gives a hidden state. The patterns `embeddings`, `layers` and
    `pooled` are regular expressions of whole paths; `layers` ends in the layer's number. Without one, usual names are
    looked for. Raises RecorderError if a pattern matches nothing."""
    paths = sorted(paths, key=len)
    found: dict[str, str] = {}
    for name, usual in PLACES.items():
        places = [path for path in paths if re.fullmatch(patterns.get(name) or usual, path)]
        if patterns.get(name) and not places:
            raise RecorderError(f"{name}: no path matches {patterns[name]}; paths are {', '.join(paths[:40])}")
        if name == "layers":
            stem = re.sub(r"\d+$", "", places[0]) if places else ""
            layers = [path for path in places if re.sub(r"\d+$", "", path) == stem]
            layers.sort(key=lambda path: int(path[len(stem) :] or 0))
            found.update((path, f"layers/{n}") for n, path in enumerate(layers))
        elif places:
            found[places[0]] = name
    return found


# Arrays.


def as_array(thing: Any, what: str) -> np.ndarray:
    """A contiguous copy of anything that becomes an array: integers and float64 in their type, other floats in float32.
    Raises RecorderError."""
    try:
        array = _plain(thing)
        if array.dtype.kind == "V" and array.dtype.fields is None:
            array = array.astype(np.float32)  # bfloat16 of ml_dtypes
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RecorderError(
            f"{what}: {type(thing).__name__} does not become an array ({reason}); pass an array of numpy"
        ) from None
    if array.dtype.kind not in "biuf":
        raise RecorderError(
            f"{what}: {type(thing).__name__} does not become an array of numbers, but of {array.dtype};"
            " pass an array of numpy"
        )
    wide = array.dtype.kind == "f" and array.dtype.itemsize >= 8
    dtype = np.dtype(np.float64 if wide else np.float32) if array.dtype.kind == "f" else array.dtype.newbyteorder("=")
    return np.array(array, dtype=dtype, order="C", copy=True)


def _plain(thing: Any) -> np.ndarray:
    if _is_sliced(thing):
        return _dense(thing)
    if isinstance(thing, (np.ndarray, np.generic, int, float)):
        return np.asarray(thing)
    if callable(getattr(thing, "list_data", None)):
        thing = thing.data()  # MXNet's parameter
    for method, applies in (
        ("detach", True),
        ("full_tensor", True),
        ("to_dense", getattr(thing, "is_sparse", False) is True),
        ("cpu", not type(thing).__module__.startswith("tensorflow")),  # deprecated there, and numpy() does it
    ):
        if applies and callable(getattr(thing, method, None)):
            thing = getattr(thing, method)()
    if re.search("bfloat16|float8", str(getattr(thing, "dtype", ""))):
        if callable(getattr(thing, "float", None)):
            thing = thing.float()
        elif type(thing).__module__.split(".")[0] == "paddle":
            thing = thing.astype("float32")  # its numpy() gives the bits
        elif type(thing).__module__.split(".")[0] == "mlx":
            thing = thing.astype(sys.modules["mlx.core"].float32)
    for method in ("asnumpy", "numpy"):
        if callable(getattr(thing, method, None)):
            return np.asarray(getattr(thing, method)())
    if hasattr(thing, "__dlpack__") and not hasattr(thing, "__array__"):
        return np.from_dlpack(thing) if hasattr(np, "from_dlpack") else np.asarray(thing)
    return np.asarray(thing)


def _dense(slices: Any) -> np.ndarray:
    """The dense array of IndexedSlices; rows that are repeated are summed."""
    values, rows = as_array(slices.values, "values"), as_array(slices.indices, "indices")
    if slices.dense_shape is None:
        raise ValueError("IndexedSlices without dense_shape; call tf.convert_to_tensor")
    dense = np.zeros(tuple(as_array(slices.dense_shape, "dense_shape")), values.dtype)
    np.add.at(dense, rows, values)
    return dense


def _shape(leaf: Any) -> tuple[int, ...]:
    """The shape, or () if it is not known."""
    try:
        return tuple(int(n) for n in leaf.shape)
    except (AttributeError, TypeError, ValueError):
        return ()


# Files.


def _claim(folder: str, fresh: bool) -> None:
    """Takes an empty or missing folder for a recording; with `fresh` also that of an earlier one. Only files that a
    recorder writes are removed."""
    if not os.path.isdir(folder) or not os.listdir(folder):
        return
    if not os.path.isfile(os.path.join(folder, "recording.json")):
        raise RecorderError(f"{folder} is not empty and holds no recording; pass an empty or a new folder")
    if not fresh:
        raise RecorderError(
            f"{folder} holds an earlier recording; pass Recorder(fresh=True) to replace it, or another folder"
        )
    for base, _, files in os.walk(folder, topdown=False):
        depth = len(os.path.relpath(base, folder).split(os.sep)) if base != folder else 0
        written = r"recording\.json|map\.json" if depth == 0 else r".+\.npz(\.\d+)?" if depth == 2 else ""
        for name in files:
            if re.fullmatch(written, name):
                os.remove(os.path.join(base, name))
        if depth and not os.listdir(base):
            os.rmdir(base)
    if os.listdir(folder):
        raise RecorderError(f"{folder} holds {os.listdir(folder)[0]}, which no recorder wrote; remove it")


def _write_npz(path: str, arrays: Iterable[tuple[str, np.ndarray]]) -> None:
    """Writes arrays one by one, whole or not at all. np.savez holds all at once, and takes no array named `file`."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    partial = f"{path}.{os.getpid()}"
    try:
        with zipfile.ZipFile(partial, "w") as file:
            for name, array in arrays:
                with file.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def _write_json(path: str, content: Mapping[str, Any]) -> None:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    partial = f"{path}.{os.getpid()}"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
    os.replace(partial, path)


def _read_json(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except FileNotFoundError:
        raise RecorderError(
            f"{path} is missing; write a pack by python -m benchmarks.port pack, and set CONCORD_PACK to its folder"
        ) from None
    except ValueError as error:
        raise RecorderError(f"{path} is not valid JSON ({error}); write the pack again") from None
    if not isinstance(content, dict):
        raise RecorderError(f"{path} holds no JSON object; write the pack again")
    return content


def _open(path: str) -> Mapping[str, np.ndarray]:
    """Arrays of an npz file, each read when it is asked for."""
    try:
        file: Mapping[str, np.ndarray] = np.load(path, allow_pickle=False)
        return file
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise RecorderError(f"{path} cannot be read ({error}); write the pack again") from None


def _load(path: str) -> Arrays:
    file = _open(path)
    return {name: file[name] for name in file}


# The map, by value.


class Map:
    """Says which of the port's arrays each of the pack's is, and in which layout."""

    def __init__(
        self,
        entries: dict[str, Entry],
        ambiguous: Sequence[str] = (),
        unmatched: Sequence[dict[str, Any]] = (),
        missing: Sequence[str] = (),
        copies: dict[str, str] | None = None,
    ) -> None:
        self.entries = entries
        """Entries by the pack's name: `from`, the port's name; `split`, a shape to give it first; `take`, [axis, index]
        to keep of that; `transpose`, the axes' order; `shape`, the pack's; `covers`, if only a front of the pack's
        array is there; `note`."""
        self.ambiguous = list(ambiguous)
        """The pack's names whose values others share. They were told apart by names."""
        self.unmatched = list(unmatched)
        """The port's arrays that are no parameter of the pack: `name`, the index of the `part` of a fused array, else
        -1, and `nearest` of the pack's with as many entries, its largest `difference`, the `entry` that would map it;
        these are null if there is none."""
        self.missing = list(missing)
        """The pack's names that no array of the port has."""
        self.copies = copies or {}
        """The port's arrays whose values are those of a parameter that another array was mapped to."""

    def apply(self, arrays: Mapping[str, np.ndarray]) -> Arrays:
        """The arrays (parameters, or gradients) under the pack's names and in its layout, as far as they are there. Of
        a parameter that the port has cut, only the front of each axis. Raises RecorderError if a shape does not fit."""
        return {
            name: _mapped(name, entry, arrays[entry["from"]])
            for name, entry in self.entries.items()
            if entry["from"] in arrays
        }

    def sketched(
        self, arrays: Iterable[tuple[str, np.ndarray]], whole: Sequence[str]
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Sketches of the arrays under the pack's names, and under the port's the arrays that parameters in `whole` are
        of. Raises RecorderError for a parameter that the port has cut, which no sketch can tell."""
        targets: dict[str, list[str]] = defaultdict(list)
        for name, entry in self.entries.items():
            if "covers" in entry:
                raise RecorderError(f"{entry['from']} is cut; use a pack made with --sketches no")
            targets[entry["from"]].append(name)
        for port, array in arrays:
            for name in targets[port]:
                yield SKETCH + name, sketch(_mapped(name, self.entries[name], array), name)
            if any(name in whole for name in targets[port]):
                yield port, array

    def to_json(self) -> dict[str, Any]:
        """The map as `from_json` reads it."""
        return dict(vars(self), format=FORMAT)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Map:
        """Reads what `to_json` gave."""
        if content.get("format", 0) > FORMAT:
            raise RecorderError(f"the map has format {content['format']}, this recorder reads {FORMAT}; map again")
        names = ("entries", "ambiguous", "unmatched", "missing", "copies")
        return Map(**{name: content[name] for name in names if name in content})


def sketch(array: np.ndarray, name: str) -> np.ndarray:
    """An array in 66 numbers, float64: the sums of 64 blocks of its entries, each with a sign drawn by the name; the
    Euclidean norm; the largest size of an entry. The squares of the sums add up to the squared norm on average, and so
    do those of a difference of two arrays, whose sketches differ by its sums (AMS sketch, Alon, Matias and Szegedy
    1996)."""
    flat = np.asarray(array).reshape(-1)
    random = np.random.RandomState(zlib.crc32(name.encode("utf-8")))
    found = np.zeros(BLOCKS + 2)
    for block in range(BLOCKS):
        part = flat[flat.size * block // BLOCKS : flat.size * (block + 1) // BLOCKS].astype(np.float64)
        bits = np.unpackbits(np.frombuffer(random.bytes(part.size // 8 + 1), np.uint8))[: part.size]
        found[block] = np.where(bits, part, -part).sum()
        found[BLOCKS] += np.square(part).sum()
        found[BLOCKS + 1] = max(found[BLOCKS + 1], np.abs(part).max()) if part.size else found[BLOCKS + 1]
    found[BLOCKS] = np.sqrt(found[BLOCKS])
    return found


def find_map(pack_arrays: Mapping[str, np.ndarray], port_arrays: Mapping[str, np.ndarray], heads: int) -> Map:
    """Finds which of the port's arrays each of the pack's is, by value.

    An array of the port may be the pack's with its axes in any order, with an axis split into [heads, d] or
    [d, heads], or flattened; several of the pack's in one, along any axis, in blocks, element by element or head by
    head; longer than the pack's or cut. Values may be rounded to bfloat16 or float16. One array of the pack is held at
    a time, so that `pack_arrays` may read from a disk.
    """
    search = _Search(pack_arrays, port_arrays, heads)
    for rounding in ("", "bfloat16", "float16"):
        search.match(rounding)
    search.match_cut()
    return search.result()


def _mapped(name: str, entry: Entry, array: np.ndarray) -> np.ndarray:
    shape = tuple(entry["shape"])
    try:
        whole = array.reshape(entry.get("split", array.shape))
        if "take" in entry:
            axis, index = entry["take"]
            whole = whole[(slice(None),) * axis + (index,)]
        whole = whole.transpose(entry.get("transpose", range(whole.ndim)))
        return whole.reshape(shape) if whole.size == _count(shape) else whole[_front(shape)]
    except (ValueError, IndexError):
        fault = f"has shape {list(array.shape)}, which the map's entry does not fit; record it as the parameter is"
        raise RecorderError(f"{entry['from']}, the pack's {name}, {fault}") from None


def _count(shape: Iterable[int]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count


def _front(shape: Iterable[int]) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in shape)


def _float32(array: np.ndarray) -> np.ndarray:
    """Contiguous, of at least one axis."""
    return np.ascontiguousarray(np.atleast_1d(array), dtype=np.float32)


def _rounded(values: np.ndarray, kind: str) -> np.ndarray:
    """float32 values rounded to another type, as float32. They stay as they are if `kind` is empty."""
    if kind == "float16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(np.float32)
    if kind == "bfloat16":
        bits = values.view(np.uint32)
        return ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)
    return values


def _signature(values: np.ndarray) -> tuple[int, Any]:
    """A value that does not depend on the layout: the number of entries with the sum of their bits, or with the value
    if all are equal."""
    flat = values.reshape(-1)
    if (flat[:64] == flat[0]).all() and (flat == flat[0]).all():
        return flat.size, float(flat[0])
    return flat.size, (int((flat + np.float32(0)).view(np.uint32).sum(dtype=np.uint64)),)


def _constant(signature: tuple[int, Any]) -> bool:
    return isinstance(signature[1], float)


def _places(size: int) -> np.ndarray:
    """Some entries to look at first: the first few, and some anywhere."""
    return np.concatenate([np.arange(8) % size, np.random.RandomState(0).randint(0, size, 56)])


Dims = Sequence[Sequence[int]]
"""The axes that each axis of an array is split into."""


def _orders(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every order of the axes, the present one first. Axes of one entry are not moved about."""
    long = [axis for axis, n in enumerate(shape) if n > 1]
    yield tuple(range(len(shape)))
    for order in itertools.islice(itertools.permutations(long), 1, None):
        yield order + tuple(axis for axis, n in enumerate(shape) if n <= 1)


def _layouts(shape: Sequence[int], target: Sequence[int], heads: int) -> Iterator[tuple[Dims, tuple[int, ...]]]:
    """Every way to split axes and then order them, the plainest first."""
    plain = tuple((n,) for n in shape)
    yield from ((plain, order) for order in _orders(shape))
    choices: list[list[tuple[int, ...]]] = [[(n,)] for n in shape]
    for n, ways in zip(shape, choices):
        if 1 < heads < n and n % heads == 0:
            ways += [(heads, n // heads), (n // heads, heads)]
    if len(shape) == 1:
        choices[0] += itertools.permutations(target)
    for dims in itertools.product(*choices):
        flat = [n for part in dims for n in part]
        if dims != plain and len(flat) <= 6:
            yield from ((dims, order) for order in _orders(flat))


def _arranged(values: np.ndarray, dims: Dims, order: tuple[int, ...]) -> np.ndarray:
    return values.reshape([n for part in dims for n in part]).transpose(order)


def _part(values: np.ndarray, split: Sequence[int], axis: int, part: int) -> np.ndarray:
    return np.ascontiguousarray(values.reshape(split)[(slice(None),) * axis + (part,)])


def _fused(shape: Sequence[int], parts: int, heads: int) -> Iterator[tuple[list[int], int, str]]:
    """Every shape that has an axis of so many parts, that axis, and a word for the way."""
    for axis, n in enumerate(shape):
        size = n // parts
        ways = [("in blocks", [parts, size], 0), ("interleaved by element", [size, parts], 1)]
        if heads > 1 and size % heads == 0:
            ways.insert(1, ("interleaved by head", [heads, parts, size // heads], 1))
        if n == parts:
            ways = [("apart" if axis else "stacked", [parts], 0)]
        for way, dims, at in ways:
            if n % parts == 0:
                yield [*shape[:axis], *dims, *shape[axis + 1 :]], axis + at, f"{parts} {way}"


@dataclasses.dataclass
class _Offer:
    """One array of the pack that the port's array, or a part of it, equals."""

    key: tuple[str, int]
    """The port's name, and the part's index or -1."""
    pack: str
    entry: Entry


class _Search:
    """A search, and the matches so far. Arrays of the port that hold integers are no parameters."""

    def __init__(self, pack: Mapping[str, np.ndarray], port: Mapping[str, np.ndarray], heads: int) -> None:
        self.pack, self.heads = pack, heads
        self.port = {name: array for name, array in port.items() if array.dtype.kind == "f" and array.size}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.samples: dict[str, np.ndarray] = {}
        self.entries: dict[str, Entry] = {}
        self.used: dict[tuple[str, int], str] = {}
        self.ambiguous: list[str] = []
        self.copies: dict[str, str] = {}
        self.ways: dict[tuple[str, ...], str] = {}
        """How the arrays of a module are fused, by its words: what tells for a bias that is all zero."""
        self.fused: dict[str, tuple[Sequence[int], int]] = {}
        """The shape and the axis of the parts of each fused array."""

    def values(self, name: str) -> np.ndarray:
        return _float32(self.port[name])

    def wanted(self, name: str, rounding: str = "") -> np.ndarray:
        return _rounded(_float32(self.pack[name]), rounding)

    def open(self) -> list[str]:
        """The port's names that nothing was found for."""
        taken = {name for name, _ in self.used} | set(self.copies)
        return [name for name in self.port if name not in taken]

    def match(self, rounding: str) -> None:
        """Finds arrays that are the pack's in another layout, or several of the pack's in one."""
        names = [name for name in self.open() if not rounding or self._is_rounded(name, rounding)]
        if not names:
            return
        index: dict[tuple[int, Any], list[str]] = defaultdict(list)
        for target in self.pack:
            if target not in self.entries:
                wanted = self.wanted(target, rounding)
                index[_signature(wanted)].append(target)
                self.shapes[target] = np.shape(self.pack[target]) if wanted.shape == (1,) else wanted.shape
                self.samples.setdefault(target, wanted.reshape(-1)[_places(wanted.size)])
        signatures = {name: _signature(self.values(name)) for name in names}
        offers: list[_Offer] = []
        # Constant arrays last: their siblings tell how they are fused.
        for name in sorted(names, key=lambda name: _constant(signatures[name])):
            values = self.values(name)
            found = []
            if _constant(signatures[name]) and self._known_way(name):
                found = self._parts(name, values, index, rounding)
            found = found or self._offers((name, -1), values, signatures[name], index, rounding)
            offers += found or self._parts(name, values, index, rounding)
        self.settle(offers, rounding)

    def _known_way(self, name: str) -> str:
        """How another array of its module is fused, or how layers are stacked elsewhere in the port, if it may be."""
        stacked = f"{len(self.values(name))} stacked"
        return self.ways.get(tuple(_words(name)[:-1])) or (stacked if stacked in self.ways.values() else "")

    def _is_rounded(self, name: str, rounding: str) -> bool:
        values = self.values(name)
        return bool((_rounded(values, rounding) == values).all())

    def _offers(
        self,
        key: tuple[str, int],
        values: np.ndarray,
        signature: tuple[int, Any],
        index: Mapping[tuple[int, Any], list[str]],
        rounding: str,
        split: Sequence[int] = (),
        axis: int = 0,
    ) -> list[_Offer]:
        """Arrays of the pack that the values are. If they are a part, `split` and `axis` say of which shape."""
        offers = []
        plain = tuple((n,) for n in values.shape), tuple(range(values.ndim))
        for target in index.get(signature, ()):
            found: Any = plain if _constant(signature) else self._layout(values, self.wanted(target, rounding))
            if found:
                dims, order = found
                entry = self._entry(key, target, dims, order, split, axis)
                offers.append(_Offer(key, target, entry))
        return offers

    def _layout(self, values: np.ndarray, wanted: np.ndarray) -> tuple[Dims, tuple[int, ...]] | None:
        places = _places(wanted.size)
        sample = wanted.reshape(-1)[places]
        for dims, order in _layouts(values.shape, wanted.shape, self.heads):
            arranged = _arranged(values, dims, order)
            likely = (arranged[np.unravel_index(places, arranged.shape)] == sample).all()
            if likely and np.array_equal(arranged, wanted.reshape(arranged.shape)):
                return dims, order
        return None

    def _entry(
        self,
        key: tuple[str, int],
        target: str,
        dims: Dims,
        order: tuple[int, ...],
        split: Sequence[int] = (),
        axis: int = 0,
    ) -> Entry:
        name, part = key
        entry: Entry = {"from": name}
        flat = [n for one in dims for n in one]
        notes = []
        if part >= 0:
            at = sum(len(one) for one in dims[:axis])
            entry["take"] = [at, part]
            notes.append(f"part {part + 1} of {split[axis]}")
            flat.insert(at, split[axis])
        if flat != list(self.port[name].shape):
            entry["split"] = flat
            notes.append(f"as {flat}")
        if order != tuple(range(len(order))):
            entry["transpose"] = list(order)
            notes.append("transposed")
        entry["shape"] = list(self.shapes[target])
        entry["note"] = ", ".join(notes) or "as it is"
        return entry

    def _parts(
        self, name: str, values: np.ndarray, index: Mapping[tuple[int, Any], list[str]], rounding: str
    ) -> list[_Offer]:
        """Arrays of the pack that are parts of this one, in the way that finds most parts."""
        sizes = {size for size, _ in index}
        constant, known = _constant(_signature(values)), self._known_way(name)
        best: tuple[Any, list[_Offer]] = ((0, 0), [])
        for parts in sorted({2, 3, *(n for n in values.shape if 1 < n <= 128)}):
            if values.size % parts or values.size // parts not in sizes:
                continue
            for split, axis, way in _fused(values.shape, parts, self.heads):
                found: list[_Offer] = []
                telling: set[str] = set()
                for part in range(parts):
                    piece = _part(values, split, axis, part)
                    signature = _signature(piece)
                    offers = self._offers((name, part), piece, signature, index, rounding, split, axis)
                    found += offers
                    if constant or not _constant(signature):
                        telling.update(offer.pack for offer in offers)
                count = min(len({offer.key for offer in found}), len(telling))
                # The values tell, or if they are all equal what is known of others.
                rank = (way == known, count) if constant else (count, way == known)
                if count and rank > best[0]:
                    best = (rank, found)
                    self.fused[name] = (split, axis)
                    if not constant:
                        self.ways[tuple(_words(name)[:-1])] = way
        return best[1]

    def match_cut(self) -> None:
        """Finds arrays that are longer than the pack's, or have only the front of its axes."""
        offers = []
        for name, target in itertools.product(self.open(), self.pack):
            values, shape = self.port[name], self.shapes.get(target, ())
            if target in self.entries or len(shape) != values.ndim or values.size == _count(shape):
                continue
            for order in itertools.permutations(range(values.ndim)):
                arranged = values.transpose(order)
                front = _front(min(one, other) for one, other in zip(arranged.shape, shape))
                count = _count(one.stop for one in front)
                first = min(8, front[-1].stop)
                corner = arranged[(0,) * (arranged.ndim - 1)][:first]
                likely = np.allclose(corner, self.samples[target][:first], rtol=0.01, atol=1e-6)
                if likely and count > 1 and min(values.size, _count(shape)) <= 2 * count:
                    entry = self._cut(name, target, order, front)
                    offers += [_Offer((name, -1), target, entry)] if entry else []
        self.settle(offers, "")

    def _cut(self, name: str, target: str, order: tuple[int, ...], front: tuple[slice, ...]) -> Entry | None:
        values, wanted = _float32(self.port[name].transpose(order)[front]), self.wanted(target)[front]
        for rounding in ("", "bfloat16", "float16"):
            if np.array_equal(values, _rounded(_float32(wanted), rounding)) and not _constant(_signature(values)):
                dims = tuple((n,) for n in self.port[name].shape)
                entry = self._entry((name, -1), target, dims, order)
                if wanted.shape != self.shapes[target]:
                    entry["covers"] = list(wanted.shape)
                entry["note"] += f", the first {list(wanted.shape)} of {list(self.port[name].shape)}"
                entry["note"] += f", rounded to {rounding}" if rounding else ""
                return entry
        return None

    def settle(self, offers: Sequence[_Offer], rounding: str) -> None:
        """Takes offers that have no rival, then the rest by the likeness of names, the likest first."""
        of_key, of_pack = Counter(offer.key for offer in offers), Counter(offer.pack for offer in offers)
        rest = []
        for offer in offers:
            if rounding:
                offer.entry["note"] += f", rounded to {rounding}"
            if of_key[offer.key] == of_pack[offer.pack] == 1:
                self._take(offer)
            else:
                rest.append(offer)
        # The key is a pair: arrays whose neighbours are known come first.
        likeness = _Likeness(self.used)
        for offer in sorted(rest, key=likeness.of, reverse=True):
            if offer.pack not in self.entries and offer.key not in self.used:
                if of_key[offer.key] > 1:
                    self.ambiguous.append(offer.pack)
                    offer.entry["note"] += f", one of {of_key[offer.key]} equal ones, chosen by name"
                self._take(offer)
        for offer in rest:
            if offer.key not in self.used:
                self.copies.setdefault(offer.key[0], offer.pack)

    def _take(self, offer: _Offer) -> None:
        self.entries[offer.pack] = offer.entry
        self.used[offer.key] = offer.pack

    def result(self) -> Map:
        """The map, and what is left over on either side."""
        missing = [name for name in self.pack if name not in self.entries]
        entries = {name: self.entries[name] for name in self.pack if name in self.entries}
        unmatched = [self._nearest((name, -1), missing) for name in self.open()]
        for name in dict.fromkeys(name for name, part in self.used if part >= 0):
            split, axis = self.fused[name]
            rest = [(name, part) for part in range(split[axis]) if (name, part) not in self.used]
            unmatched += [self._nearest(key, missing, split, axis) for key in rest]
        return Map(entries, self.ambiguous, unmatched, missing, self.copies)

    def _nearest(
        self, key: tuple[str, int], missing: Sequence[str], split: Sequence[int] = (), axis: int = 0
    ) -> dict[str, Any]:
        """An array of the port, or a part of one, that is none of the pack's, with the one that it is nearest to in
        most of its entries: one that is missing, if one of this size is."""
        name, part = key
        values = self.values(name) if part < 0 else _part(self.values(name), split, axis, part)
        places = _places(values.size)
        same = [target for target, shape in self.shapes.items() if _count(shape) == values.size]
        best: tuple[float, Any] = (np.inf, None)
        for target in [one for one in same if one in missing] or same:
            for dims, order in itertools.islice(_layouts(values.shape, self.shapes[target], self.heads), 24):
                arranged = _arranged(values, dims, order)
                picked = arranged[np.unravel_index(places, arranged.shape)]
                distance = float(np.median(np.abs(picked - self.samples[target])))
                if distance < best[0]:
                    best = (distance, (target, dims, order, arranged))
        if best[1] is None:
            return {"name": name, "part": part, "nearest": None, "difference": None, "entry": None}
        target, dims, order, arranged = best[1]
        difference = float(np.abs(arranged - self.wanted(target).reshape(arranged.shape)).max())
        entry = self._entry(key, target, dims, order, split, axis)
        return {"name": name, "part": part, "nearest": target, "difference": difference, "entry": entry}


SAME_WORDS = {"gamma": "weight", "scale": "weight", "kernel": "weight", "beta": "bias"}


def _words(name: str) -> list[str]:
    """The words and numbers of a name, in the pack's terms."""
    name = re.sub("layer_?norm(alization)?", "norm", name.lower())
    return [SAME_WORDS.get(word, word) for word in re.findall("[a-z]+|[0-9]+", name)]


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Number of words that both begin with."""
    count = 0
    for mine, yours in zip(one, other):
        if mine != yours:
            break
        count += 1
    return count


class _Likeness:
    """How well a port's name fits one of the pack's, from the names that were found by value."""

    def __init__(self, found: Mapping[tuple[str, int], str]) -> None:
        self.found = [(self._key(key), _words(name)) for key, name in found.items()]
        self.near: dict[tuple[str, int], tuple[float, list[list[str]]]] = {}

    @staticmethod
    def _key(key: tuple[str, int]) -> list[str]:
        words = _words(key[0])
        return words if key[1] < 0 else [f"part {key[1]}", *words]

    def of(self, offer: _Offer) -> tuple[float, float]:
        """How much of the port's name it shares with its neighbours; then how near the pack's name is to those of these
        neighbours, and how many words and numbers it shares with the port's."""
        words, target = self._key(offer.key), _words(offer.pack)
        if offer.key not in self.near:
            shared = [(_common(words, other), name) for other, name in self.found]
            most = max((count for count, _ in shared), default=0)
            near = [name for count, name in shared if count == most > 0][:12]
            self.near[offer.key] = (most / len(words), near)
        known, names = self.near[offer.key]
        near_by = max((_common(target, name) for name in names), default=0)
        numbers = {word for word in target if word.isdigit()} <= {*words, str(offer.key[1])}
        return known, near_by + 2 * numbers + len(set(words) & set(target)) / len(set(target))
