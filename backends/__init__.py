"""The registry of backends. Importing it imports no framework."""

from __future__ import annotations

from dataclasses import dataclass

from shared.batching import REPEATED_WIDTHS
from shared.errors import InputError
from shared.job import TRAINED, Precision


@dataclass(frozen=True)
class Backend:
    """What is known of a backend without importing its framework."""

    module: str
    """The adapter, which has the function `load` of shared/contract.py."""
    modules: tuple[str, ...]
    """What the adapter imports; the first is the framework."""
    revision: int
    """Raised when the adapter's arithmetic or speed changes: records of another revision no longer answer."""
    cpu: tuple[Precision, ...] = ("float32", "float64")
    """The precisions that the adapter computes in on a CPU."""
    gpu: tuple[Precision, ...] = ("float32", "float64")
    stock: str | None = None
    """The module with the framework's own parts, whose `load` takes their names too (backends.parts)."""
    traces_widths: bool = False
    """Compiled, each new width of a batch costs a trace."""

    def width_multiple(self, compile: bool) -> int:
        """What the width of batches is a multiple of, where that is not above max_len."""
        return REPEATED_WIDTHS if compile and self.traces_widths else 1


BACKENDS: dict[str, Backend] = {
    "torch": Backend(
        "backends.torch.adapter",
        ("torch", "transformers"),
        revision=2,
        cpu=("float32", "bfloat16", "float64"),
        gpu=("float32", "bfloat16", "float16", "tf32", "float64"),
        stock="backends.torch.parts",
    ),
    # MXNet 1.9 has no operators for bfloat16 and float16 on a CPU. On a GPU float16 would need its `amp`, which was
    # never tried here.
    "gluon": Backend(
        "backends.gluon.adapter",
        ("mxnet", "gluonnlp"),
        revision=1,
        stock="backends.gluon.parts",
        traces_widths=True,
    ),
    # float16 would need the loss to be scaled, which bfloat16 does not.
    "keras": Backend(
        "backends.keras.adapter",
        ("tensorflow", "keras", "keras_hub"),
        revision=1,
        cpu=("float32", "bfloat16", "float64"),
        gpu=("float32", "bfloat16", "tf32", "float64"),
        stock="backends.keras.parts",
        traces_widths=True,
    ),
}


def check_precision(backend: str, device: str, precision: Precision) -> None:
    """Raises InputError where the backend does not compute in this precision on `cpu` or `cuda:n`."""
    has = BACKENDS[backend].cpu if device == "cpu" else BACKENDS[backend].gpu
    if precision not in has:
        others = ", ".join(name for name in TRAINED if name in has)
        raise InputError(
            f"{backend} does not compute in {precision} on {device}; pass --precision {others}, or leave {backend} out"
        )
