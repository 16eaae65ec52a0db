"""Questions of benchmarks.speed. Results are kept in one file a question, which is named by a hash of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, to_builtins

from benchmarks.speed.variants import Variant
from shared.job import Precision
from shared.records import Machine, cell_id


class Processors(Struct, frozen=True, forbid_unknown_fields=True):
    """The part of a machine that decides how fast it trains."""

    cpu: str
    cores: int | None
    gpus: list[str]

    @classmethod
    def of(cls, machine: Machine) -> Processors:
        """The processors of a machine."""
        return cls(machine.cpu, machine.cores, machine.gpus)

    @property
    def shown(self) -> str:
        """Processor and cores on one line."""
        return f"{self.cpu}, {self.cores} cores"


class Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part that every question has."""

    task: str
    model: str
    """As asked for; a folder by its last part."""
    data: list[str]
    """sha256 of the splits, one a recipe."""
    checkpoint: str
    """sha256 of the checkpoint's files."""
    recipes: list[dict[str, Any]]
    """The fields that differ from the default (`Recipe.asked`), one dict a recipe."""
    versions: dict[str, dict[str, str]]
    """Versions by backend, then by module that its adapter imports."""
    code: str
    """Hash of this project's code: results of other code are no answer."""
    device: str
    threads: int
    machine: Processors
    allocator: str | UnsetType = UNSET
    """Name or file of the workers' allocator, if it is not glibc's."""

    @property
    def workers_shown(self) -> str:
        """A worker's threads, and its allocator if it is not glibc's."""
        return f"{self.threads} threads" + ("" if self.allocator is UNSET else f", allocator {self.allocator}")

    def file(self, out: Path) -> Path:
        """The file under `out` that keeps the results."""
        return out / "rounds" / f"{cell_id(to_builtins(self))}.json"


class SpeedAsked(Asked, frozen=True, tag_field="kind", tag="speed", rename={"variants": "modes"}):
    """The question of variants side by side."""

    steps: int
    """Steps of a sample."""
    variants: list[Variant]


class Computing(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a worker computes."""

    precision: Precision
    compile: bool = False
    embedding_update: Literal["rows"] | UnsetType = UNSET


class ScalingAsked(Asked, frozen=True, tag_field="kind", tag="scaling", rename={"computing": "mode"}):
    """The question of growing work."""

    computing: Computing
