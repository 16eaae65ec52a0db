"""The registry of backends. Importing it imports no framework."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backend:
    """What is known of a backend without importing its framework."""

    module: str
    """The adapter, which has the function `load` of backends/contract.py."""
    modules: tuple[str, ...]
    """What the adapter imports; the first is the framework."""
    revision: int
    """Raised when the adapter's arithmetic or speed changes: records of another revision no longer answer."""
    stock: str | None = None
    """The module with the framework's own parts, whose `load` takes their names too (backends.stock)."""


BACKENDS: dict[str, Backend] = {
    "torch": Backend("backends.torch_hf", ("torch", "transformers"), 1, "backends.stock.torch_hf"),
    "gluon": Backend("backends.gluon_nlp", ("mxnet", "gluonnlp"), 1, "backends.stock.gluon_nlp"),
    "keras": Backend("backends.keras_tf", ("tensorflow", "keras", "keras_hub"), 1, "backends.stock.keras_tf"),
}
