"""The trainings that the ladder's tests follow, and their recordings by any adapter.

    python -m tests.backends.trainings OUT

writes each one's pack, and the reference's recordings of it in float64 and float32, with the interpreter of torch's
environment.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np

from benchmarks.parity.rungs import STEEP_STEPS
from benchmarks.port.pack import Source, make_pack
from benchmarks.port.reference import Reference
from benchmarks.port.task_rows import write_batches
from shared.answer import Scores
from shared.architecture import Architecture, Dropout, Weights
from shared.contract import Build, Load, Model
from shared.encoding import Encoded
from shared.files import write_json
from shared.job import Precision
from shared.pack import PACK_WEIGHTS, Pack
from shared.recipe import Recipe
from shared.recording import record
from tests.backends.cases import architecture, perturbed_weights

Kind = Literal["bert", "distilbert"]
STEPS = 6


@dataclass(frozen=True)
class Training:
    """A network and its recipe: six steps, the last of four rows."""

    architecture: Architecture
    recipe: Recipe


def _training(kind: Kind, dropout: Dropout, max_len: int = 24, padding: Any = "max_length", **fields: Any) -> Training:
    recipe = Recipe(max_len=max_len, padding=padding, batch_size=8, epochs=1, learning_rate=5e-4, warm_up=0.2)
    return Training(architecture(kind, dropout=dropout, **fields), recipe)


# A different dropout rate at each place that the kind of network has.
BERT = Dropout(0.1, 0.2, 0.15, 0.05, 0.25)
DISTILBERT = Dropout(0.1, 0.2, 0.0, 0.05, 0.25)

KINDS: dict[str, Training] = {"bert": _training("bert", BERT), "distilbert": _training("distilbert", DISTILBERT)}
"""Mistakes are planted into these."""
PADDED: dict[str, Training] = {
    "bert, in buckets": _training("bert", BERT, padding="bucket"),
    "distilbert, padded to the longest": _training("distilbert", DISTILBERT, padding="longest"),
}
"""Batches of many widths, run by the code of a real run; `UNUSUAL` has the other two pairs of kind and padding."""
UNUSUAL: dict[str, Training] = {
    "bert, epsilon 1e-5, gelu_new, one token type, 2 labels, length 16": _training(
        "bert", BERT, 16, layer_norm_eps=1e-5, activation="gelu_new", type_vocab_size=1, num_labels=2
    ),
    "bert, relu, 6 labels, length 128, padded to the longest": _training(
        "bert", BERT, 128, "longest", activation="relu", num_labels=6
    ),
    "distilbert, epsilon 1e-5, relu, 4 labels, length 64, in buckets": _training(
        "distilbert", DISTILBERT, 64, "bucket", layer_norm_eps=1e-5, activation="relu", num_labels=4
    ),
}
"""A sound adapter must do these too."""
TRAININGS = KINDS | PADDED | UNUSUAL
METRICS = ("accuracy",)
BuildFor = Callable[[Recipe], Model]
"""Builds the model of a recipe."""


def data(training: Training) -> dict[str, Encoded]:
    """Rows of mixed lengths; tokens repeat within a batch, as they do in text."""
    return {
        "train": _rows(training, (STEPS - 1) * training.recipe.batch_size + 4, seed=1),
        "dev": _rows(training, 20, seed=2),
    }


def _rows(training: Training, n: int, seed: int) -> Encoded:
    a, random = training.architecture, np.random.RandomState(seed)
    lengths = random.randint(3, training.recipe.max_len + 1, n)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = random.randint(1, 60, offsets[-1]).astype(np.int32)
    types = np.concatenate([np.arange(length) >= length // 2 for length in lengths]).astype(np.uint8)
    if a.type_vocab_size < 2:
        types[:] = 0
    labels = random.randint(0, a.num_labels, n).astype(np.int64)
    return Encoded(ids, types, offsets.astype(np.int64), labels, a.pad_id)


def builder(
    load: Load,
    a: Architecture,
    weights: Weights | None = None,
    precision: Precision = "float32",
    touched: np.ndarray | None = None,
) -> BuildFor:
    """Builds the adapter's model of a recipe on one CPU thread, as `shared.recording.record` asks for it."""

    def build(recipe: Recipe) -> Model:
        rates = a.dropout if recipe.dropout is None else Dropout(*[recipe.dropout] * 5)
        first = perturbed_weights(a) if weights is None else weights
        return load(Build(replace(a, dropout=rates), first, recipe, precision=precision, touched=touched))

    return build


