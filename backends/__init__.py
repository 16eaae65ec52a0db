"""The registry of backends. Importing it imports no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from shared.batching import REPEATED_WIDTHS
from shared.errors import InputError
from shared.job import TRAINED, EmbeddingUpdate, Precision
from shared.recipe import Recipe


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
    packs: bool = False
    """The adapter has the recipe's padding `none`: it computes on real tokens alone (shared/packing.py)."""
    attention_groups: int = 1
    """The most groups of rows that attention is then computed in, on a CPU and not compiled."""
    reseeded: bool = False
    """The framework gives no access to dropout's stream. Each checkpoint starts it again, and so is part of the
    question (`shared.contract.Reseeded`)."""
    on_cpu: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of a worker on a CPU, unless they are set: the framework reads them as it is imported."""
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

    def groups(self, device: str, compile: bool) -> int:
        """The most groups of rows that attention is computed in if padding is `none`."""
        return self.attention_groups if device == "cpu" and not compile else 1


_ALL = (
    Backend(
        "torch",
        "backends.torch",
        ("torch", "transformers"),
        revision=3,
        cpu=("float32", "bfloat16", "float64"),
        gpu=("float32", "bfloat16", "float16", "tf32", "float64"),
        packs=True,
        attention_groups=4,
    ),
    # MXNet 1.9 has no operators for bfloat16 and float16 on a CPU. On a GPU float16 would need its `amp`, which is
    # untried.
    Backend(
        "gluon",
        "backends.gluon",
        ("mxnet", "gluonnlp"),
        revision=2,
        compiles_widths=True,
        reseeded=True,
        # Operators run one after another. Threads of an engine would wait for each other, as long as steps are short.
        on_cpu={"MXNET_ENGINE_TYPE": "NaiveEngine"},
        only_python="3.11",
    ),
    # Unlike bfloat16, float16 would need a scaled loss.
    Backend(
        "keras",
        "backends.keras",
        ("tensorflow", "keras", "keras_hub"),
        revision=2,
        cpu=("float32", "bfloat16", "float64"),
        gpu=("float32", "bfloat16", "tf32", "float64"),
        compiles_widths=True,
        packs=True,
    ),
    Backend(
        "keras-jax",
        "backends.keras_jax",
        ("jax", "keras", "keras_hub"),
        revision=2,
        cpu=("float32", "bfloat16", "float64"),
        gpu=("float32", "bfloat16", "tf32", "float64"),
        compiles_widths=True,
        packs=True,
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


def check_padding(backend: str, recipe: Recipe, compile: bool = False) -> None:
    """Raises InputError if the backend cannot compute without padding, compiled or not, and the recipe asks for it."""
    if recipe.padding != "none":
        return
    if not BACKENDS[backend].packs:
        raise InputError(
            f"{backend} does not compute without padding; pass --padding longest or bucket, or leave {backend} out"
        )
    if compile and BACKENDS[backend].compiles_widths:
        raise InputError(
            f"{backend} would compile for nearly every batch without padding; pass --compile no or --padding longest"
        )


def check_compile(backend: str, compile: bool) -> None:
    """Raises InputError if `compile` asks for what the backend always does: the answers would be the same."""
    if compile and BACKENDS[backend].always_compiles:
        raise InputError(
            f"{backend} always compiles, so --compile yes changes nothing; pass --compile no, or leave {backend} out"
        )


def moves_every_row(recipe: Recipe, word_table: str) -> bool:
    """Whether the recipe's optimizer moves every row of the word embedding, whose table has this name, at every
    step."""
    return recipe.optimizer == "adam" and recipe.decays(word_table)


def check_embedding_update(update: EmbeddingUpdate, recipe: Recipe, word_table: str) -> None:
    """Raises InputError if the recipe's optimizer moves every row of the word embedding, whose table has this name, and
    the update is to be by rows."""
    if update == "rows" and moves_every_row(recipe, word_table):
        raise InputError(
            f"--embedding-update rows: with optimizer adam, decay {recipe.decay:g} is a part of every row's gradient, "
            "so that every row moves at every step; pass --embedding-update dense, --optimizer adamw or --decay 0"
        )
