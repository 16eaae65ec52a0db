"""A HuggingFace folder as a config and arrays under HuggingFace's names; reading and writing.

Such a folder holds config.json, model.safetensors (or its shards with an index) and the tokenizer's files.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shared.architecture import Architecture, Dropout, Weights
from shared.encoding import tokenizer_files
from shared.errors import InputError
from shared.files import hash_files, read_json, whole_folder, write_json
from shared.recipe import Recipe

WEIGHTS = "model.safetensors"
SHARD_INDEX = "model.safetensors.index.json"
TORCH_WEIGHTS = "pytorch_model.bin"

IGNORED = (
    "cls.",  # BERT's pre-training heads
    "vocab_transform.",
    "vocab_layer_norm.",
    "vocab_projector.",  # DistilBERT's, with the two above
    "pre_classifier.",
    "classifier.",
    "qa_outputs.",  # heads of another task, with the two above
    "embeddings.position_ids",
    "embeddings.token_type_ids",  # buffers that count up or hold zeros
)
"""How names, less the model's prefix, of stored tensors begin that fine-tuning has no use for."""

ACTIVATIONS: dict[str, Literal["gelu", "gelu_new", "relu"]] = {
    "gelu": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "relu": "relu",
}
"""From transformers' names to ours; `gelu_pytorch_tanh` is the same formula as `gelu_new`."""

ONLY_SUPPORTED: dict[str, Any] = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "chunk_size_feed_forward": 0,
    "sinusoidal_pos_embds": False,
    "pruned_heads": {},
    "quantization_config": None,
}
"""Fields of config.json that change the network, and the one value of each that every backend honours."""


@dataclass(frozen=True)
class Saved:
    """What a fine-tuned folder says of its use."""

    task_name: str | None
    """None where another program saved it."""
    labels: tuple[str, ...]
    max_len: int


