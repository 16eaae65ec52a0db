"""The command line: every recipe field as an option, grids, defaults in the help, and errors of one line."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli.options import duration, patience, size
from benchmarks.cli.parser import Parser, one_line_errors
from benchmarks.cli.recipe_options import add_recipe_options, recipes
from benchmarks.workers.environments import CHECKOUT
from shared.errors import InputError, ProcessFailed
from shared.recipe import CHOICES, Recipe


def parse(*arguments: str) -> list[Recipe]:
    parser = Parser(prog="toy")
    add_recipe_options(parser)
    return recipes(parser.parse_args(arguments))


def test_without_options_there_is_the_default_recipe() -> None:
    assert parse() == [Recipe()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--max-len", "64"], {"max_len": 64}),
        (["--learning-rate", "5e-5"], {"learning_rate": 5e-5}),
        (["--warm-up", "0"], {"warm_up": 0.0}),
        (["--padding", "bucket"], {"padding": "bucket"}),
        (["--padding", "none"], {"padding": "none"}),
        (["--shuffle", "no"], {"shuffle": False}),
        (["--eval-before", "yes"], {"eval_before": True}),
        (["--clip", "none"], {"clip": None}),
        (["--clip", "0.5"], {"clip": 0.5}),
        (["--dropout", "0"], {"dropout": 0.0}),
        (["--head-dropout", "none"], {"head_dropout": None}),
        (["--decay-exempt", "bias,LayerNorm"], {"decay_exempt": ("bias", "LayerNorm")}),
        (["--decay-exempt", ""], {"decay_exempt": ()}),
        (["--train-split", "dev"], {"train_split": "dev"}),
        (["--seed", "4294967295"], {"seed": 2**32 - 1}),
        (["--train-rows", "1000", "--rows-seed", "42"], {"train_rows": 1000, "rows_seed": 42}),
        (["--dev-rows", "none"], {"dev_rows": None}),
        (["--num-labels", "8"], {"num_labels": 8}),
    ],
)
def test_an_option_sets_the_field_of_its_name(arguments: list[str], expected: dict[str, Any]) -> None:
    (recipe,) = parse(*arguments)
    assert recipe == replace(Recipe(), **expected)
    assert {name: type(getattr(recipe, name)) for name in expected} == {n: type(v) for n, v in expected.items()}


def test_several_values_span_a_grid() -> None:
    """The last field varies fastest."""
    grid = parse("--max-len", "64", "128", "--batch-size", "16", "32", "--seed", "1", "2")
    assert [(r.max_len, r.batch_size, r.seed) for r in grid] == [
        (length, batch, seed) for length in (64, 128) for batch in (16, 32) for seed in (1, 2)
    ]
    assert {r.learning_rate for r in grid} == {Recipe().learning_rate}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--padding", "left"], "argument --padding: 'left' is not one of max_length, longest, bucket, none"),
        (["--batch-size", "many"], "argument --batch-size: 'many' is not a whole number"),
        (["--batch-size", "2.5"], "argument --batch-size: '2.5' is not a whole number"),
        (["--train-rows", "1e3"], "argument --train-rows: '1e3' is not a whole number"),
        (["--batch-size", "none"], "argument --batch-size: 'none' is not a whole number"),
        (["--learning-rate", "fast"], "argument --learning-rate: 'fast' is not a number"),
        (["--shuffle", "true"], "argument --shuffle: 'true' is neither yes nor no"),
        (["--max-len"], "argument --max-len: expected at least one argument"),
        (["--max-length-of-row", "3"], "unrecognized arguments: --max-length-of-row 3"),
    ],
)
def test_a_value_that_cannot_be_read_is_one_line_and_exit_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(*arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"toy: error: {message} (see --help)\n"


def test_a_time_is_read_in_seconds_or_larger_units() -> None:
    times = {"90": 90, "90s": 90, "2.5": 2.5, "90m": 5400, "1h30m": 5400, "1h1m1s": 3661}
    assert {text: duration(text) for text in times} == times
    for text in ("", "0", "h", "-1", "1d", "30m1h", "nan", "1e9999", "9" * 5000, "\N{ARABIC-INDIC DIGIT ONE}"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"is no time like 5400, 90m or 1h30m$"):
            duration(text)
    assert (patience("0"), patience("1h")) == (None, 3600)


def test_a_size_is_read_in_bytes() -> None:
    sizes = {"800M": 800 * 2**20, "6G": 6 * 2**30, "0.5G": 2**29}
    assert {text: size(text) for text in sizes} == sizes
    for text in ("", "0", "0G", "6", "-1G", "6g", "1T", "nanG", "9" * 5000 + "G", "\N{ARABIC-INDIC DIGIT ONE}G"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"is no size like 800M or 6G$"):
            size(text)


def test_a_command_may_have_defaults_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="toy")
    add_recipe_options(parser, epochs=1)
    assert recipes(parser.parse_args([])) == [replace(Recipe(), epochs=1)]
    assert recipes(parser.parse_args(["--epochs", "4"])) == [replace(Recipe(), epochs=4)]
    parser.print_help()
    assert "passes over the training split (1)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"default": 12, "type": int}, "thing (12)"),
        ({"default": 2e-5, "type": float}, "thing (2e-05)"),
        ({"default": "cpu"}, "thing (cpu)"),
        ({"default": Path("runs")}, "thing (runs)"),
        ({"default": True}, "thing (yes)"),
        ({"default": ["float32", "bfloat16"], "nargs": "+"}, "thing (float32 bfloat16)"),
        ({"default": [64, 128], "nargs": "+"}, "thing (64 128)"),
        ({"default": [False], "nargs": "+"}, "thing (no)"),
        ({"default": [None], "nargs": "+"}, "thing (none)"),
        ({"default": [("bias", "gamma")], "nargs": "+"}, "thing (bias,gamma)"),
        ({"default": [("bias",)], "nargs": "+"}, "thing (bias)"),
        ({"default": "50 %"}, "thing (50 %)"),
        ({"required": True}, "thing"),
        ({}, "thing"),
        ({"action": "append", "default": []}, "thing"),
        ({"action": "store_true"}, "thing"),
    ],
)
def test_help_shows_the_default_after_the_text(settings: dict[str, Any], shown: str) -> None:
    parser = Parser(prog="toy", add_help=False)
    parser.add_argument_group("group").add_argument("--option", help="thing", **settings)
    assert " ".join(parser.format_help().split()).endswith(f" {shown}")


def test_help_with_a_published_recipe_shows_its_values() -> None:
    shown = python("-m", "benchmarks.run", "--recipe", "mccormick-cola", "--help")
    text = " ".join(shown.stdout.split())
    assert "passes over the training split (4)" in text
    assert "paraphrase (cola)" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-size", "0"], "batch_size is 0; pass 1 to 1,000,000,000"),
        (["--max-len", "64", "3"], "max_len is 3; pass 4 to 1,048,576"),
        (["--learning-rate", "nan"], "learning_rate is nan; pass a number above 0"),
        (["--dropout", "1"], "dropout is 1.0; pass a rate from 0 to below 1, or none"),
        (["--seed", "-1"], "seed is -1; pass a whole number from 0 to 4294967295"),
    ],
)
def test_a_value_out_of_range_is_named_with_the_range(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError) as error:
        parse(*arguments)
    assert str(error.value) == message


def test_options_cannot_be_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--max", "64")
    assert "unrecognized arguments: --max 64" in capsys.readouterr().err


def test_bad_input_becomes_one_line_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, one_line_errors("toy"):
        raise InputError("thing; remedy")
    assert end.value.code == 2
    assert capsys.readouterr() == ("", "toy: error: thing; remedy\n")


@pytest.mark.parametrize(("refused", "code"), [(True, 2), (False, 1)])
def test_a_failed_process_becomes_its_last_lines(refused: bool, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, one_line_errors("toy"):
        raise ProcessFailed("the worker ended with exit code 1", ("line 4", "MemoryError: no room"), refused)
    assert end.value.code == code
    expected = "toy: the worker ended with exit code 1\n  | line 4\n  | MemoryError: no room\n"
    assert capsys.readouterr() == ("", expected)


def test_an_interruption_becomes_one_line_and_exit_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, one_line_errors("toy"):
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert capsys.readouterr().err.startswith("toy: interrupted; ")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with room for long lines, which argparse breaks at hyphens too."""
    wide = os.environ | {"COLUMNS": "1000"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=CHECKOUT, env=wide)


