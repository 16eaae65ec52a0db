"""Plants known mistakes in sound ports, and tells how often the diagnosis names them:

    python -m tests.backends.diagnoses --pack pack --pairs 300 --triples 50 --sound 200 --out results/diagnoses

in torch's environment: each mistake alone, pairs and triples drawn by a seed, and sound variants, in which nothing may
be claimed. The mistakes are the texts of tests/told.py in ports/torch_plain; `--port keras --python PATH` plants those
of ports/keras_plain, run by that interpreter, and `--port jax` those of ports/jax_plain. Each recording is checked as
`benchmarks.port check` does it.

`OUT/PORT.jsonl` has a line for each, written as it comes: the same command again goes on, `--again` repeats what was
told wrongly. With `--document docs/parity.md` the table between the marks there is written from it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import msgspec
import torch

from benchmarks.port.answers import Answers
from benchmarks.port.shows import shown_by
from shared.cache import cache_dir
from shared.pack import Pack
from tests.backends.diagnoses_table import Shown, told, write_table
from tests.backends.planting import (
    FAILS,
    ONE_TEXT,
    PLANTED,
    Here,
    Outcome,
    answers_to,
    outcome,
    outcome_of,
    planted,
    sampled,
    sound_outcome,
)
from tests.ports import ROOT
from tests.told import NOT_SHOWN

CHUNK = 8
"""Scripts that one process of another framework runs."""
COMPILES = {
    "JAX_COMPILATION_CACHE_DIR": str(cache_dir() / "ports"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
}
"""JAX compiles a program for each run and shape: fast programs do not pay here, and some mistakes share theirs."""
SIZE = {"alone": 1, "pairs": 2, "triples": 3}

Key = tuple[str, str, tuple[str, ...], int | None]


@dataclass
class Results:
    """Outcomes by what was planted, kept in a file."""

    file: Path
    found: dict[Key, Outcome] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, port: str, again: bool = False) -> Results:
        """Those of a port in a folder; without what was told wrongly if it is to be told `again`."""
        results = cls(folder / f"{port}.jsonl")
        if results.file.exists():
            for line in results.file.read_text(encoding="utf-8").splitlines():
                one = msgspec.convert(json.loads(line), Outcome)
                if told(one) or not again:
                    results.found[key_of(one)] = one
        return results

    def add(self, one: Outcome) -> None:
        """Keeps an outcome, and prints it."""
        self.found[key_of(one)] = one
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(line_of(one))
        show(one)

    def write(self) -> None:
        """Writes every outcome again, in order."""
        lines = [line_of(self.found[key]) for key in sorted(self.found, key=lambda key: (*key[:3], key[3] or 0))]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text("".join(lines), encoding="utf-8")

    def counted(self, kind: str) -> int:
        """Outcomes of a kind that were not left out."""
        return sum(one.kind == kind and not one.left_out for one in self.found.values())


def key_of(one: Outcome) -> Key:
    """The outcome's key."""
    return one.port, one.kind, tuple(one.planted), one.variant


def line_of(one: Outcome) -> str:
    """The outcome's line; fields that are empty are left out."""
    fields = {name: value for name, value in msgspec.to_builtins(one).items() if value not in ([], (), "", None)}
    return json.dumps(fields) + "\n"


def show(one: Outcome) -> None:
    """Prints one line."""
    name = f"{one.port}: {' + '.join(one.planted) or f'sound variant {one.variant}'}"
    if one.left_out:
        print(f"{name:60s} left out: {one.left_out}", flush=True)
        return
    verdict = "named" if one.all_named and not one.others else "NAMED, OTHERS" if one.all_named else "NOT NAMED"
    if one.kind == "sound" or (one.kind == "alone" and one.planted[0] in NOT_SHOWN):
        verdict = "CLAIMED" if one.said else "nothing claimed"
    wrong = "" if told(one) else f"  (rungs {one.rungs}, unexplained {one.unexplained}, others {one.others})"
    print(f"{name:60s} {verdict:15s} {'; '.join(one.said)}{wrong}", flush=True)


