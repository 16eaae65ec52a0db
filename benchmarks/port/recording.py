"""Reads recordings, from the recorder or written by hand: nothing in them is executed, and nothing outside is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from shared.errors import InputError
from shared.pack import BY_PARAMETER, PACK_WEIGHTS, VALUE, Arrays, Pack
from shared.parsing import parse_json, small_text
from shared.sketches import BLOCKS, SKETCH, unsketched

FORMAT = 1
ABOUT, MAP = "recording.json", "map.json"
SINGLE = ("logits", "loss", "norm")
"""Parts of one array."""
LARGEST = 4
"""The most entries that a port's parameters may have, by the pack's: vocabularies are padded, not squared."""

LONGEST_NAME = 120
"""Characters of a name that reports show."""

Key = tuple[str, str, str]
"""Run, step and part."""


def shown_name(name: object) -> str:
    """A port's name as reports show it: what could be markup, or another line, is a question mark."""
    return re.sub(r"[^\w ./:+,()\[\]-]", "?", str(name))[:LONGEST_NAME]


@dataclass(frozen=True)
class Recording:
    """A recording that was checked against its pack."""

    folder: Path
    files: Mapping[Key, list[Path]]
    """The files of each part."""
    found_map: dict[str, object] = field(default_factory=dict)
    """The map that the recorder found; empty if there is none."""

    @classmethod
    def read(cls, folder: Path, pack: Pack) -> Recording:
        """Opens a recording and checks names and shapes. Raises InputError."""
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder; pass the folder that your script recorded into")
        about = _json(folder / ABOUT)
        _check_about(folder, about, pack)
        files = dict(_find(folder, pack))
        if not files:
            raise InputError(f"{folder} is an empty recording; run your script with CONCORD_RECORDING={folder.name}")
        recording = cls(folder, files, _json(folder / MAP))
        for run, step, part in files:
            recording._check_shapes(pack, run, step, part)
        return recording

    @property
    def whole(self) -> tuple[str, ...]:
        """The pack's names of the parameters that were kept whole beside their sketches."""
        named = _json(self.folder / ABOUT).get("whole")
        return tuple(map(str, named)) if isinstance(named, list) else ()

    @cached_property
    def by_recorder(self) -> bool:
        """Whether the recorder wrote it."""
        return (self.folder / ABOUT).is_file()

    def has(self, run: str, step: str, part: str) -> bool:
        """Whether the part was recorded."""
        return (run, step, part) in self.files

    def arrays(self, run: str, step: str, part: str) -> Arrays:
        """A part's arrays by the port's names. Raises InputError if a file cannot be read."""
        found: Arrays = {}
        for file in self.files[run, step, part]:
            found |= _load(file, self.folder / run / step / part)
        return found

    def loaded(self, pack: Pack) -> Arrays | None:
        """The port's parameters as loaded from the pack, by its own names; None if no run recorded them."""
        for run in pack.contents.runs:
            if run.weights == PACK_WEIGHTS and self.has(run.name, "0", "parameters"):
                return unsketched(self.arrays(run.name, "0", "parameters")) or None
        return None

    def parameter_names(self, pack: Pack) -> list[str]:
        """The port's names of its parameters: as loaded, else of the first part by them; none if none was recorded."""
        loaded = self.loaded(pack)
        if loaded is not None:
            return list(loaded)
        named = sorted(
            (key for key in self.files if key[2] in BY_PARAMETER), key=lambda key: BY_PARAMETER.index(key[2])
        )
        return list(unsketched(self.arrays(*named[0]))) if named else []

    def _check_shapes(self, pack: Pack, run: str, step: str, part: str) -> None:
        wanted = pack.wanted.shapes(run, step, part)
        where = f"{self.folder.name}/{run}/{step}/{part}"
        if wanted is None:
            return
        shapes = {
            name: shape
            for file in self.files[run, step, part]
            for name, shape in _shapes(file, self.folder / run / step / part).items()
        }
        if part in BY_PARAMETER:
            for name in [name for name in shapes if name.startswith(SKETCH)]:
                if name.removeprefix(SKETCH) not in wanted or shapes.pop(name) != (BLOCKS + 2,):
                    raise InputError(f"{where}: {shown_name(name)} is no sketch of a parameter; record again")
            entries, most = sum(map(prod, shapes.values())), LARGEST * sum(map(prod, wanted.values()))
            if entries > most:
                raise InputError(f"{where} has {entries} entries, and the pack's parameters {most // LARGEST}")
            return
        for name, shape in shapes.items():
            if name in wanted and list(shape) != wanted[name] and part != "received":
                raise InputError(
                    f"{where}: {name} has shape {list(shape)}, and {wanted[name]} is wanted; record it in this shape"
                )


