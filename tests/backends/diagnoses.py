"""Plants known mistakes in a port, alone and in pairs, and tells how often the diagnosis names them:

    python -m tests.backends.diagnoses --pack pack --pairs 300

in torch's environment. The mistakes are the texts of tests/told.py in ports/torch_plain. Each recording is checked as
`benchmarks.port check` does it, in this process.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from backends.torch.reference import answer, record
from backends.torch.replaying import replay
from backends.torch.rounding import FLOAT32, FLOAT64
from benchmarks.port.answers import Answers, noises_of
from benchmarks.port.causes import Cause, Diagnosis
from benchmarks.port.check import Check, RungFound
from benchmarks.port.diagnosis import diagnose
from benchmarks.port.mapping import find_names
from benchmarks.port.own_values import OwnValues
from benchmarks.port.recording import Recording
from benchmarks.port.values import Values, write_values
from recorder import concord_recorder
from shared.hypotheses import HYPOTHESIS
from shared.pack import Pack
from shared.reference import Question, Replay
from tests.ports import ROOT
from tests.told import TORCH

SEED = 15
ADDS_UP = ("amsgrad", "decay-after")
"""Mistakes that the default pack does not show in a step, so that nothing is wrong by itself: they are not named."""


class Here:
    """The reference, asked in this process."""

    threads = 1

    def ask(self, question: Question, _: Any) -> Any:
        """The answer."""
        return answer(question)


def answers_to(pack: Pack, folder: Path) -> Answers:
    """The reference's answers to a pack, computed in the folder."""
    exact, single, replayed = (Values(folder / name, pack) for name in ("float64", "float32", "replayed"))
    for values, arithmetic in ((exact, FLOAT64), (single, FLOAT32)):
        record(pack, values.folder, arithmetic)
    replay(pack, Replay(pack=str(pack.folder), recording=str(single.folder), out=str(replayed.folder), threads=1))
    return Answers(exact, noises_of(exact, single, replayed))


def planted(names: tuple[str, ...]) -> str | None:
    """The script of ports/torch_plain with these mistakes; None if two of them change the same text."""
    text = (ROOT / "ports" / "torch_plain" / "train.py").read_text(encoding="utf-8")
    for name in names:
        for old, new in TORCH[name].items():
            if text.count(old) != 1:
                return None
            text = text.replace(old, new)
    return text


def run_script(text: str, pack: Path, folder: Path) -> Path:
    """Runs a script on the pack in this process, and returns its recording."""
    script = folder / "train.py"
    script.write_text(text, encoding="utf-8")
    places = {"CONCORD_PACK": str(pack), "CONCORD_RECORDING": str(folder / "recording")}
    with mock.patch.dict(os.environ, places), mock.patch.dict(sys.modules, concord_recorder=concord_recorder):
        torch.manual_seed(0)
        runpy.run_path(str(script))
    return folder / "recording"


def diagnosed(pack: Pack, folder: Path, scratch: Path, answers: Answers) -> tuple[list[RungFound], Diagnosis]:
    """The rungs of a recording, and its diagnosis."""
    recording = Recording.read(folder, pack)
    names = find_names(pack, recording, None)
    mine = write_values(recording, names, pack, scratch / "mine")
    question = Replay(pack=str(pack.folder), recording=str(mine.folder), out=str(scratch / "replayed"), threads=1)
    replay(pack, question)
    check = Check(pack, names, recording, mine, OwnValues(mine, Values(scratch / "replayed", pack)), answers)
    return diagnose(check, Here(), question, scratch)  # type: ignore[arg-type]


@dataclass
class Outcome:
    """The words of a diagnosis about planted mistakes."""

    planted: tuple[str, ...]
    named: list[str] = field(default_factory=list)
    """Ids of all entries of all causes."""
    others: list[str] = field(default_factory=list)
    """Ids that are claimed and were not planted; those that compute the same as planted ones do not count."""
    rungs: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def all_named(self) -> bool:
        """Whether each planted mistake is named."""
        return set(self.planted) <= set(self.named)


def outcome(pack: Pack, names: tuple[str, ...], answers: Answers) -> Outcome | None:
    """Plants the mistakes, records and diagnoses; None if two change the same text."""
    text = planted(names)
    if text is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        recording = run_script(text, pack.folder, Path(scratch))
        rungs, found = diagnosed(pack, recording, Path(scratch), answers)
    entries = [name for cause in found.causes for entry in cause.ids for name in entry]
    return Outcome(
        names,
        list(dict.fromkeys(entries)),
        [name for cause in found.causes for name in _claimed(cause, names)],
        [one.rung for one in rungs if one.state in ("wrong", "parts")],
        found.unexplained,
        [f"{cause.rungs[0]}: {' | '.join('+'.join(e) for e in cause.ids) or cause.nearest}" for cause in found.causes],
    )


def _claimed(cause: Cause, names: tuple[str, ...]) -> list[str]:
    """Ids of a cause that were not planted; none if one of its entries was."""
    if any(set(entry) <= set(names) for entry in cause.ids):
        return []
    return [name for entry in cause.ids[:1] for name in entry if name not in names]


def pairs(count: int) -> Iterator[tuple[str, ...]]:
    """Pairs in an order drawn from the seed, those of one group left out."""
    every = [
        pair
        for pair in combinations((name for name in TORCH if name not in ADDS_UP), 2)
        if len({HYPOTHESIS[name].group or name for name in pair}) == 2 and planted(pair) is not None
    ]
    order = np.random.default_rng(SEED).permutation(len(every))
    yield from (every[n] for n in order[:count])


def outcomes(pack: Pack, every: Iterable[tuple[str, ...]], answers: Answers) -> Iterator[Outcome]:
    """The outcome of each, printed as it comes."""
    for names in every:
        try:
            found = outcome(pack, names, answers)
        except concord_recorder.RecorderError as refusal:
            print(f"{' + '.join(names):45s} left out: it cannot be recorded ({refusal})", flush=True)
            continue
        assert found is not None, f"{names} change the same text"
        show(found)
        yield found


def show(found: Outcome) -> None:
    """Prints one line."""
    verdict = "named" if found.all_named and not found.others else "named, others" if found.all_named else "NOT NAMED"
    print(
        f"{' + '.join(found.planted):45s} {verdict:14s} {'; '.join(found.said)} {found.unexplained or ''}", flush=True
    )


def main() -> int:
    """Prints a table. Returns 1 if a mistake alone is not named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True, help="folder of the pack")
    parser.add_argument("--pairs", type=int, default=0, help="pairs (0)")
    parser.add_argument("--only", nargs="+", default=list(TORCH), help="ids to plant alone (all)")
    options = parser.parse_args()
    pack = Pack.read(options.pack.absolute())
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        answers = answers_to(pack, Path(scratch))
        alone = list(outcomes(pack, ((name,) for name in options.only), answers))
        both = list(outcomes(pack, pairs(options.pairs), answers))
    for kind, every in (("alone", alone), ("pairs", both)):
        named, others = sum(one.all_named for one in every), sum(bool(one.others) for one in every)
        print(f"{kind}: {len(every)} planted, {named} named, {others} with another claimed")
    told = [one for one in alone if one.planted[0] not in ADDS_UP]
    return 0 if all(one.all_named and not one.others for one in told) else 1


if __name__ == "__main__":
    sys.exit(main())
