"""Reads transformers' tf_model.h5 with h5py alone, which executes nothing. TensorFlow is not imported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from shared.checkpoint.foreign_names import from_tf2
from shared.errors import InputError

WHOLE = "tf_model.h5"
"""Name of the file of a model that is not in shards."""


def read(files: list[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Reads every parameter, by its name in PyTorch. Raises InputError if a file is no such HDF5."""
    for file in files:
        try:
            opened = h5py.File(file, "r")
        except OSError as error:
            raise InputError(f"{file} is truncated or no HDF5 file ({error}); fetch it again") from None
        with opened:
            # In a whole file the path is a layer's group, then the name in TensorFlow, which begins with the model.
            # In a shard it is that name without the model.
            for path in _datasets(opened):
                named = from_tf2(path.partition("/")[2] if file.name == WHOLE else f"model/{path}")
                array = _array(opened, path, file)
                yield named.name, array.T if named.transposed else array


def _datasets(opened: h5py.File) -> list[str]:
    """Paths of all datasets. Soft and external links, which can lead to other files, are not followed."""
    found: list[str] = []
    opened.visititems(lambda path, node: found.append(path) if isinstance(node, h5py.Dataset) else None)
    return found


def _array(opened: h5py.File, path: str, file: Path) -> np.ndarray:
    """Reads a dataset whose values all lie in this file, uncompressed, as transformers writes them."""
    dataset = opened[path]
    if dataset.dtype.kind != "f":
        raise InputError(
            f"{file}: {path} has values of type {dataset.dtype}, not floating-point numbers; fetch it again"
        )
    if dataset.is_virtual or dataset.external or dataset.id.get_storage_size() != dataset.size * dataset.dtype.itemsize:
        raise InputError(f"{file}: {path} does not lie whole in the file; fetch it again")
    array: np.ndarray = dataset[()]
    return array
