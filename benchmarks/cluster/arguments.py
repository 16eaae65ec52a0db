"""The options of a command as a node takes them: what they name of this machine travels."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator
from pathlib import Path

from benchmarks.cli.engine_options import OF_ENGINE
from benchmarks.cli.options import chosen_pythons
from benchmarks.cli.typed import Typed, typed_options
from benchmarks.cluster.engine import RayEngine
from benchmarks.cluster.node import Argument, Given
from benchmarks.cluster.travel import Travel
from benchmarks.workers.conversion import converter, tokenizer_builder
from shared.checkpoint.sources import find_model, shown_model
from shared.tasks.hub_own import PREFIX
from shared.tasks.own import is_own

MADE_THERE = "random:"
"""Beginning of names of checkpoints that a node makes itself, from numbers."""

PATHS = {"data_dir": Path.exists, "pack": Path.exists, "map": Path.is_file}
"""Options that name a file or a folder, and the test whether a value does. Others stay as they are, such as a shipped
map's name."""


def arguments_of(
    engine: RayEngine, parser: argparse.ArgumentParser, options: argparse.Namespace, but: Collection[str]
) -> list[Argument]:
    """The options that were given, but for those of these names, with the engine's device and threads. Raises
    InputError."""
    found: list[Argument] = []
    for one in typed_options(parser, options, {*OF_ENGINE, "python", "device", "threads", *but}):
        found += [one.option, *_values(engine.cluster.travel, one, options)]
    device = engine.choose_device(getattr(options, "device", "cpu"))
    if hasattr(options, "device"):
        found += ["--device", device]
    return [*found, "--threads", str(engine.choose_threads(options.threads, device))]


def _values(travel: Travel, one: Typed, options: argparse.Namespace) -> Iterator[Argument]:
    for value in one.values:
        if one.field == "model" and not value.startswith(MADE_THERE):
            pythons = chosen_pythons(options.python)
            folder = find_model(value, converter(pythons), tokenizer_builder(pythons)).folder
            name = shown_model(value).rpartition("/")[2]
            yield Given(travel.checkpoint(folder), name, name, value)
        elif one.field == "task" and is_own(value) and not value.startswith(PREFIX):
            yield given(travel, Path(value).expanduser())
        elif one.field in PATHS and PATHS[one.field](Path(value)):
            yield given(travel, Path(value))
        else:
            yield value


def given(travel: Travel, path: Path) -> Given:
    """Sends a file or a folder, under its own name. A description of own data (TOML) takes its folder along."""
    shown = str(path)
    if path.is_dir():
        folder = path.resolve()
        return Given(travel.data(folder), folder.name, folder.name, shown)
    folder = path.parent.resolve()
    if path.suffix.lower() == ".toml":
        return Given(travel.data(folder), folder.name, f"{folder.name}/{path.name}", shown)
    return Given(travel.file(folder / path.name), "", path.name, shown)
