"""Reads and checks the weights of a HuggingFace folder.

Such a folder holds config.json, model.safetensors (or its shards with an index) and the tokenizer's files.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from shared.architecture import Architecture, Weights
from shared.checkpoint.formats import check_content, shards
from shared.checkpoint.tokenizer import files_to_hash
from shared.errors import InputError
from shared.files import from_json, hash_files
from shared.finite import all_finite
from shared.limits import HEADER
from shared.recipe import Recipe

WEIGHTS = "model.safetensors"
SHARD_INDEX = "model.safetensors.index.json"

ENCODER = {"bert": ("embeddings.", "encoder.", "pooler."), "distilbert": ("embeddings.", "transformer.")}
"""Parts of each encoder, as stored names begin after the model's own prefix (`bert.`) is taken off. A stored tensor of
another part is ignored, as transformers does; one of these that is no parameter is refused."""

BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
"""Stored tensors of the encoder that are no parameters: they count up, or hold zeros."""

HEADS = (
    "cls.",  # BERT's pre-training heads
    "vocab_transform.",
    "vocab_layer_norm.",
    "vocab_projector.",  # DistilBERT's, with the two above
    "pre_classifier.",
    "classifier.",
    "qa_outputs.",  # heads of another task, with the two above
)
"""Prefixes of stored tensors that are ignored without a word."""

WRAPPER = "module."
"""Prefix of every tensor of a model that was saved within torch's DataParallel. It is taken off."""

POOLER = ("bert.pooler.dense.weight", "bert.pooler.dense.bias")
"""Parameters that are drawn if the checkpoint stores neither of them."""


@dataclass(frozen=True)
class _Tensor:
    """A tensor stored in a file."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    """Position of its first byte in the file."""

    def read(self) -> np.ndarray:
        """Reads the values as float32. Raises InputError if one is NaN or infinite, in float32 too."""
        with self.file.open("rb") as file:
            file.seek(self.start)
            stored = np.fromfile(file, STORED_DTYPES[self.dtype], prod(self.shape)).reshape(self.shape)
        if self.dtype == "BF16":  # the upper half of a float32
            values = (stored.astype(np.uint32) << 16).view(np.float32)
        else:
            with np.errstate(over="ignore"):  # told below
                values = stored.astype(np.float32, copy=False)
        if not all_finite(values):
            place = np.argwhere(~np.isfinite(values))[0].tolist()
            kind = "NaN" if np.isnan(values[tuple(place)]) else "infinity"
            raise InputError(f"{self.file}: {self.name} holds {kind} at {place}; pass a checkpoint of finite weights")
        return values


STORED_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Types of the safetensors format that parameters may have, each with the numpy type to read it as."""


def check_weights(folder: Path, architecture: Architecture, head: bool = False) -> None:
    """Checks the headers of the weights' files, which takes milliseconds.

    Raises InputError if a file is missing or truncated, if a tensor of the encoder is missing or has another shape, and
    if a tensor of the encoder is unknown. A pooler may be missing, unless `head` asks for the head's tensors too.
    """
    _locate(folder, architecture, head, may_draw_pooler=not head)


@dataclass(frozen=True)
class Contents:
    """The tensors that a folder stores, as far as their names tell."""

    pooler: bool
    """Whether there is a pooler; False for DistilBERT, which has none."""
    labels: int | None
    """Number of labels of the stored classifier; None if there is none, or not all of it."""
    ignored: tuple[str, ...]
    """Tensors that are neither of the network nor of a known head or buffer."""


def contents(folder: Path, architecture: Architecture) -> Contents:
    """Lists what the folder stores beside the encoder, for a network of this type. Reads headers alone. Raises
    InputError as `weight_files` does, and naming a broken file."""
    tensors = {_short(t.name, architecture): t for file in weight_files(folder) for t in _read_header(file)}
    prefix = f"{architecture.model_type}."
    head = [name for name in architecture.shapes() if not name.startswith(prefix)]
    whole = all(name in tensors for name in head) and bool(tensors["classifier.weight"].shape)
    known = (*ENCODER[architecture.model_type], *HEADS)
    return Contents(
        pooler=architecture.model_type == "bert" and all(name.removeprefix(prefix) in tensors for name in POOLER),
        labels=tensors["classifier.weight"].shape[0] if whole else None,
        ignored=tuple(tensor.name for short, tensor in tensors.items() if not short.startswith(known)),
    )


