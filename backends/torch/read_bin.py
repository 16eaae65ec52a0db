"""Reads pytorch_model.bin, whole, in shards, or nested in a training's checkpoint. Only tensors are unpickled."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared.checkpoint.foreign_names import WRAPPED
from shared.errors import InputError

PREFERRED = ("state_dict", "model_state_dict", "model", "module")
"""Keys under which training scripts keep the weights, the first that holds a model being taken."""
DEPTH = 4
"""Largest number of keys that lead to the weights."""


def read(files: list[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Reads every tensor, by its name; bfloat16, which numpy lacks, as float32. Raises InputError if a file holds
    something that would have to be executed, or no model."""
    for file in files:
        stored = _load(file)
        tensors = _of_model(stored, file) if len(files) == 1 else stored
        if not isinstance(tensors, Mapping):
            raise InputError(
                f"{file} holds a {type(stored).__name__} where a model's tensors should be; fetch it again"
            )
        for name, tensor in tensors.items():
            if isinstance(name, str) and isinstance(tensor, torch.Tensor):
                yield name, _array(name, tensor, file)


def _load(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if names := re.findall(r"GLOBAL ([\w.]+)", str(error)):
            raise InputError(
                f"{file} holds an object of {names[0]}, which is refused because loading it would run code; save only "
                "the model's state_dict()"
            ) from None
        reason = (re.findall(r"WeightsUnpickler error: (.+)", str(error)) or ["no pickle of tensors"])[0].strip()
        raise InputError(
            f"{file} cannot be read as tensors alone ({reason}), and nothing else is read; fetch it again, or save "
            "only the model's state_dict()"
        ) from None


def _array(name: str, tensor: torch.Tensor, file: Path) -> np.ndarray:
    """The tensor's values. Raises InputError if there are more of them than the file can hold: a view can repeat one
    value a billion times."""
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise InputError(f"{file}: {name} is sparse or quantized; save the model with plain tensors")
    if tensor.numel() * tensor.element_size() > file.stat().st_size:
        raise InputError(f"{file}: {name} has more values than the file; fetch it again")
    plain = tensor.detach()
    # Tied weights share their memory under two names, which safetensors refuses.
    array: np.ndarray = (plain.float() if plain.dtype == torch.bfloat16 else plain.clone()).numpy()
    return array


def _of_model(stored: Any, file: Path) -> Mapping[Any, Any]:
    """Returns the one mapping that holds a model's word embeddings, at the top or under keys such as `state_dict`.
    Raises InputError if there is none, or several of which no key says which to take."""
    found = dict(_holders(stored, (), set()))
    if len(found) > 1:
        found = {path: held for path, held in found.items() if path[-1:] == _first_preferred(found)}
    if len(found) == 1:
        return next(iter(found.values()))
    keys = ", ".join(str(key) for key in list(stored)[:5]) if isinstance(stored, Mapping) else type(stored).__name__
    raise InputError(f"{file} holds no model, or several ({keys}); save the model's state_dict() alone")


def _first_preferred(found: Mapping[tuple[str, ...], Any]) -> tuple[str, ...]:
    return next(((key,) for key in PREFERRED if any(path[-1:] == (key,) for path in found)), ())


def _holders(node: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Finds the mappings with the tensor of word embeddings, each with the keys that lead to it."""
    if not isinstance(node, Mapping) or id(node) in seen or len(path) > DEPTH:
        return
    seen.add(id(node))
    tensors = (name for name, value in node.items() if isinstance(name, str) and isinstance(value, torch.Tensor))
    if any(WRAPPED.fullmatch(name) for name in tensors):
        yield path, node
        return
    for name, child in node.items():
        if isinstance(name, str):
            yield from _holders(child, (*path, name), seen)
