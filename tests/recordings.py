"""Commands and recordings that tests of ports share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.port.__main__ import main
from benchmarks.port.reference import Reference
from shared.pack import Arrays, Pack, part_file, write_part
from shared.reference import Done, Record


def run_port(*arguments: str | Path) -> int:
    """Runs `benchmarks.port` and returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    code = ended.value.code
    assert isinstance(code, int)
    return code


def float32(pack: Pack, out: Path) -> Path:
    """The reference's own float32 recording, which it leaves in `out`."""
    Reference.find({}, 1).ask(Record(pack=str(pack.folder), out=str(out), threads=1), Done)
    return out / "float32"


def copy_of(recording: Path, target: Path) -> Path:
    """A copy of a recording, to change."""
    shutil.copytree(recording, target)
    return target


def change(recording: Path, run: str, step: str, part: str, how: Callable[[Arrays], Arrays]) -> None:
    """Changes the arrays of one part."""
    with np.load(part_file(recording, run, step, part)) as file:
        arrays = {name: file[name] for name in file.files}
    write_part(recording, run, step, part, how(arrays))


def change_all(recording: Path, part: str, how: Callable[[Arrays], Arrays]) -> None:
    """Changes a part at every step of every run that has it."""
    for file in sorted(recording.glob(f"*/*/{part}.npz")):
        change(recording, file.parts[-3], file.parts[-2], part, how)


def as_a_port_names(pack: Pack, recording: Path) -> None:
    """Gives a recording's parameters and gradients names and layouts of a port: kernels transposed, queries, keys and
    values of a layer in one, a vocabulary that is padded."""

    def renamed(arrays: Arrays) -> Arrays:
        made: dict[str, Any] = {}
        fused: dict[str, list[np.ndarray]] = {}
        for name, array in arrays.items():
            if ".attention.self." in name:
                where, kind = name.split(".attention.self.")
                fused.setdefault(f"{where}/qkv/{kind.split('.')[1]}", []).append(array)
            elif name.endswith("word_embeddings.weight"):
                padded = np.zeros((len(array) + 24, array.shape[1]), array.dtype)
                padded[: len(array)] = array
                made["embedder/table"] = padded
            else:
                made["port/" + name.replace(".", "/")] = array.T if array.ndim == 2 else array
        return made | {name: np.concatenate(parts).T for name, parts in fused.items()}

    for part in ("parameters", "gradients", "clipped"):
        change_all(recording, part, renamed)
