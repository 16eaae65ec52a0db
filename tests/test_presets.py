"""The published recipes: what each fixes, how options override it, and that the record says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cells.plan import Request, plan_cells
from benchmarks.cli.options import parse_with_preset
from benchmarks.cli.recipe_options import recipes
from benchmarks.reporting.listing import _preset
from benchmarks.reporting.numbers import MISSING
from benchmarks.run import _parser
from shared.errors import InputError
from shared.presets import differing_fields, get_preset, preset_names
from shared.recipe import Recipe
from shared.records import PresetUse

NO_DECAY_NOR_WARM_UP = {"decay": 0.0, "warm_up": 0.0}
AS_PUBLISHED = {
    "mccormick-cola": (
        "cola",
        {"max_len": 64, "batch_size": 32, "epochs": 4, "learning_rate": 2e-5, "eps": 1e-8, "eps_place": "before"}
        | {"schedule": "linear", "clip": 1.0, "held_out": 0.1, "held_out_seed": 2018, "seed": 42, "shuffle": True},
    ),
    "assemblyai-sst": (
        "sst-binary",
        {"max_len": 512, "padding": "longest", "batch_size": 32, "epochs": 3, "learning_rate": 2e-5, "eps": 1e-6}
        | {"eps_place": "before", "schedule": "constant", "clip": None, "eval_before": True},
    ),
    "assemblyai-qqp": (
        "qqp",
        {"max_len": 512, "padding": "longest", "batch_size": 32, "epochs": 3, "learning_rate": 2e-5, "eps": 1e-6}
        | {"eps_place": "before", "schedule": "constant", "clip": None, "eval_before": True},
    ),
    "cummings-emotion": (
        "emotion",
        {"max_len": 512, "padding": "max_length", "batch_size": 8, "epochs": 5, "learning_rate": 5e-5, "eps": 1e-8}
        | {"eps_place": "before", "schedule": "linear", "clip": 1.0, "num_labels": 8, "seed": 42},
    ),
    "gluonnlp-mrpc": (
        "mrpc",
        {"max_len": 128, "batch_size": 32, "last_batch": "rollover", "epochs": 3, "learning_rate": 5e-6}
        | {"optimizer": "adam", "eps": 1e-9, "eps_place": "before", "schedule": "constant", "clip": 1.0}
        | {"train_split": "dev", "head_dropout": 0.1, "head_init": "normal"},
    ),
    "gplay-sentiment": (
        "google-play",
        {"max_len": 160, "batch_size": 16, "shuffle": False, "epochs": 10, "learning_rate": 2e-5, "eps": 1e-6}
        | {"bias_correction": False, "schedule": "linear", "clip": 1.0, "head_dropout": 0.3, "head_init": "uniform"}
        | {"held_out": 0.1, "held_out_test": 0.5, "held_out_seed": 42, "keep": "last"},
    ),
}


@pytest.mark.parametrize("name", AS_PUBLISHED)
def test_a_preset_fixes_what_was_published(name: str) -> None:
    preset = get_preset(name)
    task, published = AS_PUBLISHED[name]
    assert preset.task == task
    for field, value in (published | NO_DECAY_NOR_WARM_UP).items():
        assert getattr(preset.recipe, field) == value, field


CORRECTED: dict[str, dict[str, Any]] = {
    "cummings-emotion-fixed": {"padding": "longest", "num_labels": None},
    "gluonnlp-mrpc-fixed": {"train_split": "train", "last_batch": "keep"},
    "gplay-sentiment-fixed": {"shuffle": True, "keep": "best"},
}


@pytest.mark.parametrize("name", CORRECTED)
def test_a_corrected_preset_differs_in_what_it_corrects(name: str) -> None:
    fixed, published = get_preset(name), get_preset(name.removesuffix("-fixed"))
    assert fixed.fixes == published.name
    assert published.fixes is None
    assert fixed.recipe == replace(published.recipe, **CORRECTED[name])
    assert set(differing_fields(published, fixed.recipe)) == set(CORRECTED[name])
    assert (fixed.title, fixed.model, fixed.source) == (published.title, published.model, published.source)


def test_every_preset_is_compared_with_its_publication() -> None:
    assert preset_names() == sorted(AS_PUBLISHED | CORRECTED)


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown recipe 'mccormick'; known: assemblyai-qqp, .*mccormick-cola"):
        get_preset("mccormick")


def test_a_presets_values_are_the_defaults() -> None:
    options, preset = parse_with_preset(_parser(), ["--recipe", "mccormick-cola"])
    assert preset == get_preset("mccormick-cola")
    assert (options.task, options.model) == (["cola"], [preset.model])
    assert recipes(options) == [preset.recipe]
    assert differing_fields(preset, preset.recipe) == []


def test_options_override_a_preset() -> None:
    arguments = ["--recipe", "mccormick-cola", "--epochs", "1", "2", "--clip", "none", "--task", "acceptability"]
    options, preset = parse_with_preset(_parser(), arguments)
    assert preset is not None
    assert options.task == ["acceptability"]
    assert recipes(options) == [replace(preset.recipe, epochs=n, clip=None) for n in (1, 2)]
    assert differing_fields(preset, recipes(options)[0]) == ["epochs", "clip"]


def test_other_seeds_are_still_the_published_recipe() -> None:
    preset = get_preset("mccormick-cola")
    assert differing_fields(preset, replace(preset.recipe, seed=7)) == []


def test_without_a_preset_a_task_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_with_preset(_parser(), ["--task", "cola"])[1] is None
    with pytest.raises(SystemExit) as ended:
        parse_with_preset(_parser(), ["--epochs", "1"])
    assert ended.value.code == 2
    assert "--task, or --recipe" in capsys.readouterr().err


def test_a_cell_says_which_preset_it_is_of_but_its_id_does_not() -> None:
    preset = get_preset("mccormick-cola")

    def cell(preset_asked: bool) -> tuple[str, PresetUse | None]:
        (planned,) = plan_cells(
            Request(
                backends=["torch"],
                tasks=["acceptability"],
                models=["random:bert-tiny"],
                recipes=[replace(preset.recipe, epochs=1)],
                device="cpu",
                threads=1,
                limit=30,
                data_dir=None,
                pythons={},
                preset=preset if preset_asked else None,
            )
        )
        return planned.id, planned.preset

    (named, shown), (plain, none) = cell(True), cell(False)
    assert named == plain
    assert none is None
    assert shown == PresetUse("mccormick-cola", overridden=["task", "model", "limit", "epochs"])


def test_presets_are_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'title = "T"\ntask = "cola"\nmodel = "m"\nreported = "r"\nkeeps = []\n[recipe]\n'
    (tmp_path / "mine.toml").write_text(text + "epochs = 9\n")
    (tmp_path / "wrong.toml").write_text(text + "epoch = 9\n")
    monkeypatch.setattr("shared.presets.FOLDER", tmp_path)
    assert get_preset("mine").recipe == Recipe(epochs=9)
    with pytest.raises(InputError, match="unknown recipe field 'epoch'"):
        get_preset("wrong")


def test_a_presets_recipe_can_be_kept_in_a_record() -> None:
    for name in preset_names():
        recipe = get_preset(name).recipe
        assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


BROKEN = {
    "shuffle": ('shuffle = "no"', "shuffle is 'no'; pass true or false"),
    "epochs": ("epochs = 2.5", "epochs is 2.5; pass a whole number"),
    "switch": ("epochs = true", "epochs is True; pass a whole number"),
    "rate": ('learning_rate = "2e-5"', "learning_rate is '2e-5'; pass a number"),
    "rows": ("train_rows = [1]", "train_rows is [1]; pass a whole number, or none"),
    "exempt": ('decay_exempt = "bias"', "decay_exempt is 'bias'; pass a list of words"),
    "padding": ("padding = 3", "padding is 3; pass a word"),
    "choice": ('padding = "left"', "padding is 'left'; pass one of max_length, longest, bucket, none"),
    "unknown": ("epoch = 2", "unknown recipe field 'epoch'; known: "),
    "toml": ("epochs = = 2", "Invalid value"),
    "extra": ("[more]", "Object contains unknown field `more`"),
    "deep": (f"a = {'[' * 5000}", "it is nested too deeply"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of presets, with a sound one."""
    monkeypatch.setattr("shared.presets.FOLDER", tmp_path)
    preset(tmp_path / "sound.toml", "epochs = 2")
    return tmp_path


def preset(file: Path, lines: str, before: str = "") -> None:
    head = 'title = "A"\ntask = "cola"\nmodel = "minilm"\nreported = ""\nkeeps = []\n'
    file.write_text(f"{head}{before}[recipe]\n{lines}\n")


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_preset_is_named_and_breaks_no_other(folder: Path, kind: str) -> None:
    lines, said = BROKEN[kind]
    preset(folder / "broken.toml", lines)
    with pytest.raises(InputError) as error:
        get_preset("broken")
    assert str(error.value).startswith(f"{folder / 'broken.toml'}: ")
    assert said in str(error.value)
    assert get_preset("sound").recipe == Recipe(epochs=2)
    assert _preset("broken")[:3] == ("broken", MISSING, MISSING)
    assert _preset("sound")[3] == "A"


@pytest.mark.parametrize("fixes", ["broken", "other", "nowhere", "../sound"])
def test_a_preset_corrects_another_that_is_there(folder: Path, fixes: str) -> None:
    preset(folder / "other.toml", "", 'fixes = "broken"\n')
    preset(folder / "broken.toml", "", f'fixes = "{fixes}"\n')
    with pytest.raises(InputError, match="fixes"):
        get_preset("broken")