def _check_about(folder: Path, about: Mapping[str, object], pack: Pack) -> None:
    if not about:
        return
    if about.get("format") != FORMAT:
        raise InputError(
            f"{folder} is of format {about.get('format')}, by recorder {about.get('recorder')}, and this checker reads "
            f"format {FORMAT}; record again with recorder/concord_recorder.py of this project"
        )
    if about.get("pack") != pack.contents.id:
        raise InputError(
            f"{folder} is a recording of pack {about.get('pack')}, and {pack.folder} is pack {pack.contents.id}; pass "
            "--pack with the pack that your script was given"
        )


def _find(folder: Path, pack: Pack) -> Iterator[tuple[Key, list[Path]]]:
    """Every part that is there, with its files. Raises InputError for a run or step that the pack has not."""
    for run_folder in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        runs = pack.wanted.runs
        if run_folder.name not in runs:
            raise InputError(f"{folder} has a run {run_folder.name!r}; the pack has {', '.join(runs)}")
        for step_folder in sorted(path for path in run_folder.iterdir() if path.is_dir()):
            steps = runs[run_folder.name]
            if step_folder.name not in steps and step_folder.name != "0":
                raise InputError(
                    f"{folder.name}/{run_folder.name} has a step {step_folder.name!r}; the pack has {', '.join(steps)}"
                )
            for part in ("received", "hidden", "logits", "loss", "norm", *BY_PARAMETER):
                found = [file for file in _files(step_folder, part) if _inside(file, folder)]
                if found:
                    yield (run_folder.name, step_folder.name, part), found


def _files(step: Path, part: str) -> list[Path]:
    whole = [file for kind in ("npz", "safetensors", "npy") if (file := step / f"{part}.{kind}").is_file()]
    return whole + sorted(file for file in (step / part).rglob("*") if file.suffix in (".npy", ".npz", ".safetensors"))


def _inside(file: Path, folder: Path) -> bool:
    if not file.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{file} leads out of the recording; put the file itself there")
    return True


def _json(file: Path) -> dict[str, object]:
    if not file.is_file():
        return {}
    try:
        content = parse_json(small_text(file))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{file} is damaged: it holds no JSON object; record again")
    return content


def _name(file: Path, part: Path) -> str:
    """The name of a single array's file."""
    return VALUE if file.with_suffix("") == part else file.relative_to(part).with_suffix("").as_posix()


def _checked(name: str, file: Path) -> str:
    if name.startswith("/") or ".." in name.split("/"):
        raise InputError(f"{file} has an array named {name!r}, which leads out of the recording; name it otherwise")
    return name


def _load(file: Path, part: Path) -> Arrays:
    """The file's arrays by name. Raises InputError if it cannot be read, or holds something else than numbers."""
    try:
        arrays = _read(file, part)
    except InputError:
        raise
    except Exception as error:  # numpy, zipfile and safetensors raise many kinds for a damaged file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{file} cannot be read ({reason}); record again") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # as numpy gives a file of an archive that is none of its own
            raise InputError(f"{file}: {shown_name(name)} is no array; record again")
        if array.dtype.kind not in "fiub":
            raise InputError(f"{file}: {shown_name(name)} is of type {array.dtype}; record numbers")
    if part.name in SINGLE and len(arrays) != 1:
        raise InputError(f"{file} holds {len(arrays)} arrays; record one")
    return arrays


def _read(file: Path, part: Path) -> Arrays:
    if file.suffix == ".npy":
        return {_name(file, part): np.load(file, allow_pickle=False)}
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            return {_checked(name, file): arrays[name] for name in arrays.files}
    with safe_open(file, framework="np") as tensors:
        return {_checked(name, file): tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118


def _shapes(file: Path, part: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of a file's arrays, from its headers alone if the format allows."""
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, framework="np") as tensors:
                return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise InputError(f"{file} cannot be read ({error}); record again") from None
    return {name: array.shape for name, array in _load_mapped(file, part).items()}


def _load_mapped(file: Path, part: Path) -> Arrays:
    if file.suffix != ".npy":
        return _load(file, part)
    try:
        return {_name(file, part): np.load(file, mmap_mode="r", allow_pickle=False)}
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{file} cannot be read ({str(error).splitlines()[0]}); record again") from None
