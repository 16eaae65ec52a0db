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


BACKENDS: dict[str, Backend] = {
    "torch": Backend("backends.torch_hf", ("torch", "transformers"), 1),
    "gluon": Backend("backends.gluon_nlp", ("mxnet", "gluonnlp"), 1),
    "keras": Backend("backends.keras_tf", ("tensorflow", "keras", "keras_hub"), 1),
}
