"""Variants: ways to train that are measured side by side, by this project's loop or by a library's own trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from backends import BACKENDS
from shared.job import Precision

Padding = Literal["max_length", "longest", "bucket"]


class Variant(Struct, frozen=True, forbid_unknown_fields=True, rename={"trainer": "stock"}):
    """A row of the table."""

    backend: str
    padding: Padding
    """As `Recipe.padding`."""
    precision: Precision = "float32"
    compile: bool = False
    trainer: bool = False
    """The library's own trainer trains (`trainer.py` of the backend's room), in place of this project's loop. Files and
    tables say `stock`."""

    @property
    def name(self) -> str:
        """The variant in tables, messages and files."""
        words = (self.backend, "stock" * self.trainer, self.padding, self.precision, "compiled" * self.compile)
        return " ".join(word for word in words if word)

    @property
    def width_multiple(self) -> int:
        """Widths of batches are multiples of this. A library's trainer pads in its own way."""
        return 1 if self.trainer else BACKENDS[self.backend].width_multiple(self.compile)

    @property
    def widths(self) -> str:
        """How wide its batches are. Variants with equal widths share one sample."""
        if self.padding == "max_length" or self.width_multiple == 1:
            return self.padding
        return f"{self.padding}, to multiples of {self.width_multiple}"


TRAINER_AT_ITS_BEST = (
    Variant("torch", "longest", trainer=True),
    Variant("torch", "longest", "bfloat16", trainer=True),
)
"""transformers.Trainer with two options that its documentation advises."""


def baselines(backend: str) -> list[Variant]:
    """The library's own trainer: padded to max_len, as its documentation has it, and at its best if that differs. One
    whose room lacks a trainer is among them; measuring refuses it with the reason."""
    better = (variant for variant in TRAINER_AT_ITS_BEST if variant.backend == backend)
    return [Variant(backend, "max_length", trainer=True), *better]


def choose_variants(
    backends: Sequence[str],
    paddings: Sequence[Padding],
    precisions: Sequence[Precision],
    compiled: Sequence[bool],
    with_baselines: bool,
) -> list[Variant]:
    """Every combination, backend by backend, and after each backend's its baselines if they are wanted."""
    variants: list[Variant] = []
    for backend in backends:
        variants += [
            Variant(backend, padding, precision, compile)
            for precision in precisions
            for compile in compiled
            for padding in paddings
        ]
        if with_baselines:
            variants += baselines(backend)
    return variants
