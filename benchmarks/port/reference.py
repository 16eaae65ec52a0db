"""Asks the reference, in torch's interpreter, and keeps its answers to a pack by the pack's id."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.workers.environments import CHECKOUT, Environment, find_environment
from benchmarks.workers.launcher import run_worker
from shared.errors import ProcessFailed
from shared.files import cache_dir, whole_folder
from shared.pack import Pack
from shared.reference import Described, Done, Question, Record, Replay, write_question

T = TypeVar("T", Described, Done)

CODE = ("shared/pack.py", "shared/recipe.py", "backends/torch/reference.py", "backends/torch/optimizer.py")
"""Files that decide the reference's answers."""


@dataclass(frozen=True)
class Reference:
    """torch's interpreter."""

    environment: Environment
    threads: int

    @classmethod
    def find(cls, pythons: dict[str, Path], threads: int) -> Reference:
        """Finds the interpreter. Raises InputError."""
        return cls(find_environment("torch", pythons), threads)

    def ask(self, question: Question, answer: type[T]) -> T:
        """Runs the question in a process of its own. Raises ProcessFailed."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_question(question, folder)
            try:
                return run_worker(
                    self.environment.python, folder, self.threads, lambda _: None, answer, "backends.torch.reference"
                )
            except ProcessFailed as failure:
                raise ProcessFailed(f"the reference: {failure}", failure.tail, failure.refused) from None

    def answers(self, pack: Pack) -> Answers:
        """The reference's answers to the pack: from the cache, or computed now. Raises ProcessFailed."""
        digest = hashlib.sha256(repr(sorted(self.environment.versions.items())).encode())
        for file in CODE:
            digest.update((CHECKOUT / file).read_bytes())
        target = cache_dir() / "references" / f"{pack.contents.id}-{digest.hexdigest()[:12]}"
        if not target.is_dir():
            with whole_folder(target) as partial:
                self._compute(pack, partial)
        return Answers(target)

    def _compute(self, pack: Pack, folder: Path) -> None:
        source = str(pack.folder.absolute())
        made = Answers(folder)
        self.ask(Record(pack=source, out=str(made.exact), precision="float64", threads=self.threads), Done)
        self.ask(Record(pack=source, out=str(made.single), precision="float32", threads=self.threads), Done)
        replay = Replay(pack=source, recording=str(made.single), out=str(made.replayed), threads=self.threads)
        self.ask(replay, Done)


@dataclass(frozen=True)
class Answers:
    """The reference's recordings of one pack."""

    folder: Path

    @property
    def exact(self) -> Path:
        """In float64: the truth."""
        return self.folder / "float64"

    @property
    def single(self) -> Path:
        """In float32: the reference's own rounding."""
        return self.folder / "float32"

    @property
    def replayed(self) -> Path:
        """Values in float64 that follow from those of `single`."""
        return self.folder / "replayed"