def write_recording(build: BuildFor, training: Training, pack: Pack, folder: Path) -> Scores:
    """Writes the recording into the folder. Returns the scores of dev after the last step."""
    return record(build, data(training), training.recipe, METRICS, pack, folder, lambda _: None).dev


def config(a: Architecture) -> dict[str, Any]:
    """transformers' config.json of the architecture. It has no epsilon for DistilBERT, and no word on dropout, which
    the reference does not use."""
    common = {
        "model_type": a.model_type,
        "vocab_size": a.vocab_size,
        "max_position_embeddings": a.max_positions,
        "pad_token_id": a.pad_id,
        "id2label": {str(n): str(n) for n in range(a.num_labels)},
        "label2id": {str(n): n for n in range(a.num_labels)},
    }
    if a.model_type == "distilbert":
        return common | {
            "dim": a.width,
            "n_layers": a.layers,
            "n_heads": a.heads,
            "hidden_dim": a.feed_forward,
            "activation": a.activation,
        }
    return common | {
        "hidden_size": a.width,
        "num_hidden_layers": a.layers,
        "num_attention_heads": a.heads,
        "intermediate_size": a.feed_forward,
        "hidden_act": a.activation,
        "type_vocab_size": a.type_vocab_size,
        "layer_norm_eps": a.layer_norm_eps,
    }


class Here(Reference):
    """The reference in this process, which is torch's."""

    def __init__(self) -> None:
        super().__init__(mock.Mock(), threads=1)

    def ask(self, question: Any, answer: Any, on_event: Any = None) -> Any:
        from backends.torch.reference import describe

        return describe(question)

    def basis(self) -> str:
        import torch
        import transformers

        return repr((torch.__version__, transformers.__version__))


def write_pack(training: Training, folder: Path) -> Pack:
    """Writes the pack of the training, as `benchmarks.parity` makes it of a task's."""
    a, source = training.architecture, folder.with_name(f"{folder.name} source")
    source.mkdir(parents=True)
    write_json(source / "config.json", config(a))
    np.savez(source / PACK_WEIGHTS, **perturbed_weights(a))  # type: ignore[arg-type]
    write_batches(data(training), training.recipe, STEPS, None, source)
    asked = Source(
        source,
        "a training of the tests",
        training.recipe,
        dropout=a.dropout.embeddings,
        steep_steps=STEEP_STEPS,
        compared_alone=True,
    )
    return make_pack(asked, folder, Here())


def write_truth(training: Training, pack: Pack, folder: Path) -> None:
    """Writes the reference's recordings of the pack, in float64 and float32."""
    import torch

    from backends.torch.classifier import Classifier
    from backends.torch.reference import record as record_reference
    from backends.torch.rounding import FLOAT32, FLOAT64

    build = Classifier.build

    def with_epsilon(*arguments: Any) -> Classifier:
        network = build(*arguments)
        for module in network.model.modules():
            if isinstance(module, torch.nn.LayerNorm):  # transformers has but one for DistilBERT
                module.eps = training.architecture.layer_norm_eps
        return network

    with mock.patch.object(Classifier, "build", with_epsilon):
        for name, arithmetic in (("float64", FLOAT64), ("float32", FLOAT32)):
            record_reference(pack, folder / name, arithmetic)


def main(out: Path) -> None:
    for name, training in TRAININGS.items():
        write_truth(training, write_pack(training, out / name / "pack"), out / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
