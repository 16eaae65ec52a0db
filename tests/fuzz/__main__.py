"""Mutates every kind of file that is read, and reads it: python -m tests.fuzz --count 10000 --seed 0 --out results/fuzz

Exit code: 0 if each was read or refused in one line, within memory and time; 1 if one was not."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.reporting.page import Heading, Notes, Page, Table
from tests.fuzz.child import MEMORY, SECONDS


@dataclass
class Tried:
    """The tries of one kind."""

    outcomes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def fuzz(seed: int, count: int, first: int = 0) -> dict[str, Tried]:
    """Tries `count` mutations, from number `first`. A process that dies is a fault of its try, and another goes on
    after it."""
    found: dict[str, Tried] = defaultdict(Tried)
    end = first + count
    while first < end:
        for number, kind, result in _child(seed, first, end - first):
            one = found[kind]
            one.outcomes[result["outcome"]] += 1
            one.seconds = max(one.seconds, result["seconds"])
            if result["outcome"] == "fault":
                one.faults.append(f"{number}: {result['said']}")
            first = number + 1
    return dict(found)


def _child(seed: int, first: int, count: int) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Number, kind and outcome of each try of one process, up to its end."""
    command = [sys.executable, "-m", "tests.fuzz.child", str(seed), str(first), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        begun = None
        for line in process.stdout:
            said = json.loads(line)
            if "kind" in said:
                begun = said
            elif begun is not None:
                yield begun["number"], begun["kind"], said
                begun = None
        code = process.wait()
        if begun is not None:
            fault = f"the process ended with {code}: {process.stderr.read()[-200:]!r}"
            yield begun["number"], begun["kind"], {"outcome": "fault", "said": fault, "seconds": 0.0}
        elif code:
            raise RuntimeError(f"the process ended with {code}: {process.stderr.read()[-2000:]}")


def page(found: dict[str, Tried], seed: int) -> Page:
    """The table of every kind."""
    rows = [
        {
            "file": kind,
            "tried": str(sum(one.outcomes.values())),
            "read": str(one.outcomes["read"]),
            "refused": str(one.outcomes["refused"]),
            "faults": str(one.outcomes["fault"]),
            "slowest s": f"{one.seconds:.2f}",
        }
        for kind, one in sorted(found.items())
    ]
    total = sum(sum(one.outcomes.values()) for one in found.values())
    notes = [
        f"{total:,} mutations of seed {seed}: bytes changed, numbers and values replaced by extreme ones",
        "`read`: it still makes sense; `refused`: in one line, by an error of this project's own; `faults`: anything "
        f"else, or more than {MEMORY // 2**20} MB or {SECONDS} s",
    ]
    return Page([Heading("# Files that are damaged or made up"), Table(pd.DataFrame(rows)), Notes(notes)])


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation, to try one again")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = fuzz(options.seed, options.count, options.first)
    shown = page(found, options.seed)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        shown.write(options.out / "fuzz.md")
    print(shown.markdown())
    faults = [f"{kind} {fault}" for kind, one in sorted(found.items()) for fault in one.faults]
    print(*faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
