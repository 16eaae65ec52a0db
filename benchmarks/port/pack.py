"""Makes a pack of its source: generated ids on a small network or a real checkpoint, or a task's rows
(task_rows.py)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from safetensors.numpy import save_file

from benchmarks.port.described import describe
from benchmarks.port.generated import CONFIG, PERTURB, STEPS, WARM_UP_STEPS, write_source
from benchmarks.port.reference import Reference
from benchmarks.port.values import compared
from shared.architecture import Weights
from shared.checkpoint.tokenizer import tokenizer_files
from shared.errors import InputError
from shared.files import flush, read_json, scratch_folder, to_json, whole_folder, write_whole
from shared.pack import (
    BY_PARAMETER,
    CONTENTS,
    FORMAT,
    OF_RECIPE,
    PACK_WEIGHTS,
    VALUE,
    WANTED,
    Arrays,
    Pack,
    PackContents,
    PackRun,
    PackStep,
    Settings,
    Shapes,
    Wanted,
    hash_pack,
)
from shared.recipe import Recipe, learning_rate_at
from shared.reference import Describe, Described

DEFAULT = "a small BERT with generated ids"
"""The default pack, in words."""

USUAL = Recipe(epochs=1)
STEEP_RATES = (1.0, 0.7, 1.3, 0.5, 1.1, 0.8)
"""The steep rates, by 1e-3: another one at each step, so that decay times the rate differs from decay alone."""
STEEP = {"decay": 0.1, "eps": 1e-6, "schedule": "constant", "warm_up": 0.0, "learning_rate": 1e-3}
GENERATED = {"eval": (8, 24), "dropout": (16, 24), "dev-1": (8, 24), "dev-2": (5, 20)} | {
    f"train-{n}": (4, 16 + 2 * (n % 3)) for n in range(1, STEPS + 1)
}
"""Rows and tokens of each batch."""

ABOUT = {
    "eval": "One batch, dropout off: the forward pass.",
    "dropout": "One batch, dropout ON: record the embeddings alone.",
    "train": "The recipe with dropout off, warm-up included; each step updates the weights.",
    "dev": "Logits after training, dropout off: the weights are those that your run 'train' left.",
    "steep": "Settings at which an optimizer's mistakes show; dropout off; each step updates the weights.",
}
RUNGS = {
    "parameters": "parameters as loaded, and after each step",
    "received": "what the model was given",
    "hidden": "embeddings, layers, pooled",
    "logits": "logits, and dev's after training",
    "loss": "loss, and its course over the steps",
    "gradients": "gradients",
    "norm": "the gradients' global norm before clipping",
    "clipped": "gradients after clipping",
}

LARGE = 2**30
"""Bytes of parameters and gradients above which a pack wants sketches of them."""

SIZES = {
    "layers": ("num_hidden_layers", "n_layers"),
    "heads": ("num_attention_heads", "n_heads"),
    "width": ("hidden_size", "dim"),
    "feed_forward": ("intermediate_size", "hidden_dim"),
    "activation": ("hidden_act", "activation", "hidden_activation"),
    "layer_norm_eps": ("layer_norm_eps", "norm_eps"),
    "vocab_size": ("vocab_size",),
    "max_positions": ("max_position_embeddings",),
    "type_vocab_size": ("type_vocab_size",),
}
"""Names in config.json of each of the network's sizes; the first that is there counts."""


@dataclass(frozen=True)
class Source:
    """A folder with config.json, batches and, unless the reference draws them, weights."""

    folder: Path
    about: str
    recipe: Recipe
    perturb: float | None = None
    checkpoint: Path | None = None
    """See `shared.reference.Describe` for these two."""
    dropout: float = 0.1
    """Rate of the run `dropout`."""
    steep_steps: int | None = None
    """The most steps of the run `steep`; None for as many as `train` has."""
    sketches: bool | None = None
    """The pack wants parameters and gradients as sketches; None to want them if whole ones would be LARGE."""
    compared_alone: bool = False
    """The pack wants what rungs compare and no more: all of a large model's steps would be many times its size."""


@contextmanager
def generated(config: dict[str, Any] | None = None, recipe: Recipe = USUAL) -> Iterator[Source]:
    """The default pack's source, or that of another config.json, with generated ids and the recipe's optimizer."""
    chosen = CONFIG | {} if config is None else config
    with tempfile.TemporaryDirectory() as scratch:
        write_source(Path(scratch), chosen, GENERATED)
        about = DEFAULT if config is None else f"a {chosen.get('model_type')} with generated ids"
        yield Source(Path(scratch), about, _warming(recipe), PERTURB)


