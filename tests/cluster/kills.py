"""Kills nodes and commands of sweeps over a cluster at random moments, and tells what was lost:

    python -m tests.cluster.kills --times 10 --out results/cluster

in the environment cluster. Each round is a sweep of three tiny trainings on torch, on a cluster of two nodes. In half
of the rounds the second node is killed without grace while both nodes have a cell at work, in the others the command
while any has; the same command is then given again. The moment within the cell is drawn at random.
Every cell must be answered once, as on this machine without kills, to the last bit, and nothing may stay.
`OUT/kills.csv` has a line for each round.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from ray.cluster_utils import Cluster

from shared.records import Record, read_records
from tests.arrays import read_arrays
from tests.cluster.clusters import add_node, cluster_of, lose_node, pythons, sweep
from tests.processes import obey_signals, workers_of

SEEDS = ("1", "2", "3")
ASKED = ("--backend", "torch", "--seed", *SEEDS, *pythons("torch"))


@dataclass(frozen=True)
class Round:
    """One kill, and what came of it."""

    number: int
    killed: str
    seconds: float
    """Time after the command began."""
    answered: int
    """Cells that were answered then."""
    working: int
    """Workers that were at work then."""
    attempts: int
    """Starts of all cells that the records tell."""
    changed: int
    """Records that were no longer what they had been."""
    differ: int
    """Cells that are not answered as without kills."""
    stayed: int
    """Workers that were still there ten seconds after the kill of a command, or after the end."""

    @property
    def holds(self) -> bool:
        """Whether nothing was lost and nothing stayed."""
        return not (self.changed or self.differ or self.stayed)


def finish(runner: subprocess.Popen[str]) -> None:
    """Waits for a sweep, which has to answer everything."""
    stdout, stderr = runner.communicate()
    assert runner.returncode == 0, stdout + stderr


def files(out: Path) -> dict[str, bytes]:
    """The content of each record."""
    return {path.name: path.read_bytes() for path in (out / "records").glob("[!.]*.json")}


def stayed(cache: Path) -> int:
    """Waits ten seconds for workers in the nodes' job folders to end. Returns how many stayed."""
    end = time.monotonic() + 10
    while (left := workers_of(cache / "cluster")) and time.monotonic() < end:
        time.sleep(0.05)
    return len(left)


def wait_for_work(runner: subprocess.Popen[str], cache: Path, workers: int, seconds: float) -> int:
    """Waits until so many workers have been at work for so many seconds, or the sweep is over. Returns how many are at
    work then."""
    since = None
    while runner.poll() is None:
        working = len(workers_of(cache / "cluster"))
        since = (since or time.monotonic()) if working >= workers else None
        if since is not None and time.monotonic() - since >= seconds:
            return working
        time.sleep(0.02)
    return 0


def kill_once(cluster: Cluster, number: int, killed: str, moment: float, here: Path, folder: Path) -> Round:
    """Runs one round in a folder: the kill comes so many seconds after cells began. `here` has the records without
    kills."""
    out, cache = folder / f"out{number}", Path(os.environ["CONCORD_CACHE"])
    command = (*ASKED, "--engine", "ray", "--address", cluster.address, "--retries", "3")
    begun = time.monotonic()
    runner = sweep(out, *command)
    working = wait_for_work(runner, cache, 2 if killed == "node" else 1, moment)
    before, seconds = files(out), time.monotonic() - begun
    left = 0
    if killed == "node":
        lose_node(cluster)
        add_node(cluster)
        finish(runner)
    else:
        runner.kill()
        runner.communicate()
        left = stayed(cache)
        finish(sweep(out, *command))
    left += stayed(cache)
    after = files(out)
    expected, found = ({record.id: record for record in read_records(place)} for place in (here, out))
    places = [record.circumstances.place for record in found.values()]
    return Round(
        number=number,
        killed=killed,
        seconds=round(seconds, 2),
        answered=len(before),
        working=working,
        attempts=sum(place.attempts for place in places if place),
        changed=sum(after[name] != content for name, content in before.items()),
        differ=sum(not (id in found and same(here, out, expected[id], found[id])) for id in expected),
        stayed=left,
    )


def same(here: Path, out: Path, one: Record, other: Record) -> bool:
    """Whether two records are of the same training, to the last bit."""
    fields = ("received", "step_loss", "test", "predictions")
    first, second = read_arrays(here, one), read_arrays(out, other)
    arrays = first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)
    return arrays and all(getattr(one.answer, name) == getattr(other.answer, name) for name in fields)


def rounds(times: int, seed: int, folder: Path) -> Iterator[Round]:
    """Runs so many rounds of each kind."""
    here, moments = folder / "here", random.Random(seed)
    finish(sweep(here, *ASKED))
    longest = min(record.circumstances.worker_seconds or 0 for record in read_records(here))
    with cluster_of(2) as cluster:
        for number, killed in enumerate(["node", "command"] * times, 1):
            yield kill_once(cluster, number, killed, moments.uniform(0, 0.8 * longest), here, folder)


def main() -> int:
    """Kills, and writes what was found. Returns 1 if something was lost or stayed."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--times", type=int, default=10, help="kills of nodes, and as many of commands (10)")
    made.add_argument("--seed", type=int, default=1, help="of the moments (1)")
    made.add_argument("--out", type=Path, default=Path("kills"), help="folder of the results (kills)")
    options = made.parse_args()
    obey_signals()
    options.out.mkdir(parents=True, exist_ok=True)
    holds = True
    with (
        tempfile.TemporaryDirectory() as scratch,
        (options.out / "kills.csv").open("w", newline="", encoding="utf-8") as file,
    ):
        lines = csv.DictWriter(file, [field.name for field in fields(Round)], lineterminator="\n")
        lines.writeheader()
        os.environ["CONCORD_CACHE"] = str(Path(scratch) / "cache")
        for one in rounds(options.times, options.seed, Path(scratch)):
            print(one, flush=True)
            lines.writerow(asdict(one))
            file.flush()
            holds = holds and one.holds
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
