"""The registry of backends. Importing it imports no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from shared.batching import REPEATED_WIDTHS
from shared.errors import InputError
from shared.job import TRAINED, Precision


@dataclass(frozen=True)
class Backend:
    """A backend, as far as it is known without importing its framework."""

    name: str
    room: str
    """The package with all code of the framework. Its module `adapter` has the function `load` of
    shared/contract.py."""
    modules: tuple[str, ...]
    """Modules that the adapter imports. The first is the framework."""
    revision: int
    """Rises when the adapter's arithmetic or speed changes. Records of another revision then no longer answer."""
    cpu: tuple[Precision, ...] = ("float32", "float64")
    """Precisions of the adapter on a CPU."""
    gpu: tuple[Precision, ...] = ("float32", "float64")
    """Precisions of the adapter on a GPU."""
    compiles_widths: bool = False
    """A compiled model compiles a program for each new width of a batch."""
    always_compiles: bool = False
    """The framework compiles in any case; there is no way to compute without."""
    reseeded: bool = False
    """The framework gives no access to dropout's stream. Each checkpoint starts it again, and so is part of the
    question (`shared.contract.Reseeded`)."""
    only_python: str | None = None
    """The one version of Python that the framework runs on; None if it runs on all that this project supports."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Optional modules that the room lacks, each with the reason."""

    @property
    def folder(self) -> Path:
        """The room's folder."""
        return Path(__file__).parents[1].joinpath(*self.room.split("."))

    @property
    def adapter(self) -> str:
        """Full name of the adapter's module."""
        return f"{self.room}.adapter"

    def module(self, optional: Literal["probes", "parts", "trainer", "bare"]) -> str:
        """Returns the full name of an optional module of the room: `probes` (rates and profiler), `parts` (the
        framework's own parts), `trainer` (the library's own trainer), `bare` (a script without this project). Raises
        InputError with the reason if the room lacks it."""
        if optional in self.lacks:
            raise InputError(f"{self.name} has no {optional}: {self.lacks[optional]}; leave {self.name} out")
        return f"{self.room}.{optional}"

    def width_multiple(self, compile: bool) -> int:
        """The number that widths of batches are multiples of, as far as max_len allows."""
        return REPEATED_WIDTHS if self.compiles_widths and (compile or self.always_compiles) else 1


_ALL = (
    Backend(
        "torch",
        "backends.torch",
        ("torch", "transformers"),
        revision=2,
        cpu=("float32", "bfloat16", "float64"),
        gpu=("float32", "bfloat16", "float16", "tf32", "float64"),
    ),
    # MXNet 1.9 has no operators for bfloat16 and float16 on a CPU. On a GPU float16 would need its `amp`, which is
    # untried.
    Backend(
        "gluon",
        "backends.gluon",
        ("mxnet", "gluonnlp"),
        revision=1,
        compiles_widths=True,
        reseeded=True,
        only_python="3.11",
    ),
    # Unlike bfloat16, float16 would need a scaled loss.
    Backend(
        "keras",
        "backends.keras",
        ("tensorflow", "keras", "keras_hub"),
        revision=1,
        cpu=("float32", "bfloat16", "float64"),
        gpu=("float32", "bfloat16", "tf32", "float64"),
        compiles_widths=True,
    ),
    Backend(
        "keras-jax",
        "backends.keras_jax",
        ("jax", "keras", "keras_hub"),
        revision=1,
        cpu=("float32", "bfloat16", "float64"),
        gpu=("float32", "bfloat16", "tf32", "float64"),
        compiles_widths=True,
        always_compiles=True,
    ),
)
BACKENDS: dict[str, Backend] = {backend.name: backend for backend in _ALL}
"""All backends by name, in the order of tables."""


def check_precision(backend: str, device: str, precision: Precision) -> None:
    """Raises InputError if the backend does not compute in this precision on the device, `cpu` or `cuda:n`."""
    has = BACKENDS[backend].cpu if device == "cpu" else BACKENDS[backend].gpu
    if precision not in has:
        others = ", ".join(name for name in TRAINED if name in has)
        raise InputError(
            f"{backend} does not compute in {precision} on {device}; pass --precision {others}, or leave {backend} out"
        )


def check_compile(backend: str, compile: bool) -> None:
    """Raises InputError if `compile` asks for what the backend always does: the answers would be the same."""
    if compile and BACKENDS[backend].always_compiles:
        raise InputError(
            f"{backend} always compiles, so --compile yes changes nothing; pass --compile no, or leave {backend} out"
        )