@contextmanager
def of_checkpoint(checkpoint: Path, name: str, recipe: Recipe = USUAL) -> Iterator[Source]:
    """The source of a checkpoint with generated ids, three labels and the recipe's optimizer."""
    config = read_json(checkpoint / "config.json") | {key: CONFIG[key] for key in ("id2label", "label2id")}
    with tempfile.TemporaryDirectory() as scratch:
        write_source(Path(scratch), config, GENERATED)
        for file in tokenizer_files(checkpoint):
            shutil.copy(file, scratch)
        yield Source(Path(scratch), f"{name} with generated ids", _warming(recipe), checkpoint=checkpoint)


def _warming(recipe: Recipe) -> Recipe:
    """The recipe with a warm-up that a few steps show, unless it has one of its own."""
    return replace(recipe, warm_up=WARM_UP_STEPS / STEPS) if recipe.warm_up == USUAL.warm_up else recipe


def make_pack(source: Source, out: Path, reference: Reference, again: bool = False) -> Pack:
    """Makes the pack in `out`. The reference is asked `again` though the cache has what it says of the network. Raises
    InputError if something else is there, and ProcessFailed."""
    if out.exists() and not (out / CONTENTS).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out} holds something that is no pack; pass another folder")
    question = Describe(
        source=str(source.folder),
        batch="batches/train-1.npz",
        perturb=source.perturb,
        checkpoint=None if source.checkpoint is None else str(source.checkpoint),
        threads=reference.threads,
    )
    described = describe(question, reference, again)
    with scratch_folder(out.absolute()) as scratch:
        made = scratch / "pack"
        with whole_folder(made) as folder:
            _fill(source, described, folder)
        pack = Pack.read(made)
        if out.is_dir() and any(out.iterdir()):
            _replace_same(pack, out)
        else:
            out.rmdir() if out.is_dir() else None
            made.rename(out)
            flush(out.absolute().parent)
    return Pack.read(out)


def _replace_same(pack: Pack, out: Path) -> None:
    """Raises InputError unless `out` holds this very pack already."""
    if Pack.read(out).contents.id != pack.contents.id:
        raise InputError(f"--out {out} holds another pack; pass another folder, or remove it")


def _fill(source: Source, described: Described, folder: Path) -> None:
    shutil.copytree(source.folder, folder, dirs_exist_ok=True)
    with np.load(folder / PACK_WEIGHTS) as file:
        weights: Weights = {name: np.ascontiguousarray(file[name], np.float32) for name in file.files}
    save_file(weights, folder / "weights.safetensors", metadata={"format": "pt"})
    runs = _runs(source, described)
    config = read_json(folder / "config.json")
    contents = PackContents(format=FORMAT, id="", about=source.about, model_type=str(config["model_type"]), runs=runs)
    wanted = _wanted(runs, described, folder)
    if source.compared_alone:
        wanted = _compared_alone(Pack(folder, contents, wanted))
    elif _size(wanted) > LARGE if source.sketches is None else source.sketches:
        wanted = structs.replace(wanted, sketches=True)
    write_whole(folder / WANTED, to_json(wanted, indent=1) + "\n")
    contents = structs.replace(contents, id=hash_pack(folder, contents))
    write_whole(folder / CONTENTS, to_json(contents, indent=1) + "\n")
    guide = resources.files("benchmarks.port").joinpath("pack_readme.md").read_text(encoding="utf-8")
    write_whole(folder / "README.md", guide.replace("{about}", source.about).replace("{id}", contents.id))