def wanted(kind: str, number: int, results: Results) -> Iterator[tuple[str, ...]]:
    """Combinations to plant until enough tell something. Those that cannot be planted are kept as left out."""
    passed = 0
    for names, reason in sampled(SIZE[kind]):
        if min(passed, results.counted(kind)) >= number:
            return
        known = results.found.get(("torch", kind, names, None))
        if reason and known is None:
            results.add(Outcome(kind=kind, planted=names, left_out=reason))
        elif known is None:
            yield names
        passed += not reason and (known is None or not known.left_out)


@cache
def _answers(pack: Path, folder: Path) -> tuple[Pack, Answers]:
    torch.set_num_threads(1)
    read = Pack.read(pack)
    return read, answers_to(read, folder)


def one_outcome(pack: Path, folder: Path, names: tuple[str, ...]) -> Outcome:
    """The outcome of planting mistakes, in any process."""
    read, answers = _answers(pack, folder)
    return outcome(read, names, answers)


def one_sound(pack: Path, folder: Path, number: int) -> Outcome:
    """The outcome of a sound variant, in any process."""
    read, answers = _answers(pack, folder)
    return sound_outcome(read, number, answers)


def one_elsewhere(pack: Path, folder: Path, name: str) -> Outcome:
    """The outcome of planting a mistake on another pack, in any process."""
    read, answers = _answers(pack, folder)
    return msgspec.structs.replace(outcome(read, (name,), answers), kind="elsewhere")


def shown_most(pack: Path, folder: Path, out: Path) -> Shown:
    """How much the pack shows of each mistake; from `out` if it was measured before."""
    read, answers = _answers(pack, folder)
    file = out / "shows.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if known.get("pack") != read.contents.id:
        with tempfile.TemporaryDirectory() as scratch:
            found = shown_by(read, answers, Here(), Path(scratch))  # type: ignore[arg-type]
            most = {name: max(one.findings.values(), key=lambda f: f.share) for name, one in found.items()}
        shares = {name: (one.rung, float(f"{one.share:.3g}")) for name, one in most.items()}
        known = {"pack": read.contents.id, "most": shares}
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return {name: (rung, share) for name, (rung, share) in known["most"].items()}


