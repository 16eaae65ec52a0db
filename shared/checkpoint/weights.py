"""Reads and checks the weights of a HuggingFace folder.

Such a folder holds config.json, model.safetensors (or its shards with an index) and the tokenizer's files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from shared.architecture import Architecture, Weights
from shared.checkpoint.tokenizer import tokenizer_files
from shared.errors import InputError
from shared.files import hash_files, read_json
from shared.recipe import Recipe

WEIGHTS = "model.safetensors"
SHARD_INDEX = "model.safetensors.index.json"
TORCH_WEIGHTS = "pytorch_model.bin"

IGNORED = (
    "cls.",  # BERT's pre-training heads
    "vocab_transform.",
    "vocab_layer_norm.",
    "vocab_projector.",  # DistilBERT's, with the two above
    "pre_classifier.",
    "classifier.",
    "qa_outputs.",  # heads of another task, with the two above
    "embeddings.position_ids",
    "embeddings.token_type_ids",  # buffers that count up or hold zeros
)
"""Prefixes of stored tensors to ignore, after the model's own prefix (`bert.`) is taken off."""


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
        """Reads the values as float32."""
        with self.file.open("rb") as file:
            file.seek(self.start)
            stored = np.fromfile(file, STORED_DTYPES[self.dtype], prod(self.shape)).reshape(self.shape)
        if self.dtype == "BF16":  # the upper half of a float32
            return (stored.astype(np.uint32) << 16).view(np.float32)
        return stored.astype(np.float32, copy=False)


STORED_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Types of the safetensors format that parameters may have, each with the numpy type to read it as."""


def check_weights(folder: Path, architecture: Architecture, head: bool = False) -> None:
    """Checks the headers of the weights' files, which takes milliseconds.

    Raises InputError if a file is missing or truncated, if a tensor of the encoder (BERT's pooler included) is missing
    or has another shape, and if a tensor is unknown: neither a parameter nor in `IGNORED`. With `head`, tensors of the
    head are checked too.
    """
    _locate(folder, architecture, head)


def first_weights(folder: Path, architecture: Architecture, recipe: Recipe) -> Weights:
    """Returns the first weights of a fine-tuning: the folder's encoder, and a head drawn from `recipe.seed`. float32,
    in the order of `Architecture.shapes`. Raises InputError as `check_weights` does."""
    weights = {name: tensor.read() for name, tensor in _locate(folder, architecture, head=False).items()}
    return weights | _first_head(architecture, recipe)


def saved_weights(folder: Path, architecture: Architecture) -> Weights:
    """Reads every parameter of a fine-tuned folder, head included. float32, in the order of `Architecture.shapes`.
    Raises InputError as `check_weights` does, for the head too."""
    return {name: tensor.read() for name, tensor in _locate(folder, architecture, head=True).items()}


def checkpoint_hash(folder: Path) -> str:
    """sha256, hex, over all files that a run reads from the folder: config.json, weights and tokenizer."""
    return hash_files([folder / "config.json", *weight_files(folder), *tokenizer_files(folder)])


def weight_files(folder: Path) -> list[Path]:
    """Lists the safetensors files of the folder's weights. Raises InputError naming one that is missing."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / SHARD_INDEX
    if not index.is_file():
        raise InputError(f"{folder} has no {WEIGHTS}; add the checkpoint's weights")
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{index} names no shards; restore the checkpoint's file")
    shards = [folder / str(name) for name in sorted(set(weight_map.values()))]
    for shard in shards:
        if not shard.is_file():
            raise InputError(f"{shard}, named in {index.name}, is missing; add it")
    return shards


def _locate(folder: Path, architecture: Architecture, head: bool) -> dict[str, _Tensor]:
    """Finds the stored tensor of every parameter, in the order of `Architecture.shapes`; without `head`, of every
    parameter outside the head. Raises InputError as `check_weights` does."""
    prefix = f"{architecture.model_type}."
    shapes = {name: s for name, s in architecture.shapes().items() if head or name.startswith(prefix)}
    by_short_name = {name.removeprefix(prefix): name for name in shapes}
    found: dict[str, _Tensor] = {}
    unknown: list[str] = []
    for tensor in (t for file in weight_files(folder) for t in _read_header(file)):
        short = _modern(tensor.name.removeprefix(prefix))
        if name := by_short_name.get(short):
            if name in found:
                raise InputError(
                    f"{tensor.file}: {found[name].name} and {tensor.name} are the same parameter; keep one"
                )
            found[name] = tensor
        elif not short.startswith(IGNORED):
            unknown.append(tensor.name)
    if missing := [name for name in shapes if name not in found]:
        if any(name.startswith(prefix) for name in missing):
            raise InputError(f"{folder} lacks the weights {_some(missing)}; pass a checkpoint that has them")
        raise InputError(
            f"{folder} lacks the weights {_some(missing)} of a classifier; fine-tune it with benchmarks.run --save and "
            "pass the saved folder"
        )
    if unknown:
        raise InputError(f"{folder} has unknown weights: {_some(unknown)}; pass a plain BERT or DistilBERT checkpoint")
    for name, shape in shapes.items():
        tensor = found[name]
        if tensor.shape != shape:
            raise InputError(
                f"{tensor.file}: {tensor.name} has shape {list(tensor.shape)} where config.json says {list(shape)}; "
                "pass a folder whose files belong together"
            )
        if tensor.dtype not in STORED_DTYPES:
            raise InputError(
                f"{tensor.file}: {tensor.name} is stored as {tensor.dtype}; store it as {', '.join(STORED_DTYPES)}"
            )
    return {name: found[name] for name in shapes}


def _modern(name: str) -> str:
    """Replaces gamma and beta, the names of LayerNorm's parameters in old checkpoints from TensorFlow."""
    if name.endswith(".gamma"):
        return name.removesuffix("gamma") + "weight"
    return name.removesuffix("beta") + "bias" if name.endswith(".beta") else name


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


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
        try:
            header = json.loads(stream.read(data_start - 8))
            tensors = [
                (_Tensor(file, name, entry["dtype"], tuple(entry["shape"]), data_start + begin), data_start + end)
                for name, entry in header.items()
                if name != "__metadata__"
                for begin, end in [entry["data_offsets"]]
            ]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{file} has a broken header; fetch it again") from None
    for tensor, end in tensors:
        width = np.dtype(STORED_DTYPES[tensor.dtype]).itemsize if tensor.dtype in STORED_DTYPES else None
        if end > size or (width and end - tensor.start != prod(tensor.shape) * width):
            raise InputError(f"{file} is truncated: {tensor.name} is not whole; fetch it again")
    return [tensor for tensor, _ in tensors]


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
        elif name.endswith(".bias"):
            head[name] = np.zeros(shape, np.float32)
        else:
            head[name] = random.normal(0.0, architecture.initializer_range, shape).astype(np.float32)
    return head
