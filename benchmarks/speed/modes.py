"""Ways to train that `benchmarks.speed` sets side by side: this project's, and each library's stock way."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from backends import BACKENDS
from shared.errors import InputError
from shared.job import PRECISIONS

Padding = Literal["max_length", "longest", "bucket"]


@dataclass(frozen=True)
class Mode:
    """A row of the table."""

    backend: str
    padding: Padding
    """As `Recipe.padding`."""
    precision: str = "float32"
    compile: bool = False
    stock: bool = False
    """Trained by the library's own trainer (`trainer.py` of its room) in place of this project's loop."""

    @property
    def name(self) -> str:
        words = (self.backend, "stock" * self.stock, self.padding, self.precision, "compiled" * self.compile)
        return " ".join(word for word in words if word)

    @property
    def width_multiple(self) -> int:
        return BACKENDS[self.backend].width_multiple(self.compile)

    @property
    def widths(self) -> str:
        """How wide its batches are: modes alike in that have one sample."""
        if self.padding == "max_length" or self.width_multiple == 1:
            return self.padding
        return f"{self.padding}, to multiples of {self.width_multiple}"

    def of_job(self) -> dict[str, Any]:
        """The fields of a Job that say this precision and compilation. Raises InputError where a Job has no such."""
        if self.precision not in PRECISIONS:
            raise InputError(f"precision {self.precision} is none of {', '.join(PRECISIONS)}")
        return {"precision": self.precision} | ({"compile": True} if self.compile else {})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


BASELINES = (
    Mode("torch", "max_length", stock=True),
    Mode("torch", "longest", stock=True),
    Mode("torch", "longest", "bfloat16", stock=True),
    Mode("gluon", "max_length", stock=True),
    Mode("keras", "max_length", stock=True),
)
"""What each library's users do as its documentation has it; the second and third are Trainer at its better and best."""


def choose_modes(
    backends: list[str], paddings: list[Padding], precisions: list[str], compiled: list[bool], baselines: bool
) -> list[Mode]:
    """Every combination, after each backend's its baselines, which come whatever else is asked for."""
    modes: list[Mode] = []
    for backend in backends:
        modes += [
            Mode(backend, padding, precision, each)
            for precision in precisions
            for each in compiled
            for padding in paddings
        ]
        if baselines:
            modes += [mode for mode in BASELINES if mode.backend == backend]
    return modes