@dataclass(frozen=True)
class Asked:
    """A command's options, and where the reference's answers lie."""

    options: argparse.Namespace
    pack: Path
    folder: Path

    def torch(self, results: Results) -> None:
        """Plants alone, in pairs and in triples, and records sound variants, with `jobs` processes at once."""
        o = self.options
        alone = ((name,) for name in (PLANTED["torch"] if o.only is None else o.only))
        work = (partial(one_outcome, self.pack, self.folder, names) for names in self._left(alone, results))
        self._each(work, results)
        for kind, number in (("pairs", o.pairs), ("triples", o.triples)):
            work = (partial(one_outcome, self.pack, self.folder, names) for names in wanted(kind, number, results))
            self._each(work, results)
        numbers = (number for number in range(o.sound) if ("torch", "sound", (), number) not in results.found)
        self._each((partial(one_sound, self.pack, self.folder, number) for number in numbers), results)
        if o.other_pack:
            names = (name for name in NOT_SHOWN if ("torch", "elsewhere", (name,), None) not in results.found)
            other, folder = o.other_pack.absolute(), self.folder / "other"
            self._each((partial(one_elsewhere, other, folder, name) for name in names), results)

    def _left(self, every: Iterator[tuple[str, ...]], results: Results) -> Iterator[tuple[str, ...]]:
        yield from (names for names in every if (self.options.port, "alone", names, None) not in results.found)

    def _each(self, work: Iterator[partial[Outcome]], results: Results) -> None:
        """Does the work, `jobs` pieces at once."""
        if self.options.jobs == 1:
            for piece in work:
                results.add(piece())
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.options.jobs, mp_context=context) as pool:
            running: set[Future[Outcome]] = set()
            for piece in work:
                running.add(pool.submit(piece))
                if len(running) > self.options.jobs:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for one in done:
                        results.add(one.result())
            for one in running:
                results.add(one.result())

    def other(self, results: Results) -> None:
        """Plants alone in the port of another framework, some scripts a process."""
        o = self.options
        port, pack = o.port, _answers(self.pack, self.folder)[0]
        left = list(self._left(((name,) for name in (PLANTED[port] if o.only is None else o.only)), results))
        for start in range(0, len(left), CHUNK):
            chunk = left[start : start + CHUNK]
            with tempfile.TemporaryDirectory() as scratch:
                folders = [Path(scratch) / names[0] for names in chunk]
                for names, folder in zip(chunk, folders, strict=True):
                    text = planted(names, port)
                    folder.mkdir()
                    (folder / "train.py").write_text(text or f"raise SystemExit({ONE_TEXT!r})", encoding="utf-8")
                command = [str(self.options.python), "-m", "tests.backends.scripts", str(self.pack), *map(str, folders)]
                run = subprocess.run(command, cwd=ROOT, env=os.environ | COMPILES, capture_output=True, text=True)
                if run.returncode:
                    sys.exit(f"{self.options.python} fails:\n{run.stderr}")
                for names, folder in zip(chunk, folders, strict=True):
                    results.add(self._diagnosed(pack, folder, names))

    def _diagnosed(self, pack: Pack, folder: Path, names: tuple[str, ...]) -> Outcome:
        port, failed = self.options.port, folder / "failed.txt"
        if failed.exists():
            reason = failed.read_text(encoding="utf-8").strip().splitlines()[-1]
            return Outcome(port=port, planted=names, left_out=f"{FAILS} ({reason})".replace(str(folder), ""))
        return outcome_of(pack, folder / "recording", folder, _answers(self.pack, self.folder)[1], names, port)


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--pack", type=Path, required=True, help="folder of the pack")
    made.add_argument("--port", choices=list(PLANTED), default="torch", help="the port to plant in (torch)")
    made.add_argument("--python", type=Path, help="interpreter of that port's environment; needed unless torch")
    made.add_argument("--pairs", type=int, default=0, help="pairs (0)")
    made.add_argument("--triples", type=int, default=0, help="triples (0)")
    made.add_argument("--sound", type=int, default=0, help="sound variants (0)")
    made.add_argument("--other-pack", type=Path, help="a pack on which to plant what the default one does not show")
    made.add_argument("--only", nargs="*", help="ids to plant alone (all)")
    made.add_argument("--jobs", type=int, default=1, help="processes (1)")
    made.add_argument("--out", type=Path, default=Path("diagnoses"), help="folder of the results (diagnoses)")
    made.add_argument("--again", action="store_true", help="repeat what was told wrongly")
    made.add_argument("--document", type=Path, help="page whose table is written from the results")
    return made


def main() -> int:
    """Prints a line for each and the totals. Returns 1 if one is told wrongly."""
    options = parser().parse_args()
    if options.port != "torch" and options.python is None:
        sys.exit(f"--port {options.port}: --python takes the interpreter of its environment")
    results = Results.read(options.out, options.port, options.again)
    results.write()
    with tempfile.TemporaryDirectory() as scratch:
        asked = Asked(options, options.pack.absolute(), Path(scratch))
        _answers(asked.pack, asked.folder)
        (asked.torch if options.port == "torch" else asked.other)(results)
        results.write()
        if options.document:
            shown = shown_most(asked.pack, asked.folder, options.out)
            every = [one for port in PLANTED for one in Results.read(options.out, port).found.values()]
            write_table(options.document, every, shown)
    totals(results)
    return 0 if all(told(one) for one in results.found.values()) else 1


def totals(results: Results) -> None:
    """Prints how many were told."""
    for port in PLANTED:
        for kind in (*SIZE, "sound", "elsewhere"):
            every = [one for one in results.found.values() if (one.port, one.kind) == (port, kind)]
            kept = [one for one in every if not one.left_out]
            if every:
                others = sum(bool(one.others) for one in kept)
                right = sum(one.all_named if kind != "sound" else not one.said for one in kept)
                say = "nothing claimed" if kind == "sound" else "named"
                out = len(every) - len(kept)
                print(f"{port} {kind}: {len(kept)}, {right} {say}, {others} with another claimed, {out} left out")


if __name__ == "__main__":
    sys.exit(main())