def _runs(source: Source, described: Described) -> list[PackRun]:
    recipe = replace(source.recipe, epochs=1)
    count = sum(file.name.startswith("train-") for file in (source.folder / "batches").iterdir())
    devs = sum(file.name.startswith("dev-") for file in (source.folder / "batches").iterdir())
    steep = replace(recipe, **STEEP, clip=float(f"{described.norm / 10:.2g}"))  # type: ignore[arg-type]
    rates = [learning_rate_at(recipe, step, count) for step in range(count)]
    steep_count = min(count, source.steep_steps or count)
    steep_rates = [float(f"{1e-3 * STEEP_RATES[step % len(STEEP_RATES)]:.4g}") for step in range(steep_count)]

    def run(name: str, batches: list[str], rates: list[float], of: Recipe, dropout: float = 0.0) -> PackRun:
        steps = [
            PackStep(str(n), f"batches/{batch}.npz", rate)
            for n, (batch, rate) in enumerate(zip(batches, rates, strict=True), 1)
        ]
        return PackRun(
            name=name,
            about=ABOUT[name],
            trains=name in ("train", "steep"),
            weights="train" if name == "dev" else PACK_WEIGHTS,
            settings=_settings(source, described, of, steep_count if name == "steep" else count, dropout),
            steps=steps,
        )

    trained = [f"train-{n}" for n in range(1, count + 1)]
    return [
        run("eval", ["eval"], [0.0], recipe),
        run("dropout", ["dropout"], [0.0], recipe, dropout=source.dropout),
        run("train", trained, rates, recipe),
        run("dev", [f"dev-{n}" for n in range(1, devs + 1)], [0.0] * devs, recipe),
        run("steep", trained[:steep_count], steep_rates, steep),
    ]


def _settings(source: Source, described: Described, recipe: Recipe, steps: int, dropout: float) -> Settings:
    config = read_json(source.folder / "config.json")
    sizes: dict[str, Any] = {
        name: next((config[key] for key in keys if key in config), None) for name, keys in SIZES.items()
    }
    return Settings(
        schedule=recipe.schedule,
        warm_up_steps=int(recipe.warm_up * steps),
        total_steps=steps,
        decayed=[name for name in described.parameters if recipe.decays(name)],
        dropout=dropout,
        num_labels=described.num_labels,
        pad_id=int(config.get("pad_token_id") or 0),
        **{name: getattr(recipe, name) for name in OF_RECIPE},
        **sizes,
    )


def _wanted(runs: list[PackRun], described: Described, folder: Path) -> Wanted:
    wanted: dict[str, dict[str, dict[str, Shapes | str]]] = {}
    for run in runs:
        steps: dict[str, dict[str, Shapes | str]] = {}
        if run.name != "dropout":
            steps["0"] = {"parameters": "parameters"}
        for step in run.steps:
            with np.load(folder / step.batch) as file:
                batch: Arrays = {name: file[name] for name in file.files}
            steps[step.name] = _wanted_of(run, batch, described)
        wanted[run.name] = steps
    parts = dict.fromkeys(("parameters", "gradients", "clipped"), described.parameters)
    return Wanted(format=FORMAT, parts=parts, runs=wanted, rungs=RUNGS)


def _size(wanted: Wanted) -> int:
    """Bytes of a whole recording of all parameters and gradients, float32."""
    parts = [part for steps in wanted.runs.values() for step in steps.values() for part in step]
    return (
        4
        * sum(prod(shape) for shape in wanted.parts["parameters"].values())
        * sum(part in BY_PARAMETER for part in parts)
    )


def _compared_alone(pack: Pack) -> Wanted:
    """Leaves what rungs compare of all that the pack wants, dropped embeddings and received inputs too."""
    kept = compared(pack)

    def keeps(run: str, step: str, part: str) -> bool:
        return (run, step, part) in kept or run == "dropout" or (part == "received" and pack.run(run).trains)

    runs = {
        run: {step: {part: of for part, of in parts.items() if keeps(run, step, part)} for step, parts in steps.items()}
        for run, steps in pack.wanted.runs.items()
    }
    return structs.replace(pack.wanted, runs=runs)


def _wanted_of(run: PackRun, batch: Arrays, described: Described) -> dict[str, Shapes | str]:
    rows, width = batch["input_ids"].shape
    hidden: Shapes = {"embeddings": [rows, width, described.width]}
    if run.name == "dropout":
        return {"hidden": hidden}
    hidden |= {f"layers/{n}": [rows, width, described.width] for n in range(described.layers)}
    if described.pooled:
        hidden["pooled"] = [rows, described.width]
    parts: dict[str, Shapes | str] = {
        "received": {name: list(array.shape) for name, array in batch.items()},
        "hidden": hidden,
        "logits": {VALUE: [rows, described.num_labels]},
        "loss": {VALUE: []},
    }
    if run.trains:
        parts |= {"gradients": "gradients", "norm": {VALUE: []}, "clipped": "clipped", "parameters": "parameters"}
    return parts
