"""Reads flax_model.msgpack with msgspec, which executes nothing.

The file is one msgpack map, nested as the modules are. Each leaf is an extension of type 1 that holds another msgpack
value: `[shape, dtype's name, bytes]`, little-endian. Flax cuts an array of more than 2**30 bytes into a map with its
shape and its flat pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shared.checkpoint.foreign_names import from_flax
from shared.errors import InputError

ARRAY = 1
"""Type of flax's msgpack extension for an array."""
CHUNKED = "__msgpack_chunked_array__"
DTYPES = {"float16": "<f2", "float32": "<f4", "float64": "<f8", "bfloat16": "<u2"}
"""Types that parameters may have in the file, each with the numpy type to read it as."""


def read(files: list[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Reads every parameter, by its name in PyTorch. Raises InputError if a file is no such msgpack."""
    for file in files:
        try:
            content = msgspec.msgpack.decode(file.read_bytes())
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise InputError(f"{file} is no msgpack of Flax ({error}); fetch it again") from None
        if isinstance(content, dict) and "params" in content:
            content = content["params"]
        for path, array in _arrays(content, (), file):
            named = from_flax(path)
            yield named.name, array.T if named.transposed else array


def _arrays(node: Any, path: tuple[str, ...], file: Path) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    if isinstance(node, msgspec.msgpack.Ext):
        yield path, _array(node, path, file)
    elif isinstance(node, dict) and CHUNKED in node:
        yield path, _joined(node, path, file)
    elif isinstance(node, dict):
        for name, child in node.items():
            if not isinstance(name, str):
                raise _broken(file, path, f"the key {name!r}")
            yield from _arrays(child, (*path, name), file)
    else:
        raise _broken(file, path, f"a value of type {type(node).__name__}")


def _joined(node: dict[str, Any], path: tuple[str, ...], file: Path) -> np.ndarray:
    shape, chunks = node.get("shape"), node.get("chunks")
    if not isinstance(shape, dict) or not isinstance(chunks, dict) or not chunks:
        raise _broken(file, path, "a cut array without its shape or pieces")
    pieces = [_array(chunks.get(str(i)), path, file) for i in range(len(chunks))]
    whole = _shape([shape.get(str(i)) for i in range(len(shape))], path, file)
    flat = np.concatenate([piece.ravel() for piece in pieces])
    if flat.size != prod(whole):
        raise _broken(file, path, f"{flat.size} values for the shape {list(whole)}")
    return flat.reshape(whole)


def _array(node: Any, path: tuple[str, ...], file: Path) -> np.ndarray:
    """Reads an extension as an array; bfloat16, which numpy lacks, as float32."""
    if not isinstance(node, msgspec.msgpack.Ext) or node.code != ARRAY:
        raise _broken(file, path, "something else than an array")
    try:
        shape, dtype, content = msgspec.msgpack.decode(node.data)
    except (msgspec.DecodeError, ValueError, TypeError):
        raise _broken(file, path, "a broken array") from None
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _broken(file, path, f"an array of type {dtype!r}")
    whole = _shape(shape, path, file)
    if not isinstance(content, bytes) or len(content) != prod(whole) * np.dtype(DTYPES[dtype]).itemsize:
        raise _broken(file, path, f"an array that is not whole for its shape {list(whole)}")
    stored = np.frombuffer(content, DTYPES[dtype]).reshape(whole)
    return (stored.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else stored


def _shape(shape: Any, path: tuple[str, ...], file: Path) -> tuple[int, ...]:
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise _broken(file, path, f"the shape {shape!r}")
    return tuple(shape)


def _broken(file: Path, path: tuple[str, ...], what: str) -> InputError:
    return InputError(f"{file}: {'/'.join(path) or 'the file'} has {what}; fetch it again")
