"""Checks a recording: on which rungs a port holds, where it is wrong by itself, and what follows from that."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from msgspec import Struct, structs

from benchmarks.parity.ladder import (
    Finding,
    compare_by,
    judge,
    judge_dropped,
    with_gradient,
    without_error,
)
from benchmarks.parity.rungs import RUNG, RUNGS, Rung
from benchmarks.port.answers import Answers
from benchmarks.port.causes import Diagnosis
from benchmarks.port.effects import Cost
from benchmarks.port.map_file import write_map
from benchmarks.port.mapping import Names, find_names
from benchmarks.port.own_values import OwnValues
from benchmarks.port.precision import HALVES, PortPrecision, is_rounded, noises_in
from benchmarks.port.recording import Recording
from benchmarks.port.reference import Reference
from benchmarks.port.values import HIDDEN, Values, write_values
from shared.errors import InputError
from shared.pack import Pack
from shared.reference import Done, Replay

State = Literal["holds", "wrong", "follows", "parts", "not seen"]
"""`wrong`: by the port's own values below it. `follows`: it fails, and holds by those. `parts`: it fails, and what lies
below it was not recorded, so that nothing tells the two apart."""

FORWARD = ("embeddings", "layers", "pooled", "logits", "loss")
THROUGH = ("gradients", "losses", "losses, steep", "dev")
"""Rungs whose own values go through the whole network. If a rung of FORWARD fails, they follow from that."""

SPLITS = {"input_ids": "ids", "token_type_ids": "types", "attention_mask": "mask", "labels": "labels"}
"""Arrays that a port is given, and what tables call them."""


class RungFound(Struct, frozen=True, kw_only=True):
    """The result of one rung."""

    rung: str
    compared: str
    state: State
    from_pack: Finding | None
    """The comparison with the truth's values; None if not seen."""
    by_itself: Finding | None
    """The comparison with what follows from the port's own values; None if they were not recorded, or if nothing lies
    below."""


class Checked(Struct, frozen=True, kw_only=True):
    """The result of a check."""

    pack: str
    about: str
    holds: bool
    """Every rung that was seen holds, and every required one was seen."""
    rungs: list[RungFound]
    mapped: int
    """Parameters of the pack that the port has."""
    parameters: int
    """Parameters of the pack."""
    unmatched: list[str]
    ambiguous: list[str]
    missing_rungs: list[str]
    """Rungs that were required and not seen, or in part alone."""
    precision: PortPrecision = "float32"
    """The bounds are those of this precision."""
    rounded: str = ""
    """The lower precision that the port's own weights are of, if they are."""
    diagnosis: Diagnosis = Diagnosis()
    """Causes of the rungs that are wrong."""
    cost: Cost | None = None
    """The cost of the differences that were found; None unless asked for."""


