"""Recorded values by rung: of the truth, of the reference's float32, and of a port under the pack's names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.port.mapping import Names
from benchmarks.port.recording import Recording
from shared.pack import BY_PARAMETER, PACK_WEIGHTS, VALUE, Arrays, Pack, PackRun, part_file, write_part
from shared.sketches import SKETCH, sketches_of, unsketched

HIDDEN = ("embeddings", "layers", "pooled")
SMALL = 2**23
"""Bytes of a file up to which its arrays may be kept."""


@dataclass(frozen=True)
class Values:
    """A recording under the pack's names, float64."""

    folder: Path
    pack: Pack
    keeps: bool = False
    """Arrays of small files are kept once they are read."""
    kept: dict[Path, Arrays] = field(default_factory=dict, compare=False, repr=False)

    def part(self, run: str, step: str, part: str) -> Arrays | None:
        """A part's arrays; None if it is not there."""
        file = part_file(self.folder, run, step, part)
        if file in self.kept:
            return dict(self.kept[file])
        if not file.is_file():
            return None
        with np.load(file) as arrays:
            found = {name: arrays[name].astype(np.float64) for name in arrays.files}
        if self.keeps and file.stat().st_size <= SMALL:
            for array in found.values():
                array.flags.writeable = False
            self.kept[file] = dict(found)
        return found

    def hidden(self, kind: str) -> Arrays | None:
        """The states of one kind in run `eval`, of real tokens alone: [n, width]."""
        states = self.part("eval", "1", "hidden")
        if states is None:
            return None
        valid = self.pack.batch(self.pack.run("eval").steps[0])["attention_mask"] == 1
        found = {name: state for name, state in states.items() if name.startswith(kind)}
        return {name: state[valid] if state.ndim == 3 else state for name, state in found.items()} or None

    def not_finite(self) -> tuple[str, str, list[int]] | None:
        """The first state of a real token in run `eval` that is not finite: its name, NaN or Inf, and its place in the
        array; None if all are."""
        mask = self.pack.batch(self.pack.run("eval").steps[0])["attention_mask"] == 1
        for name, state in (self.part("eval", "1", "hidden") or {}).items():
            bad = ~np.isfinite(state) & (mask[..., None] if state.ndim == 3 else True)
            if bad.any():
                first = np.argwhere(bad)[0].tolist()
                return name, "NaN" if np.isnan(state[tuple(first)]) else "Inf", first
        return None

    def each(self, run: str, part: str) -> Arrays | None:
        """The single array of a part at each step of a run, by the step's name; None if no step has it."""
        found = {step.name: self.part(run, step.name, part) for step in self.pack.run(run).steps}
        return {name: arrays[VALUE] for name, arrays in found.items() if arrays} or None

    def of_rung(self, rung: str) -> Arrays | None:
        """The arrays that a rung of the ladder compares; None if none was recorded."""
        run = self.pack.run("steep" if rung.endswith("steep") else "train")
        name = rung.removesuffix(", steep")
        if name == "parameters":
            first = [run for run in self.pack.contents.runs if run.weights == PACK_WEIGHTS]
            loaded = (self.part(run.name, "0", "parameters") for run in first)
            return next((arrays for arrays in loaded if arrays is not None), None)
        if name in HIDDEN:
            return self.hidden(name)
        if name in ("logits", "loss"):
            return self.part("eval", "1", name)
        if name in ("gradients", "norm", "clipped"):
            return self.part(run.name, "1", name)
        if name == "first step":
            return self.part(run.name, first_moving(run), "parameters")
        if name == "losses":
            return self.each(run.name, "loss")
        if name == "last step":
            return self.part(run.name, run.steps[-1].name, "parameters")
        return self.each("dev", "logits") if name == "dev" else None


def compared(pack: Pack) -> set[tuple[str, str, str]]:
    """Run, step and part of everything that `Values.of_rung` reads."""
    kept = {("eval", "0", "parameters"), *(("eval", "1", part) for part in ("hidden", "logits", "loss"))}
    kept |= {("dev", step.name, "logits") for step in pack.run("dev").steps}
    for run in (pack.run("train"), pack.run("steep")):
        kept |= {(run.name, "1", part) for part in ("gradients", "norm", "clipped")}
        kept |= {(run.name, step.name, "loss") for step in run.steps}
        kept |= {(run.name, step, "parameters") for step in (first_moving(run), run.steps[-1].name)}
    return kept


def first_moving(run: PackRun) -> str:
    """The first step whose rate is above 0: a warm-up may begin at 0, and the weights stay."""
    return next((step.name for step in run.steps if step.learning_rate > 0), run.steps[-1].name)


def write_values(recording: Recording, names: Names, pack: Pack, folder: Path) -> Values:
    """Writes the recording under the pack's names into the folder, one part at a time. Raises InputError if an array
    cannot be read or does not fit the map."""
    for run, step, part in recording.files:
        if part == "received":
            continue
        arrays = recording.arrays(run, step, part)
        if part in BY_PARAMETER:
            arrays = _by_parameter(arrays, names, pack, recording.whole)
        elif part != "hidden":
            arrays = {VALUE: next(iter(arrays.values())).reshape(pack_shape(pack, run, step, part))}
        write_part(folder, run, step, part, {name: _plain(array) for name, array in arrays.items()})
    return Values(folder, pack, keeps=True)


def _by_parameter(arrays: Arrays, names: Names, pack: Pack, whole: tuple[str, ...]) -> Arrays:
    """The arrays under the pack's names; if it wants sketches, those of arrays that were recorded whole too."""
    sketches = {name: array for name, array in arrays.items() if name.startswith(SKETCH)}
    mapped = names.apply(unsketched(arrays))
    return sketches_of(mapped, whole) | sketches if pack.wanted.sketches else mapped


def pack_shape(pack: Pack, run: str, step: str, part: str) -> list[int]:
    """The wanted shape of a single array."""
    shapes = pack.wanted.shapes(run, step, part)
    return shapes[VALUE] if shapes else [-1]


def _plain(array: np.ndarray) -> np.ndarray:
    """The array as float32 or float64, contiguous."""
    return np.array(array, np.float64 if array.dtype == np.float64 else np.float32, order="C")
