"""Variants that climb the ladder."""

from __future__ import annotations

from dataclasses import dataclass

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


TRUTH = LadderVariant("torch", "float64")
"""Every variant is compared with it."""
NOISE = LadderVariant("torch")
"""Its error is the unit in which errors are given."""