@dataclass(frozen=True)
class Check:
    """A pack, a recording of it under the pack's names, and the reference's answers."""

    pack: Pack
    names: Names
    recording: Recording
    mine: Values
    own: OwnValues
    answers: Answers

    @cached_property
    def moving(self) -> frozenset[str]:
        """Parameters whose gradient is more than rounding."""
        exact = self.answers.exact.of_rung("gradients")
        assert exact is not None
        return with_gradient(exact)

    def by_themselves(self) -> list[RungFound]:
        """Every rung, from the ground up, each judged alone."""
        return [self._rung(rung) for rung in RUNGS]

    def found(self) -> list[RungFound]:
        """Every rung, from the ground up. Those that go through a network that is wrong follow from that."""
        found = self.by_themselves()
        if all(one.state in ("holds", "not seen") for one in found if one.rung in FORWARD):
            return parting(found)
        return [
            structs.replace(one, state="follows") if one.rung in THROUGH and one.state in ("wrong", "parts") else one
            for one in found
        ]

    def by_itself(self, rung: Rung) -> Finding | None:
        """The finding by the port's own values; None if they were not recorded, or if nothing lies below."""
        own = self.own.of_rung(rung.name)
        if own is None:
            return None
        noises = self.answers.noises.by_itself[rung.name]
        noises = {name: noises.get(name, 0.0) for name in own.errors}
        return judge(rung, own, noises, self.moving, self.answers.noises.factor)

    def _rung(self, rung: Rung) -> RungFound:
        if rung.name == "batches":
            from_pack = self._received(rung)
        elif rung.name == "dropout":
            from_pack = self._dropout(rung)
        else:
            from_pack = self._compare(rung)
        by_itself = self.by_itself(rung)
        state = _state(from_pack, by_itself)
        return RungFound(rung=rung.name, compared=rung.what, state=state, from_pack=from_pack, by_itself=by_itself)

    def _compare(self, rung: Rung) -> Finding | None:
        mine, exact = self.mine.of_rung(rung.name), self.answers.exact.of_rung(rung.name)
        if not mine or not exact:
            return None
        if rung.name == "parameters":
            absent = [name for name in exact if name not in mine]
            if absent:
                reason = self.names.unmatched[0] if self.names.unmatched else "it was not recorded"
                return without_error(rung, absent[0], f"no array has the values of {absent[0]}: {reason}")
        place = self.mine.not_finite() if rung.name in HIDDEN else None
        if place is not None:
            name, kind, index = place
            if name.startswith(rung.name):
                return without_error(rung, name, f"{kind} in {name} at {index}")
        both = [name for name in exact if name in mine]
        if not both:
            return None
        part = f"{len(both)} of {len(exact)} arrays seen" if len(both) < len(exact) else ""
        seen = {name: exact[name][tuple(slice(size) for size in mine[name].shape)] for name in both}
        noises = self.answers.noises.from_pack[rung.name]
        noises = {name: noises[name] for name in both}
        found = compare_by(rung, seen, noises, mine, self.moving, self.answers.noises.factor)
        return structs.replace(found, note=found.note or part)

    def _received(self, rung: Rung) -> Finding | None:
        """Compares what the model was given with the pack's batches, entry by entry; more padding is the same."""
        seen = 0
        for run in self.pack.contents.runs:
            for step in run.steps:
                if not self.recording.has(run.name, step.name, "received"):
                    continue
                seen += 1
                given, batch = self.recording.arrays(run.name, step.name, "received"), self.pack.batch(step)
                for name in SPLITS:
                    if name in given and not _same(given[name], batch[name], batch["attention_mask"], name):
                        return without_error(rung, name, f"{name} differs first in run {run.name}, step {step.name}")
                rate = given.get("learning_rate")
                if rate is not None and not math.isclose(float(rate), step.learning_rate, rel_tol=1e-5, abs_tol=1e-12):
                    note = f"{float(rate):g} in run {run.name}, step {step.name}, in place of {step.learning_rate:g}"
                    return without_error(rung, "learning_rate", note)
        return Finding(rung.name, True, None, None, 0.0, "", f"{seen} steps alike") if seen else None

    def _dropout(self, rung: Rung) -> Finding | None:
        """Compares the share of zeros with the rate: a binomial sample."""
        run = self.pack.run("dropout")
        states = self.mine.part(run.name, "1", "hidden")
        if not states or "embeddings" not in states:
            return None
        valid = self.pack.batch(run.steps[0])["attention_mask"] == 1
        return judge_dropped(rung, states["embeddings"][valid] == 0, run.settings.dropout)


def _same(given: np.ndarray, wanted: np.ndarray, mask: np.ndarray, name: str) -> bool:
    """Whether an input is the pack's, apart from padding: its width, and its ids and types."""
    if name == "labels":
        return given.shape == wanted.shape and bool((given == wanted).all())
    if given.ndim != 2 or len(given) != len(wanted):
        return False
    width = min(given.shape[1], wanted.shape[1])
    real = np.zeros((len(wanted), max(given.shape[1], wanted.shape[1])), bool)
    real[:, : mask.shape[1]] = mask == 1
    if real[:, width:].any() and given.shape[1] < wanted.shape[1]:
        return False
    equal = given[:, :width] == wanted[:, :width]
    if name == "attention_mask":
        return bool(equal.all()) and not given[:, width:].any()
    return bool((equal | ~real[:, :width]).all())


def seen_in_part(found: RungFound) -> bool:
    """Whether some of the rung's arrays were not recorded."""
    return found.from_pack is not None and found.from_pack.note.endswith(" arrays seen")