def first_weights(folder: Path, architecture: Architecture, recipe: Recipe, head: tuple[int, ...] = ()) -> Weights:
    """Returns the first weights of a fine-tuning: the folder's encoder, and a head.

    `head` has the stored classifier's row for each label; if it is empty, a head is drawn from `recipe.seed`. A pooler
    that is not stored is drawn too. float32, in the order of `Architecture.shapes`. Raises InputError as
    `check_weights` and `check_finite` do.
    """
    stored = {name: t.read() for name, t in _locate(folder, architecture, bool(head), may_draw_pooler=True).items()}
    for name in ("classifier.weight", "classifier.bias"):
        if head:
            stored[name] = stored[name][list(head)]
    weights = _first_pooler(architecture, recipe) | _first_head(architecture, recipe) | stored
    return {name: weights[name] for name in architecture.shapes()}


def saved_weights(folder: Path, architecture: Architecture) -> Weights:
    """Reads every parameter of a fine-tuned folder, head included. float32, in the order of `Architecture.shapes`.
    Raises InputError as `check_weights` and `check_finite` do, for the head too."""
    return {name: tensor.read() for name, tensor in _locate(folder, architecture, head=True).items()}


def check_finite(folder: Path, architecture: Architecture) -> None:
    """Reads the weights that a fine-tuning starts from. Raises InputError naming one that holds NaN or infinity, and as
    `check_weights` does."""
    for tensor in _locate(folder, architecture, head=False, may_draw_pooler=True).values():
        tensor.read()


def checkpoint_hash(folder: Path) -> str:
    """sha256, hex, over all files that a run reads from the folder: config.json, weights and tokenizer; of
    added_tokens.json only if it makes a difference."""
    return hash_files([folder / "config.json", *weight_files(folder), *files_to_hash(folder)])


def weight_files(folder: Path) -> list[Path]:
    """Lists the safetensors files of the folder's weights. Raises InputError naming one that is missing, is empty or
    lies outside the folder."""
    if (folder / WEIGHTS).is_file():
        files = [folder / WEIGHTS]
    elif (folder / SHARD_INDEX).is_file():
        files = shards(folder / SHARD_INDEX)
    else:
        raise InputError(f"{folder} has no {WEIGHTS}; add the checkpoint's weights")
    for file in files:
        check_content(file)
    return files


def stored_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Reads the shape of every stored tensor, by its name. Raises InputError if a file is missing or broken."""
    return {tensor.name: tensor.shape for file in weight_files(folder) for tensor in _read_header(file)}


def _locate(folder: Path, architecture: Architecture, head: bool, may_draw_pooler: bool = False) -> dict[str, _Tensor]:
    """Finds the stored tensor of every parameter, in the order of `Architecture.shapes`; without `head`, of every
    parameter outside the head. With `may_draw_pooler`, a pooler that is not stored is left out. Raises InputError as
    `check_weights` does."""
    prefix = f"{architecture.model_type}."
    shapes = {name: s for name, s in architecture.shapes().items() if head or name.startswith(prefix)}
    by_short_name = {name.removeprefix(prefix): name for name in shapes}
    found: dict[str, _Tensor] = {}
    unknown: list[str] = []
    for tensor in (t for file in weight_files(folder) for t in _read_header(file)):
        short = _short(tensor.name, architecture)
        if name := by_short_name.get(short):
            if name in found:
                raise InputError(
                    f"{tensor.file}: {found[name].name} and {tensor.name} are the same parameter; keep one"
                )
            found[name] = tensor
        elif short.startswith(ENCODER[architecture.model_type]) and not short.startswith(BUFFERS):
            unknown.append(tensor.name)
    missing = [name for name in shapes if name not in found]
    if missing and not (may_draw_pooler and missing == list(POOLER)):
        if any(name.startswith(prefix) for name in missing):
            raise InputError(f"{folder} lacks the weights {_some(missing)}; pass a checkpoint that has them")
        raise InputError(
            f"{folder} lacks the weights {_some(missing)} of a classifier; fine-tune it with benchmarks.run --save and "
            "pass the saved folder"
        )
    if unknown:
        raise InputError(f"{folder} has unknown weights: {_some(unknown)}; pass a plain BERT or DistilBERT checkpoint")
    ordered = {name: found[name] for name in shapes if name in found}
    for name, tensor in ordered.items():
        _check_tensor(tensor, shapes[name])
    return ordered


def _check_tensor(tensor: _Tensor, shape: tuple[int, ...]) -> None:
    if tensor.shape != shape:
        raise InputError(
            f"{tensor.file}: {tensor.name} has shape {list(tensor.shape)} where config.json says {list(shape)}; "
            "pass a folder whose files belong together"
        )
    if tensor.dtype not in STORED_DTYPES:
        raise InputError(
            f"{tensor.file}: {tensor.name} is stored as {tensor.dtype}; store it as {', '.join(STORED_DTYPES)}"
        )


def _short(name: str, architecture: Architecture) -> str:
    """The name without the model's prefix, LayerNorm's parameters as weight and bias. gamma and beta are their names in
    old checkpoints from TensorFlow."""
    name = name.removeprefix(WRAPPER).removeprefix(f"{architecture.model_type}.")
    if name.endswith(".gamma"):
        return name.removesuffix("gamma") + "weight"
    return name.removesuffix("beta") + "bias" if name.endswith(".beta") else name


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


_Size = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class _Entry(msgspec.Struct):
    """A tensor's entry in a header."""

    dtype: str
    shape: Annotated[tuple[_Size, ...], msgspec.Meta(max_length=8)]
    data_offsets: tuple[_Size, _Size]


