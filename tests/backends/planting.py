"""Plants known mistakes in a port, records it, and has the recording diagnosed in this process, torch's."""

from __future__ import annotations

import os
import runpy
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from msgspec import Struct

from backends.torch.reference import answer, record
from backends.torch.replaying import replay
from backends.torch.rounding import FLOAT32, FLOAT64
from benchmarks.parity.ladder import compare_by, with_gradient
from benchmarks.parity.rungs import RUNGS
from benchmarks.port.answers import Answers, noises_of
from benchmarks.port.causes import Cause, Diagnosis
from benchmarks.port.check import Check, RungFound
from benchmarks.port.diagnosis import diagnose
from benchmarks.port.mapping import Names, find_names
from benchmarks.port.own_values import OwnValues
from benchmarks.port.recording import Recording
from benchmarks.port.values import Values, write_values
from recorder import concord_recorder
from recorder.concord_recorder import Map
from shared.hypotheses import CLEAR, HYPOTHESIS
from shared.pack import Pack
from shared.reference import Question, Replay
from tests.backends.sound_variants import Variant
from tests.ports import ROOT
from tests.told import NOT_SHOWN, TORCH
from tests.told_jax import JAX
from tests.told_keras import KERAS

SEED = 15
PLANTED = {"torch": TORCH, "keras": KERAS, "jax": JAX}
"""Changes of the ports' scripts, by port and id."""
FAILS = "its script fails"
ONE_GROUP = "they cannot both be made"
ONE_TEXT = "they change the same text of the script"


class Here:
    """The reference, asked in this process."""

    threads = 1

    def ask(self, question: Question, _: Any) -> Any:
        """The answer."""
        return answer(question)


class Outcome(Struct, frozen=True, kw_only=True):
    """The words of a diagnosis about planted mistakes."""

    port: str = "torch"
    kind: str = "alone"
    """alone, pairs, triples or sound."""
    planted: tuple[str, ...] = ()
    variant: int | None = None
    """The number of a sound variant."""
    named: list[str] = []
    """Ids of all entries of all causes."""
    others: list[str] = []
    """Ids that are claimed and were not planted; those that compute the same as planted ones do not count."""
    rungs: list[str] = []
    """Rungs that are wrong by themselves or in parts."""
    unexplained: list[str] = []
    said: list[str] = []
    left_out: str = ""
    """Why it tells nothing; empty if it does."""

    @property
    def all_named(self) -> bool:
        """Whether each planted mistake is named."""
        return set(self.planted) <= set(self.named)


def answers_to(pack: Pack, folder: Path) -> Answers:
    """The reference's answers to a pack, computed in the folder unless they are there."""
    exact, single, replayed = (Values(folder / name, pack) for name in ("float64", "float32", "replayed"))
    if not replayed.folder.exists():
        for values, arithmetic in ((exact, FLOAT64), (single, FLOAT32)):
            record(pack, values.folder, arithmetic)
        replay(pack, Replay(pack=str(pack.folder), recording=str(single.folder), out=str(replayed.folder), threads=1))
    return Answers(exact, noises_of(exact, single, replayed))


def planted(names: tuple[str, ...], port: str = "torch") -> str | None:
    """The script of ports/PORT_plain with these mistakes; None if two of them change the same text."""
    text = (ROOT / "ports" / f"{port}_plain" / "train.py").read_text(encoding="utf-8")
    for name in names:
        for old, new in PLANTED[port][name].items():
            if text.count(old) != 1:
                return None
            text = text.replace(old, new)
    return text


def run_script(text: str, pack: Path, folder: Path, seed: int = 0) -> Path:
    """Runs a script on the pack in this process, and returns its recording. Raises RecorderError."""
    folder.mkdir(exist_ok=True)
    shutil.rmtree(folder / "recording", ignore_errors=True)
    script = folder / "train.py"
    script.write_text(text, encoding="utf-8")
    places = {"CONCORD_PACK": str(pack), "CONCORD_RECORDING": str(folder / "recording")}
    sys.modules["concord_recorder"] = concord_recorder
    with mock.patch.dict(os.environ, places):
        torch.manual_seed(seed)
        runpy.run_path(str(script))
    return folder / "recording"


def diagnosed(
    pack: Pack, folder: Path, scratch: Path, answers: Answers, names: Names | None = None
) -> tuple[list[RungFound], Diagnosis]:
    """The rungs of a recording, and its diagnosis."""
    recording = Recording.read(folder, pack)
    names = names or find_names(pack, recording, None)
    mine = write_values(recording, names, pack, scratch / "mine")
    question = Replay(pack=str(pack.folder), recording=str(mine.folder), out=str(scratch / "replayed"), threads=1)
    replay(pack, question)
    check = Check(
        pack, names, recording, mine, OwnValues(mine, Values(scratch / "replayed", pack, keeps=True)), answers
    )
    return diagnose(check, Here(), question, scratch)  # type: ignore[arg-type]


def outcome(pack: Pack, names: tuple[str, ...], answers: Answers) -> Outcome:
    """Plants the mistakes in ports/torch_plain, records and diagnoses."""
    text = planted(names)
    if text is None:
        return Outcome(kind=KINDS[len(names)], planted=names, left_out=ONE_TEXT)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            recording = run_script(text, pack.folder, Path(scratch))
        except concord_recorder.RecorderError as refusal:
            reason = f"it cannot be recorded ({refusal})".replace(scratch, "")
            return Outcome(kind=KINDS[len(names)], planted=names, left_out=reason)
        except Exception as failure:  # of any text that was planted
            reason = f"{FAILS} ({type(failure).__name__}: {failure})".replace(scratch, "")
            return Outcome(kind=KINDS[len(names)], planted=names, left_out=reason)
        found = outcome_of(pack, recording, Path(scratch), answers, names)
    if len(names) > 1 and not found.all_named:
        return found_hidden(pack, found, answers)
    return found


