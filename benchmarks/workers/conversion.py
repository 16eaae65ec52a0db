"""Converts checkpoints of other formats, each in the environment that can read it."""

from __future__ import annotations

from pathlib import Path

from backends import convert as in_this_process
from benchmarks.workers.environments import CHECKOUT, find_environment, worker_variables
from benchmarks.workers.processes import run_to_end
from shared.checkpoint.built_tokenizer import Build
from shared.checkpoint.converted import Convert
from shared.checkpoint.formats import find_format
from shared.errors import InputError


def converter(pythons: dict[str, Path]) -> Convert:
    """A function for `resolve_model` that converts a folder's weights in the interpreter of their format."""

    def convert(source: Path, target: Path) -> None:
        format = find_format(source)
        if format is None or format.environment is None:
            in_this_process.convert(source, target)
            return
        found = format.found(file.name for file in source.iterdir())
        try:
            python = find_environment(format.environment, pythons).python
        except InputError as error:
            raise InputError(
                f"{source} has only {found}, {format.title}, which is converted in {format.environment}'s environment; "
                f"{error}"
            ) from None
        command = [python, "-m", "backends.convert", source, target]
        code, output = run_to_end(command, worker_variables(), CHECKOUT)
        reason = (output.lines() or [f"exit code {code}"])[-1].strip()
        if code == 2:
            raise InputError(reason)
        if code:
            raise InputError(f"{source / str(found)} could not be converted ({reason}); fetch it again")

    return convert


def tokenizer_builder(pythons: dict[str, Path]) -> Build:
    """A function for `resolve_model` that builds a tokenizer in the interpreter that has transformers."""

    def build(source: Path, target: Path) -> None:
        python = find_environment("torch", pythons).python
        command = [python, "-m", "backends.torch.build_tokenizer", source, target]
        code, output = run_to_end(command, worker_variables(), CHECKOUT)
        if code:
            raise InputError((output.lines() or [f"exit code {code}"])[-1].strip())

    return build
