"""Plants each known mistake in a port, and tells how often its training losses alone name it:

    python -m tests.backends.losses_alone --pack pack

in torch's environment. The mistakes are the texts of tests/told.py in ports/torch_plain. `--digits 4` rounds the losses
to so many decimals, as a log would; `--runs train steep` takes the losses of both runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from backends.torch.classifier import Classifier
from backends.torch.losses import Courses, CurveTries, Ranking
from backends.torch.rounding import FLOAT64
from benchmarks.port.answers import Answers
from benchmarks.port.losses import bounds, within
from recorder import concord_recorder
from shared.hypotheses import HYPOTHESES, HYPOTHESIS
from shared.pack import VALUE, Pack, part_file
from shared.reference import LossesExplained
from tests.backends.planting import answers_to, planted, run_script
from tests.told import TORCH

Losses = dict[str, list[float]]

VERDICTS = {
    "first": "ranked first",
    "also": "within, not first",
    "holds": "losses hold",
    "other": "another claimed",
    "nothing": "nothing explains",
}
"""Outcomes of the losses of a planted mistake, and how tables call them."""


@dataclass(frozen=True)
class Named:
    """The outcome of the losses of one planted mistake."""

    mistake: str
    verdict: str
    """A key of VERDICTS."""
    found: LossesExplained | None = None


def losses_of(text: str, pack: Pack, runs: list[str]) -> Losses:
    """The losses of a script on the pack."""
    with tempfile.TemporaryDirectory() as scratch:
        recording = run_script(text, pack.folder, Path(scratch))
        found: Losses = {}
        for run in runs:
            found[run] = []
            for step in pack.run(run).steps:
                with np.load(part_file(recording, run, step.name, "loss")) as file:
                    found[run].append(float(file[VALUE]))
        return found


def courses_of(pack: Pack) -> Courses:
    """Trainings of the reference, which several searches share."""
    courses = Courses(pack, Path(), Classifier.build(pack.folder, FLOAT64))
    courses.network.find_places(pack.batch(pack.run("train").steps[0]))
    return courses


def named(name: str, pack: Pack, courses: Courses, answers: Answers, runs: list[str], digits: int | None) -> Named:
    """Whether the losses of a port with this mistake name it."""
    text = planted((name,) if name else ())
    assert text is not None
    mine = losses_of(text, pack, runs)
    if digits is not None:
        mine = {run: [round(loss, digits) for loss in losses] for run, losses in mine.items()}
    half = 0.0 if digits is None else 0.5 * 10.0**-digits
    limits = {run: bounds(answers, pack, run, [half] * len(losses)) for run, losses in mine.items()}
    if within(answers, pack, mine, limits):
        return Named(name, "holds")
    found = Ranking(CurveTries(courses, mine, limits), lambda _: None).run()
    ids = [one.ids for one in found.within]
    if not ids:
        return Named(name, "nothing", found)
    return Named(name, "first" if ids[0] == [name] else "also" if [name] in ids else "other", found)


def show(one: Named) -> None:
    """Prints one line."""
    also = [f"{'+'.join(each.ids)} {each.share:.2f}" for each in (one.found.within[:4] if one.found else [])]
    count = len(one.found.within) if one.found else 0
    nearest = f"nearest {'+'.join(one.found.nearest[0].ids)}" if one.verdict == "nothing" and one.found else ""
    print(f"{one.mistake or 'sound':25s} {one.verdict:8s} {count:3d} {'; '.join(also)}{nearest}", flush=True)


def show_table(counts: Counter[tuple[str, str]]) -> None:
    """Prints how many mistakes of each kind had each verdict, in Markdown."""
    print(f"\n| kind | planted | {' | '.join(VERDICTS.values())} |\n|---|{'---|' * (len(VERDICTS) + 1)}")
    for kind in dict.fromkeys(one.kind for one in HYPOTHESES):
        row = [counts[kind, verdict] for verdict in VERDICTS]
        print(f"| {kind} | {sum(row)} | {' | '.join(map(str, row))} |")
    every = [sum(number for (_, of), number in counts.items() if of == verdict) for verdict in VERDICTS]
    print(f"| all | {sum(every)} | {' | '.join(map(str, every))} |")


def main() -> int:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True, help="folder of the pack")
    parser.add_argument("--runs", nargs="+", default=["train"], help="runs whose losses are told (train)")
    parser.add_argument("--digits", type=int, help="decimals of the losses (all)")
    parser.add_argument("--only", nargs="+", default=list(TORCH), help="ids to plant (all)")
    options = parser.parse_args()
    pack = Pack.read(options.pack.absolute())
    torch.set_num_threads(1)
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        answers, courses = answers_to(pack, Path(scratch)), courses_of(pack)
        for name in options.only:
            try:
                one = named(name, pack, courses, answers, options.runs, options.digits)
            except concord_recorder.RecorderError as refusal:
                print(f"{name:25s} left out: it cannot be recorded ({refusal})", flush=True)
                continue
            counts[HYPOTHESIS[name].kind, one.verdict] += 1
            show(one)
    show_table(counts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