def _read_header(file: Path) -> list[_Tensor]:
    """Reads the header of a safetensors file.

    The file has 8 bytes with the header's length (little-endian), the header as JSON, then the data. Offsets in the
    header count from the start of the data (https://github.com/huggingface/safetensors#format). Raises InputError if
    the file is truncated or is no safetensors file.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        data_start = 8 + int.from_bytes(stream.read(8), "little")
        if not 8 < data_start <= size:
            raise InputError(f"{file} is truncated or no safetensors file; fetch it again")
        if data_start > HEADER:
            raise InputError(f"{file} has a header of {data_start:,} bytes, and {HEADER:,} are read at most")
        try:
            header = from_json(stream.read(data_start - 8), dict[str, Any])
            header.pop("__metadata__", None)
            entries = msgspec.convert(header, dict[str, _Entry])
        except ValueError:
            raise InputError(f"{file} has a broken header; fetch it again") from None
    tensors = []
    for name, entry in entries.items():
        begin, end = entry.data_offsets
        width = np.dtype(STORED_DTYPES[entry.dtype]).itemsize if entry.dtype in STORED_DTYPES else None
        if data_start + end > size or (width and end - begin != prod(entry.shape) * width):
            raise InputError(f"{file} is truncated: {name} is not whole; fetch it again")
        tensors.append(_Tensor(file, name, entry.dtype, entry.shape, data_start + begin))
    return tensors


def _first_pooler(architecture: Architecture, recipe: Recipe) -> Weights:
    """Draws a pooler as transformers does: normal(0, initializer_range), and 0 for the bias. Empty for DistilBERT."""
    # A random stream of its own, so that the head is the same with a stored pooler and without.
    random = np.random.RandomState([recipe.seed, 2])
    shapes = {name: shape for name, shape in architecture.shapes().items() if name in POOLER}
    return {name: _normal(random, name, shape, architecture.initializer_range) for name, shape in shapes.items()}


def _normal(random: np.random.RandomState, name: str, shape: tuple[int, ...], deviation: float) -> np.ndarray:
    if name.endswith(".bias"):
        return np.zeros(shape, np.float32)
    return random.normal(0.0, deviation, shape).astype(np.float32)


def _first_head(architecture: Architecture, recipe: Recipe) -> Weights:
    # A random stream of its own: the order of rows has the one that the seed alone starts.
    random = np.random.RandomState([recipe.seed, 1])
    bound = architecture.width**-0.5
    head: Weights = {}
    for name, shape in architecture.shapes().items():
        if name.startswith(f"{architecture.model_type}."):
            continue
        if recipe.head_init == "uniform":
            head[name] = random.uniform(-bound, bound, shape).astype(np.float32)
        else:
            head[name] = _normal(random, name, shape, architecture.initializer_range)
    return head
