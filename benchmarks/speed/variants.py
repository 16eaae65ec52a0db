"""Variants: ways to train that are measured side by side, by this project's loop or by a library's own trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from backends import BACKENDS
from shared.job import EmbeddingUpdate, Precision

Padding = Literal["max_length", "longest", "bucket", "none"]


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
    embedding_update: Literal["rows"] | UnsetType = UNSET
    """Unset for dense updates, so that files from before there were others stay as they are."""

    @property
    def name(self) -> str:
        """The variant in tables, messages and files."""
        words = (self.backend, "stock" * self.trainer, self.padding, self.precision, "compiled" * self.compile)
        return " ".join(word for word in (*words, "rows" * (self.update == "rows")) if word)

    @property
    def update(self) -> EmbeddingUpdate:
        """How the word embedding is updated."""
        return "dense" if self.embedding_update is UNSET else "rows"

    @property
    def width_multiple(self) -> int:
        """Widths of batches are multiples of this. A library's trainer pads in its own way."""
        return 1 if self.trainer else BACKENDS[self.backend].width_multiple(self.compile)

    @property
    def attention_groups(self) -> int:
        """The most groups of rows of attention without padding, on a CPU."""
        return BACKENDS[self.backend].groups("cpu", self.compile)

    @property
    def widths(self) -> str:
        """How wide its batches are. Variants with equal widths share one sample."""
        if self.padding == "none" and self.attention_groups > 1:
            return f"none, attention in {self.attention_groups} groups"
        if self.padding == "max_length" or self.width_multiple == 1:
            return self.padding
        return f"{self.padding}, to multiples of {self.width_multiple}"


TRAINER_AT_ITS_BEST = (
    Variant("torch", "longest", trainer=True),
    Variant("torch", "longest", "bfloat16", trainer=True),
    Variant("torch", "bucket", "bfloat16", compile=True, trainer=True),
)
"""transformers.Trainer with options that its documentation advises, and with all together that make it fast."""


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
    updates: Sequence[EmbeddingUpdate],
    with_baselines: bool,
) -> list[Variant]:
    """Every combination, backend by backend, and after each backend's its baselines if they are wanted."""
    variants: list[Variant] = []
    for backend in backends:
        variants += [
            Variant(backend, padding, precision, compile, embedding_update="rows" if update == "rows" else UNSET)
            for precision in precisions
            for compile in compiled
            for padding in paddings
            for update in updates
        ]
        if with_baselines:
            variants += baselines(backend)
    return variants