def test_help_names_every_recipe_field_and_its_choices() -> None:
    shown = python("-m", "benchmarks.run", "--help")
    assert shown.returncode == 0
    text = " ".join(shown.stdout.split())
    for field in fields(Recipe):
        assert f"--{field.name.replace('_', '-')} " in text
        assert " ".join(field.metadata["help"].split()) in text
    for choices in CHOICES.values():
        assert "|".join(choices) in text


@pytest.mark.parametrize("command", ["benchmarks.run", "benchmarks.report", "benchmarks.parity", "benchmarks.predict"])
def test_help_loads_nothing_slow(command: str) -> None:
    """Neither a framework nor what planning and tables need."""
    script = f"""
import runpy, sys
sys.argv = [{command!r}, "--help"]
try:
    runpy.run_module({command!r}, run_name="__main__")
except SystemExit as end:
    print(end.code, *sorted(sys.modules), file=sys.stderr)
"""
    shown = python("-c", script)
    code, *modules = shown.stderr.split()
    assert code == "0"
    assert "usage: " in shown.stdout
    slow = {"pandas", "rich", "sklearn", "scipy", "tokenizers", "datasets", "torch", "transformers", "mxnet", "keras"}
    assert "shared.errors" in modules
    assert slow.isdisjoint(modules)
