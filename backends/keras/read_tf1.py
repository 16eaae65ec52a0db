"""Reads a TensorFlow 1 checkpoint of google-research/bert, as `tf.train.Saver` writes it, without its graph."""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from shared.checkpoint.foreign_names import from_tf1
from shared.errors import InputError

TF2_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""An entry of every checkpoint by `tf.train.Checkpoint`, whose names are those of a program's objects."""

BROKEN = (tf.errors.OpError, IndexError, RuntimeError, ValueError)
"""The errors of TensorFlow's reader."""


def read(files: list[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Reads every parameter, by its name in PyTorch, without the optimizer's. `files` has the index first. Raises
    InputError if the checkpoint is broken or not of TensorFlow 1."""
    index = files[0]
    try:
        reader = tf.train.load_checkpoint(str(index.with_suffix("")))
    except BROKEN as error:
        raise _broken(index, error) from None
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    if TF2_GRAPH in shapes:
        raise InputError(
            f"{index} is of TensorFlow 2, with names of a program's objects; convert it with the program that wrote it"
        )
    size = sum(file.stat().st_size for file in files)
    for name in sorted(shapes):
        if not dtypes[name].is_floating or (named := from_tf1(name)) is None:
            continue
        if prod(shapes[name]) * dtypes[name].size > size:
            raise InputError(f"{index}: {name} has more values than the files; fetch them again")
        try:
            array = reader.get_tensor(name)
        except BROKEN as error:
            raise _broken(index, error) from None
        if dtypes[name] == tf.bfloat16:
            array = array.astype(np.float32)
        yield named.name, array.T if named.transposed else array


def _broken(index: Path, error: Exception) -> InputError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return InputError(f"{index} is no whole TensorFlow checkpoint ({reason}); fetch its files again")
