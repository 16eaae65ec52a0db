"""The formats of weights that are converted to model.safetensors before they are used, and those that are refused by
name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from shared.errors import InputError
from shared.files import read_json

POINTER = b"version https://git-lfs.github.com/"
"""First bytes of the small file that git leaves in the place of a large one if Git LFS is not installed."""


@dataclass(frozen=True)
class Format:
    """A format of weights in a checkpoint's folder."""

    title: str
    """The format in words, after `holds`."""
    file: str
    """Name of the file that shows the format, as a pattern."""
    library: str
    """The library that reads them, and the function that does."""
    environment: str | None = None
    """The backend whose environment has the library; None if every environment has it."""
    sharded: bool = True
    """Whether the weights may lie in several files with an index, as transformers saves large ones."""

    @property
    def index(self) -> str:
        """Name of the shards' index, which shows the format too if `sharded`."""
        return f"{self.file}.index.json"

    def found(self, names: Iterable[str]) -> str | None:
        """Returns the file that shows the format, if these files of a folder include it."""
        names = sorted(names)
        patterns = [self.file, self.index] if self.sharded else [self.file]
        return next((name for pattern in patterns for name in names if fnmatch(name, pattern)), None)

    def patterns(self) -> list[str]:
        """Patterns for the names of all files that a folder of this format may have for its weights."""
        if not self.sharded:
            return [self.file, self.file.removesuffix(".index") + ".data-*-of-*", GOOGLE_CONFIG]
        stem, _, ending = self.file.rpartition(".")
        return [self.file, self.index, f"{stem}-*.{ending}"]

    def files(self, folder: Path) -> list[Path]:
        """Lists the files of the weights in a folder of this format. Raises InputError if one is missing, lies outside
        the folder or is a pointer of Git LFS."""
        if not self.sharded:
            files = _tensorflow_files(folder, self.file)
        elif (folder / self.file).is_file():
            files = [folder / self.file]
        else:
            files = shards(folder / self.index)
        for file in files:
            check_content(file)
        return files


GOOGLE_CONFIG = "bert_config.json"
"""Name of the config beside Google's checkpoints."""

FORMATS = (
    Format("PyTorch's weights", "pytorch_model.bin", "torch.load(weights_only=True)", "torch"),
    Format("TensorFlow's weights of transformers", "tf_model.h5", "h5py", "keras"),
    Format("Flax's weights", "flax_model.msgpack", "msgspec.msgpack"),
    Format("a TensorFlow 1 checkpoint", "*.ckpt*.index", "tf.train.load_checkpoint", "keras", sharded=False),
)
"""All formats that are converted, the preferred ones first."""

UNREAD = {
    "adapter_model.*": "an adapter without its model; merge them with PEFT's merge_and_unload and save the whole",
    "saved_model.pb": "a TensorFlow SavedModel, which is a program; pass the checkpoint that it was made from",
    "*.onnx": "an ONNX graph; pass the checkpoint that it was made from",
    "*.gguf": "weights for llama.cpp; pass the checkpoint that they were made from",
    "rust_model.ot": "rust-bert's weights; pass the checkpoint that they were made from",
}
"""Files of weights that are not read, as patterns, and a line about each."""


def find_format(folder: Path) -> Format | None:
    """The first of FORMATS that the folder has."""
    names = [file.name for file in folder.iterdir()]
    return next((format for format in FORMATS if format.found(names)), None)


def shards(index: Path) -> list[Path]:
    """Lists the files that an index of shards names. Raises InputError if the index names none, if a name leads out of
    the folder, or if a file is missing."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{index} names no shards; restore the checkpoint's file")
    for name in weight_map.values():
        if not isinstance(name, str) or not re.fullmatch(r"\w[^/\\\x00-\x1f]*", name):
            raise InputError(f"{index} names the shard {name!r}, which is no file of its folder; restore the file")
    files = [index.parent / name for name in sorted(set(weight_map.values()))]
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}, named in {index.name}, is missing; add it")
    return files


def check_content(file: Path) -> None:
    """Raises InputError if the file is empty or a pointer of Git LFS."""
    with file.open("rb") as stream:
        first = stream.read(len(POINTER))
    if not first:
        raise InputError(f"{file} is empty; fetch it again")
    if first == POINTER:
        raise InputError(f"{file} is a pointer of Git LFS, not the weights; install git-lfs and run: git lfs pull")


def _tensorflow_files(folder: Path, pattern: str) -> list[Path]:
    """Lists the index and the data files of the folder's one TensorFlow checkpoint."""
    indices = sorted(folder.glob(pattern))
    if len(indices) > 1:
        names = ", ".join(file.name for file in indices[:3])
        raise InputError(
            f"{folder} has several checkpoints ({names}); leave one in a folder with config and vocabulary"
        )
    prefix = indices[0].name.removesuffix(".index")
    data = sorted(
        file for file in folder.iterdir() if re.fullmatch(re.escape(prefix) + r"\.data-\d+-of-\d+", file.name)
    )
    wanted = int(data[0].name.rpartition("-")[2]) if data else 1
    if len(data) != wanted:
        raise InputError(f"{indices[0]} has {len(data)} of its {wanted} files {prefix}.data-*; add the others")
    return [*indices, *data]
