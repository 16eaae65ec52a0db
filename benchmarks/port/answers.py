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
from shared.cache import cache_dir
from shared.files import from_json, to_json, write_whole
from shared.kept import held_folder, prune
from shared.pack import BY_PARAMETER, Pack
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
    "backends/torch/network_changes.py",
    "shared/rules/loss.py",
    "shared/rules/gradients.py",
    "benchmarks/parity/ladder.py",
    "benchmarks/parity/rungs.py",
    "benchmarks/port/answers.py",
    "benchmarks/port/own.py",
    "benchmarks/port/own_values.py",
    "benchmarks/port/values.py",
)
"""Files that decide the answers."""

MOST = 8 * 2**30
"""Bytes that all answers may have in the cache: of a larger truth nothing is kept, and what was used longest ago is
removed. MiniLM's truth of a ladder has 2 GB."""

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
    def to(
        cls,
        pack: Pack,
        reference: Reference,
        folder: Path | None = None,
        whole: tuple[str, ...] = (),
        again: bool = False,
        ladder: bool = False,
    ) -> Answers:
        """The answers: from the cache, or computed now, and in any case `again`. With a folder they are computed there,
        and not kept in the cache. If the pack wants sketches, `whole` names the parameters that are wanted whole beside
        them. For a `ladder` there are no errors `by_itself`. Raises ProcessFailed, and InputError if another process
        uses what is to be computed again."""
        if folder is not None:
            _compute(pack, reference, folder, whole, ladder)
            return cls._read(folder, pack)
        digest = basis(reference)
        digest.update((repr(whole) if whole else "").encode() + (b"ladder" if ladder else b""))
        target = place(f"{pack.contents.id}-{digest.hexdigest()[:12]}")
        kept = held_folder(target, lambda partial: _compute(pack, reference, partial, whole, ladder), again)
        prune(target.parent, MOST)
        return cls._read(kept, pack)

    @classmethod
    def _read(cls, folder: Path, pack: Pack) -> Answers:
        noises = from_json((folder / "noises.json").read_bytes(), Noises)
        return cls(Values(folder / "float64", pack), noises)


def place(name: str) -> Path:
    """The folder of the cache that has what the reference computed."""
    return cache_dir() / "references" / name


def basis(reference: Reference) -> hashlib._Hash:
    """A hash of all that the reference's answers follow from besides the question: torch, transformers, the threads,
    the processor, and this project's code. More can be added to it."""
    digest = hashlib.sha256(reference.basis().encode())
    for file in CODE:
        digest.update((CHECKOUT / file).read_bytes())
    return digest


def _compute(pack: Pack, reference: Reference, folder: Path, whole: tuple[str, ...], ladder: bool) -> None:
    """Fills the folder. The float32 recording leaves its errors alone: it may be many times the model's size."""
    where = str(pack.folder.absolute())
    asked = Record(pack=where, out=str(folder), whole=whole, ladder=ladder, threads=reference.threads)
    reference.ask(asked, Done)
    exact, single = (Values(folder / name, pack) for name in ("float64", "float32"))
    replayed = None if ladder else Values(folder / "replayed", pack)
    keep(exact)
    write_whole(folder / "noises.json", to_json(noises_of(exact, single, replayed)))
    for values in filter(None, (single, replayed)):
        shutil.rmtree(values.folder)


def keep(exact: Values) -> None:
    """Deletes the parts that no rung compares with the truth."""
    kept = compared(exact.pack) - {("steep", "1", "gradients")}
    for file in exact.folder.glob("*/*/*.npz"):
        if (file.parts[-3], file.parts[-2], file.stem) not in kept:
            file.unlink()


def truth_bytes(pack: Pack) -> int:
    """Bytes of the parameters and gradients in the answers to a pack."""
    size = sum(weight.size for weight in pack.weights.values())
    return 8 * size * (sum(part in BY_PARAMETER for *_, part in compared(pack)) - 1)


def noises_of(exact: Values, single: Values, replayed: Values | None) -> Noises:
    """The errors of a float32 recording, and of what follows from its own values if that is there."""
    from_pack, by_itself = {}, {}
    for rung in RUNGS:
        right, rounded = exact.of_rung(rung.name), single.of_rung(rung.name)
        if right and rounded:
            from_pack[rung.name] = Differences.between(rounded, right).errors
        found = OwnValues(single, replayed).of_rung(rung.name) if replayed else None
        if found is not None:
            by_itself[rung.name] = found.errors
    return Noises(from_pack, by_itself)
