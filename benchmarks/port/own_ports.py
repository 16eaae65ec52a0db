"""This project's own adapters as ports of the gallery, each as it is and with one standard part of its framework."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from backends import BACKENDS, Backend
from backends.parts import Part, parts_of
from benchmarks.workers.environments import CHECKOUT, find_environment
from benchmarks.workers.launcher import run_worker
from shared.answer import Recorded
from shared.job import RECORDING, Job
from shared.pack import Pack

PYTHON = "3.11"
"""Version of the interpreters whose packages requirements/ locks."""

PIN = r"[\w.-]+==[\w.]+"

DISTRIBUTIONS = {"tensorflow": "tensorflow-cpu", "keras_hub": "keras-hub"}
"""Packages of the locks by the module that they hold, if it has another name."""


@dataclass(frozen=True)
class OwnPort:
    """An adapter, with one standard part of its framework or none."""

    backend: Backend
    part: Part | None = None

    @property
    def name(self) -> str:
        """As `gallery` takes it: concord_keras, or stock_keras_adamw."""
        room = self.backend.room.rpartition(".")[2]
        return f"concord_{room}" if self.part is None else f"stock_{room}_{self.part.name}"

    @property
    def library(self) -> str:
        """This project, and the part."""
        return "Concord" if self.part is None else f"Concord with stock {self.part.name}"

    @property
    def computes_with(self) -> str:
        """The framework and its version."""
        package = DISTRIBUTIONS.get(self.backend.modules[0], self.backend.modules[0])
        lock = CHECKOUT / "requirements" / f"{self.backend.name}.txt"
        pins = dict(line.split("==") for line in lock.read_text(encoding="utf-8").split() if re.fullmatch(PIN, line))
        return f"{package} {pins[package]}"

    @property
    def python_version(self) -> str:
        """Version of the interpreter."""
        return self.backend.only_python or PYTHON

    @property
    def told(self) -> list[str]:
        """Known mistakes that a check tells it as."""
        return [] if self.part is None else list(self.part.told)

    def run(self, pack: Path, recording: Path, pythons: dict[str, Path], threads: int) -> None:
        """Records the pack, which is one of BERT, in the backend's environment. Raises InputError and ProcessFailed."""
        python = find_environment(self.backend.name, pythons).python
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            self._job(Pack.read(pack), threads).write(folder)
            run_worker(python, folder, threads, lambda _: None, Recorded)
            shutil.move(folder / RECORDING, recording)

    def _job(self, pack: Pack, threads: int) -> Job:
        settings, folder = pack.run("train").settings, str(pack.folder.absolute())
        recipe = settings.recipe(list(pack.weights))
        return Job(
            kind="answer",
            backend=self.backend.name,
            task="",
            labels=tuple(map(str, range(settings.num_labels))),
            metrics=("accuracy",),
            data="",
            checkpoint=folder,
            recipe=replace(recipe, max_len=settings.max_positions or recipe.max_len),
            device="cpu",
            threads=threads,
            pack=folder,
            parts=() if self.part is None else (self.part.name,),
        )


def own_ports() -> Iterator[OwnPort]:
    """All of them: the adapters, then the standard parts that a BERT has."""
    yield from map(OwnPort, BACKENDS.values())
    for backend in BACKENDS.values():
        yield from (OwnPort(backend, part) for part in parts_of(backend.name, "bert"))
