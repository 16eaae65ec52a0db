"""Kills a sweep at random moments, and tells what was lost:

    python -m tests.kills --cells 40 --kills 100 --checkpoint-every epoch --out results/kills

in the environment bench. A sweep of tiny trainings on torch is run once without kills and checkpoints. Then the same
sweep is run while its runner, its worker or both are killed, and the same command is given again until every cell is
answered. Whatever was killed: no process may stay, no record may change once it is there, and each cell's losses,
scores and logits must be those of the sweep that was not killed. `OUT/kills.csv` has a line for each kill,
`OUT/kills.md` counts them.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import psutil

from benchmarks.workers.environments import CHECKOUT
from shared.job import ANSWER, EVENTS
from shared.records import Record, read_records
from tests.processes import ended, obey_signals, wait_until, workers_of

CELL = ("--backend", "torch", "--task", "acceptability", "--model", "random:bert-tiny", "--max-len", "16", "--limit")
SWEEP = (*CELL, "96", "--batch-size", "8", "--epochs", "4", "--threads", "1", "--device", "cpu")
VICTIMS = ("runner", "worker", "both")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""Signals for a runner that is killed alone. Else it is SIGKILL."""
PHASES = ("no worker", "loading", "training", "answered, not recorded")


@dataclass(frozen=True)
class Kill:
    """One kill."""

    number: int
    victim: str
    sent: str
    seconds: float
    """Time since the runner began, or since the kill before."""
    phase: str
    """The sweep's phase then: one of PHASES."""
    answered: int
    """Cells that were answered then."""
    stayed: int
    """Processes that were still there ten seconds later."""


@dataclass
class Sweep:
    """A sweep in a folder, and what was seen of it."""

    out: Path
    cells: int
    options: tuple[str, ...] = ()
    kills: list[Kill] = field(default_factory=list)
    taken_up: int = 0
    """Answers that a later runner took up."""
    changed: int = 0
    """Records that were no longer what they had been."""
    records: dict[str, bytes] = field(default_factory=dict)
    """Each record's file as it was first seen."""

    def start(self) -> subprocess.Popen[str]:
        """Starts a runner."""
        seeds = map(str, range(1, self.cells + 1))
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.run", *SWEEP, "--seed", *seeds, *self.options, "--out", str(self.out)],
            text=True,
            stdout=(self.out / "output").open("a"),
            stderr=subprocess.STDOUT,
            cwd=CHECKOUT,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        )

    def look(self) -> int:
        """Looks at the records. Returns how many there are."""
        for file in (self.out / "records").glob("[!.]*.json"):
            content = file.read_bytes()
            self.changed += self.records.setdefault(file.name, content) != content
        return len(self.records)

    def phase(self, worker: psutil.Process | None) -> str:
        """The sweep's phase now."""
        if any((self.out / "jobs").glob(f"*/{ANSWER}")):
            return PHASES[3]
        if worker is None:
            return PHASES[0]
        return PHASES[2 if any((self.out / "jobs").glob(f"*/{EVENTS}")) else 1]

    def worker(self) -> psutil.Process | None:
        """The worker at work."""
        return next(iter(workers_of(self.out)), None)

    def finish(self) -> None:
        """Runs the sweep to its end."""
        with self.start() as runner:
            assert runner.wait() == 0, (self.out / "output").read_text()[-2000:]
        self.look()
        self.taken_up = (self.out / "output").read_text().count("answered by a run that was interrupted")

    def litter(self) -> list[str]:
        """Files that are left beside records and tables."""
        return [str(path) for path in self.out.rglob("*") if ".partial" in path.name or path.parent.name == "jobs"]


@dataclass
class Killer:
    """Kills a sweep so often, at moments that a seed gives."""

    sweep: Sweep
    random: random.Random
    number: int
    start_seconds: float
    """A runner's time to its first cell, about."""
    cell_seconds: float

    def run(self) -> None:
        """Kills until the number is reached, then lets the sweep end."""
        sweep = self.sweep
        while len(sweep.kills) < self.number:
            runner = sweep.start()
            while runner.poll() is None and len(sweep.kills) < self.number:
                self._kill(runner)
            if runner.poll() is None:
                runner.kill()
            runner.wait()
            self._wait_for_end()
        sweep.finish()

    def _moment(self) -> float:
        """Seconds until the next kill, so that cells and kills come to their end together."""
        left = self.number - len(self.sweep.kills)
        share = 0.8 * max(0.05, (self.sweep.cells - self.sweep.look()) / left) * self.cell_seconds
        longest = (self.start_seconds + share) + ((self.start_seconds + share) ** 2 - self.start_seconds**2) ** 0.5
        return self.random.uniform(0, longest)

    def _kill(self, runner: subprocess.Popen[str]) -> None:
        """Kills once, unless the runner ends before."""
        victim, sent, wanted = self.random.choice(VICTIMS), self.random.choice(SIGNALS), self._moment()
        begun = time.monotonic()
        while runner.poll() is None and time.monotonic() - begun < wanted:
            time.sleep(0.005)
        if victim == "worker":
            while runner.poll() is None and self.sweep.worker() is None:
                time.sleep(0.005)
        if runner.poll() is not None:
            return
        worker = self.sweep.worker()
        phase, answered = self.sweep.phase(worker), self.sweep.look()
        if victim in ("worker", "both"):
            sent = signal.SIGKILL
            with suppress(psutil.NoSuchProcess):  # it ended just now
                if worker is not None and not ended(worker):
                    worker.kill()
        if victim in ("runner", "both"):
            runner.send_signal(sent)
            runner.wait()
        stayed = self._wait_for_end() if victim != "worker" else 0
        seconds = round(time.monotonic() - begun, 2)
        kill = Kill(len(self.sweep.kills) + 1, victim, sent.name, seconds, phase, answered, stayed)
        self.sweep.kills.append(kill)
        print(f"{kill.number:3d}  {victim:7s} {sent.name:8s} {phase:22s} {answered} answered", flush=True)

    def _wait_for_end(self) -> int:
        """Waits until no worker of the sweep is left. Returns how many stayed."""
        end = time.monotonic() + 10
        while (left := workers_of(self.sweep.out)) and time.monotonic() < end:
            time.sleep(0.02)
        return len(left)


