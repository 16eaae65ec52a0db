"""Variants that climb the ladder."""

from __future__ import annotations

from dataclasses import dataclass

from shared.job import EmbeddingUpdate, Precision


@dataclass(frozen=True)
class LadderVariant:
    """A backend in a precision, with some of its framework's own parts in place of this project's."""

    backend: str
    precision: Precision = "float32"
    parts: tuple[str, ...] = ()
    """Names of the framework's own parts (`backends.parts`)."""
    embedding_update: EmbeddingUpdate = "dense"

    @property
    def name(self) -> str:
        """The variant's name in tables and files."""
        if len(self.parts) == 1:
            return f"{self.backend} stock {self.parts[0]}"
        if self.parts:
            return f"{self.backend} stock"
        words = self.backend if self.precision == "float32" else f"{self.backend} {self.precision}"
        return f"{words} rows" if self.embedding_update == "rows" else words

    def place(self, device: str) -> str:
        """The device that it runs on where others run on `device`: float64 on the CPU, as the truth."""
        return "cpu" if self.precision == "float64" else device


TRUTH = LadderVariant("torch", "float64")
"""No variant climbs with it: it computes what the reference does, which every variant is compared with."""


def noise_of(variant: LadderVariant, device: str) -> LadderVariant | None:
    """The variant whose error is the unit of this one's errors: torch in the same precision and place. None for the
    reference's own float32 on the CPU, which float64 has too."""
    precision: Precision = "float32" if variant.precision == "float64" else variant.precision
    if precision == "float32" and variant.place(device) == "cpu":
        return None
    return LadderVariant("torch", precision)