def _state(from_pack: Finding | None, by_itself: Finding | None) -> State:
    if by_itself is not None and not by_itself.holds:
        return "wrong"
    if from_pack is None:
        return "not seen"
    if from_pack.holds:
        return "holds"
    return "parts" if by_itself is None else "follows"


def parting(found: list[RungFound], explained: Collection[str] = ()) -> list[RungFound]:
    """The rungs; those that go through a network of which nothing was seen, and are not explained, may be wrong because
    of it. Logits after a training whose last weights are wrong follow from these."""
    trained = next(one.state for one in found if one.rung == "last step")
    if trained in ("wrong", "follows"):
        found = [
            structs.replace(one, state="follows") if one.rung == "dev" and one.state == "parts" else one
            for one in found
        ]
    below = (one for one in found if one.rung in FORWARD or (one.rung == "losses" and one.state == "holds"))
    if any(one.from_pack is not None for one in below):
        return found
    return [
        structs.replace(one, state="parts")
        if one.rung in THROUGH and one.state == "wrong" and _fails(one.from_pack) and one.rung not in explained
        else one
        for one in found
    ]


def _fails(finding: Finding | None) -> bool:
    return finding is not None and not finding.holds


def _missing(required: tuple[str, ...], rungs: list[RungFound]) -> list[str]:
    """The required rungs that were not seen, or in part alone."""
    seen = {found.rung for found in rungs if found.state != "not seen" and not seen_in_part(found)}
    return [name for name in required if name not in seen]


@dataclass(frozen=True)
class Asked:
    """Options of a check."""

    map: Path | None = None
    """A map of names, in place of one by value."""
    require: tuple[str, ...] = ()
    """Rungs that must have been seen."""
    precision: PortPrecision = "float32"
    """Precision that the bounds are of."""


Diagnose = Callable[[Check, Reference, Replay, Path], tuple[list[RungFound], Diagnosis]]
"""Gives the rungs as causes leave them, and the causes, of a check, the question that replayed it, and a folder."""


def check(
    pack: Pack,
    folder: Path,
    reference: Reference,
    asked: Asked,
    map_file: Path,
    diagnose: Diagnose | None = None,
) -> Checked:
    """Checks a recording of the pack, and writes its map. Raises InputError for a recording that cannot be read, and
    ProcessFailed if the reference fails."""
    unknown = [name for name in asked.require if name not in RUNG]
    if unknown:
        raise InputError(f"--require {unknown[0]!r}: the rungs are {', '.join(RUNG)}")
    recording = Recording.read(folder, pack)
    names = find_names(pack, recording, asked.map)
    answers = Answers.to(pack, reference, whole=recording.whole)
    with tempfile.TemporaryDirectory() as scratch:
        mine = write_values(recording, names, pack, Path(scratch) / "mine")
        replayed, given = Path(scratch) / "replayed", str(pack.folder.absolute())
        question = Replay(pack=given, recording=str(mine.folder), out=str(replayed), threads=reference.threads)
        reference.ask(question, Done)
        loaded = mine.of_rung("parameters")
        rounded = next((name for name in HALVES if is_rounded(loaded, name)), "")
        if asked.precision != "float32":
            noises = noises_in(asked.precision, rounded == asked.precision, pack, answers, reference, recording.whole)
            answers = replace(answers, noises=noises)
        checked = Check(pack, names, recording, mine, OwnValues(mine, Values(replayed, pack, keeps=True)), answers)
        rungs, diagnosis = checked.found(), Diagnosis()
        if diagnose is not None:
            rungs, diagnosis = diagnose(checked, reference, question, Path(scratch))
    if names.map.entries:
        write_map(names.map.entries, map_file)
    missing = _missing(asked.require, rungs)
    return Checked(
        pack=pack.contents.id,
        about=pack.contents.about,
        holds=not missing and all(found.state in ("holds", "not seen") for found in rungs),
        rungs=rungs,
        mapped=len(names.map.entries),
        parameters=len(pack.wanted.parts["parameters"]),
        unmatched=names.unmatched,
        ambiguous=list(names.map.ambiguous),
        missing_rungs=missing,
        precision=asked.precision,
        rounded=rounded,
        diagnosis=diagnosis,
    )