@dataclass(frozen=True)
class Found:
    """Effects of the kills."""

    cells: int
    kills: list[Kill]
    taken_up: int
    went_on: int
    """Trainings that went on from a checkpoint."""
    changed: int
    differ: int
    """Cells that are not answered as in the sweep that was not killed."""
    litter: list[str]
    command: str

    @property
    def holds(self) -> bool:
        """Whether nothing was lost and nothing stayed."""
        return not (self.changed or self.differ or self.litter or any(kill.stayed for kill in self.kills))

    def write(self, out: Path) -> None:
        """Writes the lines and the table."""
        out.mkdir(parents=True, exist_ok=True)
        with (out / "kills.csv").open("w", newline="", encoding="utf-8") as file:
            lines = csv.DictWriter(file, list(asdict(self.kills[0])), lineterminator="\n")
            lines.writeheader()
            lines.writerows(asdict(kill) for kill in self.kills)
        (out / "kills.md").write_text("\n".join(self._page()) + "\n", encoding="utf-8")

    def _page(self) -> Iterator[str]:
        yield f"{len(self.kills)} kills of a sweep of {self.cells} cells:\n\n    {self.command}\n"
        yield f"| killed | {' | '.join(PHASES)} | in all |"
        yield "|:---|" + "---:|" * (len(PHASES) + 1)
        for victim in VICTIMS:
            counted = Counter(kill.phase for kill in self.kills if kill.victim == victim)
            yield f"| {victim} | {' | '.join(str(counted[phase]) for phase in PHASES)} | {counted.total()} |"
        yield "\n| after all kills | |\n|:---|---:|"
        yield f"| processes that stayed | {sum(kill.stayed for kill in self.kills)} |"
        yield f"| records that changed, once they were there | {self.changed} |"
        yield f"| cells whose losses, scores or logits differ from those of a sweep without kills | {self.differ} |"
        yield f"| files left beside records and tables | {len(self.litter)} |"
        yield f"| answers that a later runner took up | {self.taken_up} |"
        yield f"| trainings that went on from a checkpoint | {self.went_on} |"


def kill(cells: int, kills: int, seed: int, scratch: Path, options: tuple[str, ...] = ()) -> Found:
    """Runs a sweep without kills, and one with kills and options, in two folders of `scratch`."""
    whole, killed = Sweep(scratch / "whole", cells), Sweep(scratch / "killed", cells, options)
    for sweep in (whole, killed):
        sweep.out.mkdir()
    begun = time.monotonic()
    with whole.start() as runner:
        wait_until(whole.worker, "the first worker runs")
        start_seconds = time.monotonic() - begun
        assert runner.wait() == 0
    cell_seconds = (time.monotonic() - begun - start_seconds) / cells
    Killer(killed, random.Random(seed), kills, start_seconds, cell_seconds).run()
    expected, found = ({r.id: r for r in read_records(sweep.out)} for sweep in (whole, killed))
    assert len(expected) == cells
    differ = sum(not (id in found and _same(whole, killed, expected[id], found[id])) for id in expected)
    went_on = sum(record.answer.interruptions > 0 for record in found.values())
    command = f"python -m tests.kills --cells {cells} --kills {kills} --seed {seed} {' '.join(options)}".strip()
    return Found(cells, killed.kills, killed.taken_up, went_on, killed.changed, differ, killed.litter(), command)


def _same(whole: Sweep, killed: Sweep, one: Record, other: Record) -> bool:
    """Whether two records are of the same training, to the last bit."""
    a, b = one.answer, other.answer
    dev = [[epoch.dev for epoch in answer.epochs] for answer in (a, b)]
    if (a.step_loss, a.received, a.test, a.predictions) != (b.step_loss, b.received, b.test, b.predictions):
        return False
    files = [sweep.out / "records" / f"{one.id}.npz" for sweep in (whole, killed)]
    with np.load(files[0]) as first, np.load(files[1]) as second:
        equal = first.files == second.files and all(np.array_equal(first[name], second[name]) for name in first.files)
    return equal and dev[0] == dev[1]


def main() -> int:
    """Kills, and writes what was found. Returns 1 if something was lost or stayed."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--cells", type=int, default=40, help="cells of the sweep (40)")
    made.add_argument("--kills", type=int, default=100, help="kills (100)")
    made.add_argument("--seed", type=int, default=1, help="of what is killed when (1)")
    made.add_argument("--out", type=Path, default=Path("kills"), help="folder of the results (kills)")
    made.add_argument("--checkpoint-every", help="of the sweep that is killed (no checkpoints)")
    options = made.parse_args()
    obey_signals()
    every = ("--checkpoint-every", options.checkpoint_every) if options.checkpoint_every else ()
    with tempfile.TemporaryDirectory() as scratch:
        found = kill(options.cells, options.kills, options.seed, Path(scratch), every)
    found.write(options.out)
    print((options.out / "kills.md").read_text(encoding="utf-8"))
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
