"""Packs: everything that a port of a fine-tuning is given, so that what it computes can be compared.

A pack is a folder of npz, safetensors and JSON:

    README.md             what to do with it
    pack.json             a `PackContents`: runs, their settings and steps
    config.json           HuggingFace's config of the model
    weights.npz           every parameter, float32, under HuggingFace's names; weights.safetensors is the same
    wanted.json           a `Wanted`: what a port may record, with shapes
    batches/*.npz         input_ids, token_type_ids, attention_mask, int64 [b, s]; labels, int64 [b]

A recording is a folder with one file RUN/STEP/PART.npz for each part of a step that a port recorded (recorder/).
RUN/0/parameters.npz has the parameters as loaded; the parameters of a later step are those after its update.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct, field

from shared.architecture import Weights
from shared.errors import InputError
from shared.files import from_json
from shared.parsing import small_text
from shared.recipe import Recipe

FORMAT = 1
CONTENTS, WANTED, PACK_WEIGHTS = "pack.json", "wanted.json", "weights.npz"
NOT_HASHED = ("README.md", CONTENTS)

BY_PARAMETER = ("parameters", "gradients", "clipped")
"""Parts that have an array for each parameter."""

VALUE = "value"
"""Name of the one array of the parts `logits`, `loss` and `norm`."""

Arrays = dict[str, np.ndarray]


OF_RECIPE = (
    "learning_rate",
    "optimizer",
    "beta1",
    "beta2",
    "eps",
    "eps_place",
    "bias_correction",
    "decay",
    "clip",
)
"""Fields of the recipe that settings have under the same name."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every hyper-parameter of a run, and the network's sizes. A size is None if this kind of model has no such."""

    optimizer: Literal["adamw", "adam"]
    """Weight decay decoupled (adamw), or added to the gradient (adam)."""
    learning_rate: float
    """Peak; each step has its own."""
    schedule: str
    warm_up_steps: int
    total_steps: int
    beta1: float
    beta2: float
    eps: float
    eps_place: Literal["after", "before"]
    """Epsilon is added after the second moment's bias correction, or before it."""
    bias_correction: bool
    decay: float
    decayed: list[str]
    """HuggingFace's names of the parameters that decay."""
    clip: float | None
    """Bound on the gradients' global norm."""
    dropout: float
    """Rate at every place; 0 for no dropout."""
    loss: str = "mean cross-entropy"
    layers: int | None = None
    heads: int | None = None
    width: int | None = None
    feed_forward: int | None = None
    activation: str | None = None
    layer_norm_eps: float | None = None
    vocab_size: int | None = None
    max_positions: int | None = None
    type_vocab_size: int | None = None
    num_labels: int
    pad_id: int = 0

    def recipe(self, parameters: list[str]) -> Recipe:
        """The recipe of the optimizer alone, for a model of these parameters."""
        exempt = tuple(name for name in parameters if name not in set(self.decayed))
        return Recipe(**{name: getattr(self, name) for name in OF_RECIPE}, decay_exempt=exempt)


Name = Annotated[str, Meta(pattern=r"\A\w[\w.-]*\Z")]
"""Name of a run, a step or a part, which is a name of files: it leads nowhere else."""

File = Annotated[str, Meta(pattern=r"\A(\w[\w.-]*/)*\w[\w.-]*\Z")]
"""A file within the pack."""


class PackStep(Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a run."""

    name: Name
    """Its number, from 1."""
    batch: File
    """File of the batch, relative to the pack."""
    learning_rate: float


class PackRun(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Steps that a port takes from the same weights."""

    name: Name
    about: str
    trains: bool
    """Each step updates the weights."""
    weights: str
    """File of the first weights, or the name of the run whose last weights they are."""
    settings: Settings
    steps: list[PackStep]


class PackContents(Struct, frozen=True, kw_only=True):
    """The file pack.json."""

    format: int
    id: str
    """Hash of all that the pack holds but README.md."""
    about: str
    model_type: str
    runs: list[PackRun]


Shapes = dict[str, list[int]]


class Wanted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The file wanted.json."""

    format: int
    parts: dict[str, Shapes]
    """Shapes that several steps share, by name."""
    runs: dict[Name, dict[Name, dict[Name, Shapes | str]]]
    """Shapes by run, step and part: by name, or the name of an entry of `parts`."""
    rungs: dict[str, str] = field(default_factory=dict)
    """Subject of each part's comparison."""
    sketches: bool = False
    """Parameters and gradients are wanted as sketches (`recorder.concord_recorder.sketch`): whole, they would take too
    much of a disk."""

    def shapes(self, run: str, step: str, part: str) -> Shapes | None:
        """Shapes of a part's arrays by name; None if the part is not wanted there."""
        found = self.runs.get(run, {}).get(step, {}).get(part)
        return self.parts[found] if isinstance(found, str) else found


@dataclass(frozen=True)
class Pack:
    """A pack that is open for reading."""

    folder: Path
    contents: PackContents
    wanted: Wanted

    @classmethod
    def read(cls, folder: Path) -> Pack:
        """Opens the folder and checks that nothing in it was changed. Raises InputError."""
        file = folder / CONTENTS
        if not file.is_file():
            raise InputError(f"{folder} is no pack: it has no {CONTENTS}; make one: python -m benchmarks.port pack")
        try:
            contents = from_json(small_text(file), PackContents)
            wanted = from_json(small_text(folder / WANTED), Wanted)
        except (ValueError, OSError) as error:
            raise InputError(f"{folder} is a damaged pack ({error}); make it again") from None
        if contents.format != FORMAT:
            raise InputError(f"{folder} is a pack of format {contents.format}, and this project reads {FORMAT}")
        if hash_pack(folder, contents) != contents.id:
            raise InputError(f"{folder} was changed since it was made: its files do not have its id; make it again")
        return cls(folder, contents, wanted)

    def run(self, name: str) -> PackRun:
        """The run of this name."""
        return next(run for run in self.contents.runs if run.name == name)

    def batch(self, step: PackStep) -> Arrays:
        """The step's batch, int64."""
        with np.load(self.folder / step.batch) as file:
            return {name: file[name] for name in file.files}

    @cached_property
    def weights(self) -> Weights:
        """The first weights."""
        with np.load(self.folder / PACK_WEIGHTS) as file:
            return {name: file[name] for name in file.files}


def hash_pack(folder: Path, contents: PackContents) -> str:
    """The id of a pack, 16 hex digits: a hash of its files and of its contents but for the id."""
    digest = hashlib.sha256(repr((contents.format, contents.about, contents.model_type, contents.runs)).encode())
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in NOT_HASHED):
        with file.open("rb") as content:
            digest.update(f"{file.relative_to(folder).as_posix()} ".encode())
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]


def part_file(recording: Path, run: str, step: str, part: str) -> Path:
    """The file of one part in a recording."""
    return recording / run / step / f"{part}.npz"


def write_part(recording: Path, run: str, step: str, part: str, arrays: Arrays) -> None:
    """Writes one part of a recording."""
    file = part_file(recording, run, step, part)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **arrays)  # type: ignore[arg-type]
