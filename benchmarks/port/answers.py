"""The reference's answers to a pack, kept by the pack's id: the truth, and the errors of its own float32."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from benchmarks.parity.ladder import Differences
from benchmarks.parity.rungs import NOISE_FACTOR, RUNGS
from benchmarks.port.own_values import OwnValues
from benchmarks.port.reference import Reference
from benchmarks.port.values import Values, compared
from benchmarks.workers.environments import CHECKOUT
from shared.files import cache_dir, from_json, to_json, write_whole
from shared.kept import kept_folder
from shared.pack import Pack
from shared.reference import Done, Record

CODE = (
    "shared/pack.py",
    "shared/recipe.py",
    "shared/sketches.py",
    "recorder/concord_recorder.py",
    "backends/torch/classifier.py",
    "backends/torch/reference.py",
    "backends/torch/optimizer.py",
    "backends/torch/rounding.py",
    "backends/torch/replaying.py",
    "benchmarks/port/own.py",
    "benchmarks/port/own_values.py",
    "benchmarks/port/values.py",
)
"""Files that decide the answers."""

Errors = dict[str, dict[str, float]]
"""The largest error of each array, by rung and name."""


class Noises(Struct, frozen=True):
    """Errors of the reference's own float32, or of its own trainings in lower precision (precision.py)."""

    from_pack: Errors
    """Differences from the truth."""
    by_itself: Errors
    """Differences from what follows from its own values."""
    factor: float = NOISE_FACTOR
    """An error may be this many times them."""


@dataclass(frozen=True)
class Answers:
    """The reference's answers to one pack."""

    exact: Values
    """In float64, as far as rungs compare it: the truth."""
    noises: Noises

    @property
    def folder(self) -> Path:
        """Place of everything that is kept about the pack."""
        return self.exact.folder.parent

    @classmethod
    def to(cls, pack: Pack, reference: Reference, folder: Path | None = None, whole: tuple[str, ...] = ()) -> Answers:
        """The answers: from the cache, or computed now. With a folder they are computed there, and not kept in the
        cache. If the pack wants sketches, `whole` names the parameters that are wanted whole beside them. Raises
        ProcessFailed."""
        if folder is not None:
            _compute(pack, reference, folder, whole)
            return cls._read(folder, pack)
        digest = hashlib.sha256(repr(sorted(reference.environment.versions.items())).encode())
        for file in CODE:
            digest.update((CHECKOUT / file).read_bytes())
        digest.update(repr(whole).encode() if whole else b"")
        target = cache_dir() / "references" / f"{pack.contents.id}-{digest.hexdigest()[:12]}"
        return cls._read(kept_folder(target, lambda partial: _compute(pack, reference, partial, whole)), pack)

    @classmethod
    def _read(cls, folder: Path, pack: Pack) -> Answers:
        noises = from_json((folder / "noises.json").read_bytes(), Noises)
        return cls(Values(folder / "float64", pack), noises)


def _compute(pack: Pack, reference: Reference, folder: Path, whole: tuple[str, ...]) -> None:
    """Fills the folder. The float32 recording leaves its errors alone: it may be many times the model's size."""
    asked = Record(pack=str(pack.folder.absolute()), out=str(folder), whole=whole, threads=reference.threads)
    reference.ask(asked, Done)
    exact, single, replayed = (Values(folder / name, pack) for name in ("float64", "float32", "replayed"))
    keep(exact)
    write_whole(folder / "noises.json", to_json(noises_of(exact, single, replayed)))
    for values in (single, replayed):
        shutil.rmtree(values.folder)


def keep(exact: Values) -> None:
    """Deletes the parts that no rung compares."""
    kept = compared(exact.pack)
    for file in exact.folder.glob("*/*/*.npz"):
        if (file.parts[-3], file.parts[-2], file.stem) not in kept:
            file.unlink()


def noises_of(exact: Values, single: Values, replayed: Values) -> Noises:
    """The errors of a float32 recording, and of what follows from its own values."""
    from_pack, by_itself, own = {}, {}, OwnValues(single, replayed)
    for rung in RUNGS:
        right, rounded = exact.of_rung(rung.name), single.of_rung(rung.name)
        if right and rounded:
            from_pack[rung.name] = Differences.between(rounded, right).errors
        found = own.of_rung(rung.name)
        if found is not None:
            by_itself[rung.name] = found.errors
    return Noises(from_pack, by_itself)
