"""Converts a checkpoint's weights to model.safetensors: python -m backends.convert SRC_FOLDER DST_FOLDER

shared/checkpoint/formats.py lists the formats, and the environment whose interpreter runs this for each. Nothing of a
checkpoint is executed: readers take tensors and names only.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np

from shared.architecture import Weights
from shared.checkpoint.foreign_names import wrapper
from shared.checkpoint.formats import find_format
from shared.checkpoint.weights import WEIGHTS
from shared.errors import InputError, tell

READERS = {
    "pytorch_model.bin": "backends.torch.read_bin",
    "tf_model.h5": "backends.keras.read_h5",
    "flax_model.msgpack": "shared.checkpoint.read_flax",
    "*.ckpt*.index": "backends.keras.read_tf1",
}
"""The module whose function `read` reads a format, by the format's file."""


def convert(source: Path, target: Path) -> None:
    """Writes every tensor of the weights in `source`, by its name in PyTorch and with its type, as model.safetensors
    into `target`; bfloat16 is written as float32. Raises InputError if the files are broken."""
    # Imported here: most commands convert nothing.
    from safetensors.numpy import save_file

    format = find_format(source)
    if format is None:
        raise InputError(f"{source} has no weights to convert; pass a folder that has")
    tensors: Weights = {}
    for name, array in importlib.import_module(READERS[format.file]).read(format.files(source)):
        if name in tensors:
            raise InputError(f"{source} gives {name} twice; keep one")
        tensors[name] = np.ascontiguousarray(array)
    if not tensors:
        raise InputError(f"{source} has no parameters in its {format.file}; fetch it again")
    prefix = wrapper(tensors)
    save_file({name.removeprefix(prefix): array for name, array in tensors.items()}, target / WEIGHTS, {"format": "pt"})


def main(arguments: list[str]) -> int:
    """Converts the weights of the first folder into the second. Prints an error in one line. Returns 2 for bad input
    and 1 for any other error."""
    if len(arguments) != 2:
        tell("pass two folders: one of a checkpoint, and one for its model.safetensors")
        return 2
    try:
        source, target = map(Path, arguments)
        convert(source, target)
    except InputError as error:
        tell(str(error))
        return 2
    except Exception as error:  # each library has its own for a broken file
        tell(f"{type(error).__name__}: {error}".splitlines()[0])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
