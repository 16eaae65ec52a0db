"""Variants that climb the ladder."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.job import Precision


@dataclass(frozen=True)
class LadderVariant:
    """A backend in a precision, with some of its framework's own parts in place of this project's."""

    backend: str
    precision: Precision = "float32"
    parts: tuple[str, ...] = ()
    """Names of the framework's own parts (`backends.parts`)."""

    @property
    def name(self) -> str:
        """The variant's name in tables and files."""
        if len(self.parts) == 1:
            return f"{self.backend} stock {self.parts[0]}"
        if self.parts:
            return f"{self.backend} stock"
        return self.backend if self.precision == "float32" else f"{self.backend} {self.precision}"

    def place(self, device: str) -> str:
        """The device that it runs on where others run on `device`: float64 on the CPU, and so the truth."""
        return "cpu" if self.precision == "float64" else device


TRUTH = LadderVariant("torch", "float64")
"""Every variant is compared with it."""


def noise_of(variant: LadderVariant) -> LadderVariant:
    """The variant whose error is the unit of this one's errors: torch in the same precision, or in float32 for float64,
    as torch in float64 is the truth."""
    return replace(TRUTH, precision="float32" if variant.precision == "float64" else variant.precision)