KINDS = ("alone", "alone", "pairs", "triples")


def outcome_of(
    pack: Pack, recording: Path, scratch: Path, answers: Answers, names: tuple[str, ...], port: str = "torch"
) -> Outcome:
    """The diagnosis of a recording of a port with these mistakes."""
    return _said(diagnosed(pack, recording, scratch, answers), names, port)


def sound_outcome(pack: Pack, number: int, answers: Answers) -> Outcome:
    """The diagnosis of a sound variant (tests/backends/sound_variants.py)."""
    shapes = pack.wanted.parts["parameters"]
    names = Names(Map({name: {"from": name, "shape": shape} for name, shape in shapes.items()}), [])
    with tempfile.TemporaryDirectory() as scratch:
        Variant(number).record(pack, Path(scratch) / "recording")
        torch.set_num_threads(1)
        said = _said(diagnosed(pack, Path(scratch) / "recording", Path(scratch), answers, names), (), "torch")
    return Outcome(kind="sound", variant=number, named=said.named, others=said.others, rungs=said.rungs, said=said.said)


def _said(judged: tuple[list[RungFound], Diagnosis], names: tuple[str, ...], port: str) -> Outcome:
    rungs, found = judged
    entries = [name for cause in found.causes for entry in cause.ids for name in entry]
    return Outcome(
        port=port,
        kind=KINDS[len(names)],
        planted=names,
        named=list(dict.fromkeys(entries)),
        others=[name for cause in found.causes for name in _claimed(cause, names)],
        rungs=[one.rung for one in rungs if one.state in ("wrong", "parts")],
        unexplained=found.unexplained,
        said=[
            f"{cause.rungs[0]}: {' | '.join('+'.join(entry) for entry in cause.ids) or f'nearest {cause.nearest}'}"
            for cause in found.causes
        ],
    )


def _claimed(cause: Cause, names: tuple[str, ...]) -> list[str]:
    """Ids of a cause that were not planted; none if one of its entries was."""
    if any(set(entry) <= set(names) for entry in cause.ids):
        return []
    return [name for entry in cause.ids[:1] for name in entry if name not in names]


def found_hidden(pack: Pack, found: Outcome, answers: Answers) -> Outcome:
    """The outcome, left out if the port computes the same without one of the mistakes that are not named, or what
    differs no more than another draw of its dropout."""
    random = any(HYPOTHESIS[name].kind == "random" for name in found.planted)
    with tempfile.TemporaryDirectory() as scratch:
        whole = _values(pack, found.planted, Path(scratch) / "all")
        for name in found.planted:
            others = tuple(other for other in found.planted if other != name)
            without = _values(pack, others, Path(scratch) / name)
            again = _values(pack, others, Path(scratch) / "again", seed=1) if random else without
            moved, chance = apart(whole, without, answers), apart(again, without, answers)
            if name not in found.named and all(moved[rung] <= max(CLEAR, chance[rung]) for rung in moved):
                more = " than the draw of dropout does" if max(chance.values()) > CLEAR else ""
                reason = f"beside {' and '.join(others)}, {name} moves nothing by more than three bounds"
                reason = f"beside {' and '.join(others)}, {name} moves nothing more{more}" if more else reason
                return Outcome(kind=found.kind, planted=found.planted, said=found.said, left_out=reason)
            shutil.rmtree(Path(scratch) / name)
    return found


def _values(pack: Pack, names: tuple[str, ...], scratch: Path, seed: int = 0) -> Values:
    text = planted(names)
    assert text is not None
    recording = Recording.read(run_script(text, pack.folder, scratch, seed), pack)
    return write_values(recording, find_names(pack, recording, None), pack, scratch / "mine")


def apart(mine: Values, others: Values, answers: Answers) -> dict[str, float]:
    """The largest difference of two recordings by rung, in bounds."""
    gradients = answers.exact.of_rung("gradients")
    assert gradients is not None
    found = {}
    for rung in RUNGS:
        one, two = mine.of_rung(rung.name), others.of_rung(rung.name)
        if one and two and rung.name in answers.noises.from_pack:
            judged = compare_by(rung, two, answers.noises.from_pack[rung.name], one, with_gradient(gradients))
            found[rung.name] = judged.share if judged.error is not None else float("inf")
    return found


def pairs(count: int) -> Iterator[tuple[str, ...]]:
    """The first pairs in an order drawn from the seed, of those that can be planted together."""
    together = (names for names, reason in sampled(2) if not reason)
    yield from (names for names, _ in zip(together, range(count), strict=False))


def sampled(size: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """Combinations of so many mistakes in an order drawn from the seed, each with the reason why it is left out."""
    names = [name for name in TORCH if name not in NOT_SHOWN]
    random = np.random.default_rng(SEED)
    if size == 2:
        every: Iterable[tuple[str, ...]] = combinations(names, 2)
        chosen: Iterable[tuple[str, ...]] = random.permutation(list(every)).tolist()
    else:
        chosen = (random.choice(names, size, replace=False).tolist() for _ in range(100_000))
    for one in chosen:
        some = tuple(sorted(one, key=names.index))
        groups = {HYPOTHESIS[name].group or name for name in some}
        yield some, ONE_GROUP if len(groups) < size else ONE_TEXT if planted(some) is None else ""