@dataclass(frozen=True)
class _Config:
    """config.json with checked access; the defaults passed in are transformers' own."""

    path: Path
    values: dict[str, Any]

    def refuse(self, field: str, wanted: str) -> InputError:
        return InputError(f"{self.path}: {field} is {self.values.get(field)!r}; this project supports {wanted}")

    def whole(self, field: str, default: int, least: int = 1) -> int:
        value = self.values.get(field, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.refuse(field, f"whole numbers from {least}")
        return value

    def number(self, field: str, default: float) -> float:
        value = self.values.get(field, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
            raise self.refuse(field, "numbers above 0")
        return float(value)

    def rate(self, field: str, default: float) -> float:
        value = self.values.get(field, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
            raise self.refuse(field, "rates from 0 to below 1")
        return float(value)

    def activation(self, field: str) -> Literal["gelu", "gelu_new", "relu"]:
        value = self.values.get(field, "gelu")
        if not isinstance(value, str) or value not in ACTIVATIONS:
            raise self.refuse(field, ", ".join(ACTIVATIONS))
        return ACTIVATIONS[value]


@dataclass(frozen=True)
class _Tensor:
    """Where a stored tensor lies."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    """Its first byte, from the file's beginning."""

    def read(self) -> np.ndarray:
        """The values as float32."""
        with self.file.open("rb") as file:
            file.seek(self.start)
            stored = np.fromfile(file, STORED_DTYPES[self.dtype], prod(self.shape)).reshape(self.shape)
        if self.dtype == "BF16":  # the upper half of a float32
            return (stored.astype(np.uint32) << 16).view(np.float32)
        return stored.astype(np.float32, copy=False)


STORED_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Of the safetensors format, those that can be parameters, as numpy reads them."""


def read_architecture(folder: Path, recipe: Recipe, num_labels: int) -> Architecture:
    """What the folder's config.json and the recipe's dropout say of the network. A field that is absent has
    transformers' default. `recipe.dropout` replaces every rate (DistilBERT has none after attention's output), then
    `recipe.head_dropout` the classifier's.

    Raises InputError where config.json is missing, is broken or says what the project does not support, and where
    `recipe.max_len` is more than the model's positions.
    """
    config = _Config(folder / "config.json", read_json(folder / "config.json"))
    for field, only in ONLY_SUPPORTED.items():
        if config.values.get(field, only) not in (only, None):
            raise config.refuse(field, json.dumps(only))
    model_type = config.values.get("model_type")
    if model_type == "bert":
        architecture = _bert(config, recipe, num_labels)
    elif model_type == "distilbert":
        architecture = _distilbert(config, recipe, num_labels)
    else:
        raise config.refuse("model_type", '"bert" and "distilbert"')
    if architecture.width % architecture.heads:
        raise InputError(f"{config.path}: {architecture.heads} heads do not divide a width of {architecture.width}")
    if architecture.pad_id >= architecture.vocab_size:
        raise config.refuse("pad_token_id", f"ids below vocab_size, {architecture.vocab_size}")
    if recipe.max_len > architecture.max_positions:
        raise InputError(
            f"max_len is {recipe.max_len}, but the model in {folder} has {architecture.max_positions} positions; "
            f"pass {architecture.max_positions} or less"
        )
    return architecture


def check_weights(folder: Path, architecture: Architecture, head: bool = False) -> None:
    """Checks all that the weights files' headers tell, in milliseconds.

    Raises InputError where a file is missing or truncated, or a tensor of the encoder (BERT's pooler included), or with
    `head` of the head too, is missing, has another shape, or is unknown: neither a parameter nor in `IGNORED`.
    """
    _locate(folder, architecture, head)


def first_weights(folder: Path, architecture: Architecture, recipe: Recipe) -> Weights:
    """What fine-tuning starts from: the folder's encoder, and a head drawn from `recipe.seed`, float32, in the order of
    `Architecture.shapes`. Raises what `check_weights` does."""
    weights = {name: tensor.read() for name, tensor in _locate(folder, architecture, head=False).items()}
    return weights | _first_head(architecture, recipe)


def saved_weights(folder: Path, architecture: Architecture) -> Weights:
    """Every parameter from a fine-tuned folder, head included, float32, in the order of `Architecture.shapes`. Raises
    what `check_weights` does, of the head too."""
    return {name: tensor.read() for name, tensor in _locate(folder, architecture, head=True).items()}


def read_saved(folder: Path) -> Saved:
    """What a fine-tuned folder says of its task, labels and length. Where it names no length, that is 512 or the
    positions, if they are fewer. Raises InputError where config.json is missing, broken or of no single-label
    classifier."""
    path = folder / "config.json"
    config = read_json(path)
    heads = ("BertForSequenceClassification", "DistilBertForSequenceClassification")
    found = config.get("architectures") or ["none"]
    if not any(head in heads for head in found):
        raise InputError(
            f"{path} is not of a fine-tuned classifier (architectures: {', '.join(map(str, found))}); pass a folder "
            f"that benchmarks.run --save wrote, or another of {' or '.join(heads)}"
        )
    if config.get("problem_type") not in (None, "single_label_classification"):
        raise InputError(f"{path}: problem_type is {config['problem_type']!r}; pass a single-label classifier's folder")
    names = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}  # transformers writes no default
    try:
        labels = tuple(str(names[str(i)]) for i in range(len(names)))
    except (KeyError, TypeError):
        raise InputError(f"{path}: id2label does not name labels 0 to {len(names) - 1}; mend it") from None
    if len(set(labels)) < len(labels):
        raise InputError(f"{path}: id2label gives two labels the same name; mend it")
    tokenizer_config = folder / "tokenizer_config.json"
    longest = read_json(tokenizer_config).get("model_max_length") if tokenizer_config.is_file() else None
    if not isinstance(longest, int | float) or not 0 < longest < 1e20:  # transformers writes 1e30 for no bound
        longest = 512
    positions = _Config(path, config).whole("max_position_embeddings", 512)
    return Saved(config.get("finetuning_task"), labels, min(int(longest), positions))


def write_folder(
    target: Path,
    weights: Weights,
    architecture: Architecture,
    source: Path,
    task_name: str,
    labels: tuple[str, ...],
    max_len: int,
) -> None:
    """Writes a fine-tuned model as a folder that transformers' `AutoModelForSequenceClassification` and `AutoTokenizer`
    open: `weights` as model.safetensors, config.json and tokenizer files from the checkpoint in `source`. It appears
    whole, in place of a model that was there before.

    Raises InputError where `target` exists and holds no model.
    """
    if target.exists() and not (target / "config.json").is_file():
        raise InputError(f"{target} exists and is no saved model; remove it or save elsewhere")
    # Imported here: most of what reads checkpoints writes none.
    from safetensors.numpy import save_file

    with whole_folder(target) as partial:
        save_file(weights, partial / WEIGHTS, metadata={"format": "pt"})
        (partial / WEIGHTS).chmod(0o644)  # safetensors makes it the owner's alone
        write_json(
            partial / "config.json", _saved_config(read_json(source / "config.json"), architecture, task_name, labels)
        )
        _write_tokenizer(partial, source, max_len)
        if target.exists():
            shutil.rmtree(target)


def checkpoint_hash(folder: Path) -> str:
    """sha256, hex, of config.json, the weights and the tokenizer files: all that a run takes from the folder."""
    return hash_files([folder / "config.json", *weight_files(folder), *tokenizer_files(folder)])


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold the folder's weights. Raises InputError naming one that is missing."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / SHARD_INDEX
    if not index.is_file():
        raise InputError(f"{folder} has no {WEIGHTS}; add the checkpoint's weights")
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{index} names no shards; restore the checkpoint's file")
    shards = [folder / str(name) for name in sorted(set(weight_map.values()))]
    for shard in shards:
        if not shard.is_file():
            raise InputError(f"{shard}, named in {index.name}, is missing; add it")
    return shards


def _bert(config: _Config, recipe: Recipe, num_labels: int) -> Architecture:
    hidden = _either(recipe.dropout, config.rate("hidden_dropout_prob", 0.1))
    head = config.rate("classifier_dropout", 0.1) if config.values.get("classifier_dropout") is not None else hidden
    return Architecture(
        model_type="bert",
        vocab_size=config.whole("vocab_size", 30522),
        width=config.whole("hidden_size", 768),
        layers=config.whole("num_hidden_layers", 12),
        heads=config.whole("num_attention_heads", 12),
        feed_forward=config.whole("intermediate_size", 3072),
        max_positions=config.whole("max_position_embeddings", 512),
        type_vocab_size=config.whole("type_vocab_size", 2),
        activation=config.activation("hidden_act"),
        layer_norm_eps=config.number("layer_norm_eps", 1e-12),
        dropout=Dropout(
            embeddings=hidden,
            attention=_either(recipe.dropout, config.rate("attention_probs_dropout_prob", 0.1)),
            attention_output=hidden,
            feed_forward_output=hidden,
            classifier=_either(recipe.head_dropout, _either(recipe.dropout, head)),
        ),
        num_labels=num_labels,
        initializer_range=config.number("initializer_range", 0.02),
        pad_id=_pad_id(config),
    )


def _distilbert(config: _Config, recipe: Recipe, num_labels: int) -> Architecture:
    hidden = _either(recipe.dropout, config.rate("dropout", 0.1))
    head = _either(recipe.dropout, config.rate("seq_classif_dropout", 0.2))
    return Architecture(
        model_type="distilbert",
        vocab_size=config.whole("vocab_size", 30522),
        width=config.whole("dim", 768),
        layers=config.whole("n_layers", 6),
        heads=config.whole("n_heads", 12),
        feed_forward=config.whole("hidden_dim", 3072),
        max_positions=config.whole("max_position_embeddings", 512),
        type_vocab_size=0,
        activation=config.activation("activation"),
        layer_norm_eps=1e-12,  # fixed in transformers' code
        dropout=Dropout(
            embeddings=hidden,
            attention=_either(recipe.dropout, config.rate("attention_dropout", 0.1)),
            attention_output=0.0,
            feed_forward_output=hidden,
            classifier=_either(recipe.head_dropout, head),
        ),
        num_labels=num_labels,
        initializer_range=config.number("initializer_range", 0.02),
        pad_id=_pad_id(config),
    )


def _either(chosen: float | None, otherwise: float) -> float:
    return otherwise if chosen is None else chosen


def _pad_id(config: _Config) -> int:
    # Padding is masked, so that any id serves where the config names none.
    return 0 if config.values.get("pad_token_id", 0) is None else config.whole("pad_token_id", 0, least=0)


def _locate(folder: Path, architecture: Architecture, head: bool) -> dict[str, _Tensor]:
    """The stored tensor of every parameter, or of every one outside the head, in the order of the shapes."""
    prefix = f"{architecture.model_type}."
    shapes = {name: s for name, s in architecture.shapes().items() if head or name.startswith(prefix)}
    by_short_name = {name.removeprefix(prefix): name for name in shapes}
    found: dict[str, _Tensor] = {}
    unknown: list[str] = []
    for tensor in (t for file in weight_files(folder) for t in _read_header(file)):
        short = _modern(tensor.name.removeprefix(prefix))
        if name := by_short_name.get(short):
            if name in found:
                raise InputError(
                    f"{tensor.file}: {found[name].name} and {tensor.name} are the same parameter; keep one"
                )
            found[name] = tensor
        elif not short.startswith(IGNORED):
            unknown.append(tensor.name)
    if missing := [name for name in shapes if name not in found]:
        if any(name.startswith(prefix) for name in missing):
            raise InputError(f"{folder} lacks the weights {_some(missing)}; pass a checkpoint that has them")
        raise InputError(
            f"{folder} lacks the weights {_some(missing)} of a classifier; fine-tune it with benchmarks.run --save and "
            "pass the folder that this leaves"
        )
    if unknown:
        raise InputError(f"{folder} has unknown weights: {_some(unknown)}; pass a plain BERT or DistilBERT checkpoint")
    for name, shape in shapes.items():
        tensor = found[name]
        if tensor.shape != shape:
            raise InputError(
                f"{tensor.file}: {tensor.name} has shape {list(tensor.shape)} where config.json says {list(shape)}; "
                "pass a folder whose files belong together"
            )
        if tensor.dtype not in STORED_DTYPES:
            raise InputError(
                f"{tensor.file}: {tensor.name} is stored as {tensor.dtype}; store it as {', '.join(STORED_DTYPES)}"
            )
    return {name: found[name] for name in shapes}


def _modern(name: str) -> str:
    """TensorFlow-era checkpoints call LayerNorm's parameters gamma and beta."""
    if name.endswith(".gamma"):
        return name.removesuffix("gamma") + "weight"
    return name.removesuffix("beta") + "bias" if name.endswith(".beta") else name


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _read_header(file: Path) -> list[_Tensor]:
    """The tensors of a safetensors file: 8 bytes with the header's length (little-endian), the header as JSON, then the
    data, to which its offsets refer (https://github.com/huggingface/safetensors#format)."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        data_start = 8 + int.from_bytes(stream.read(8), "little")
        if not 8 < data_start <= size:
            raise InputError(f"{file} is truncated or no safetensors file; fetch it again")
        try:
            header = json.loads(stream.read(data_start - 8))
            tensors = [
                (_Tensor(file, name, entry["dtype"], tuple(entry["shape"]), data_start + begin), data_start + end)
                for name, entry in header.items()
                if name != "__metadata__"
                for begin, end in [entry["data_offsets"]]
            ]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{file} has a broken header; fetch it again") from None
    for tensor, end in tensors:
        width = np.dtype(STORED_DTYPES[tensor.dtype]).itemsize if tensor.dtype in STORED_DTYPES else None
        if end > size or (width and end - tensor.start != prod(tensor.shape) * width):
            raise InputError(f"{file} is truncated: {tensor.name} is not whole; fetch it again")
    return [tensor for tensor, _ in tensors]


def _first_head(architecture: Architecture, recipe: Recipe) -> Weights:
    # A stream of its own, apart from the row order's, which the seed alone starts.
    random = np.random.RandomState([recipe.seed, 1])
    bound = architecture.width**-0.5
    head: Weights = {}
    for name, shape in architecture.shapes().items():
        if name.startswith(f"{architecture.model_type}."):
            continue
        if recipe.head_init == "uniform":
            head[name] = random.uniform(-bound, bound, shape).astype(np.float32)
        elif name.endswith(".bias"):
            head[name] = np.zeros(shape, np.float32)
        else:
            head[name] = random.normal(0.0, architecture.initializer_range, shape).astype(np.float32)
    return head


def _saved_config(
    config: dict[str, Any], architecture: Architecture, task_name: str, labels: tuple[str, ...]
) -> dict[str, Any]:
    # The weights are float32 now whatever the source was stored as, and lie elsewhere.
    for field in ("_name_or_path", "torch_dtype", "dtype", "num_labels"):
        config.pop(field, None)
    dropout = architecture.dropout
    if architecture.model_type == "bert":
        config |= {
            "architectures": ["BertForSequenceClassification"],
            "hidden_dropout_prob": dropout.embeddings,
            "attention_probs_dropout_prob": dropout.attention,
            "classifier_dropout": dropout.classifier,
        }
    else:
        config |= {
            "architectures": ["DistilBertForSequenceClassification"],
            "dropout": dropout.embeddings,
            "attention_dropout": dropout.attention,
            "seq_classif_dropout": dropout.classifier,
        }
    return config | {
        "finetuning_task": task_name,
        "problem_type": "single_label_classification",
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }


def _write_tokenizer(target: Path, source: Path, max_len: int) -> None:
    settings: dict[str, Any] = {}
    for file in tokenizer_files(source):
        if file.name == "tokenizer_config.json":
            settings = read_json(file)
        elif file.name == "tokenizer.json":
            write_json(target / file.name, read_json(file) | {"truncation": None, "padding": None})
        else:
            shutil.copyfile(file, target / file.name)
    write_json(target / "tokenizer_config.json", settings | {"model_max_length": max_len})
