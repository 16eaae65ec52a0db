"""Tables of benchmarks.speed: medians, floors, ratios and marks; and the committed results, written again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.speed.report import Whole, tables, write_report
from benchmarks.speed.results import Measured, Results
from benchmarks.speed.sample import Sample
from benchmarks.speed.scaling import Sizes
from benchmarks.speed.scaling import write_report as write_scaling
from benchmarks.speed.summary import frame, summarize
from benchmarks.speed.variants import Variant
from benchmarks.workers.environments import CHECKOUT
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import resolve_model
from shared.files import from_json, to_json
from shared.flops import optimizer_bytes
from shared.recipe import Recipe
from tests.checkpoints import TOY
from tests.speed_factories import BUCKETED, PADDED, TRAINER, results, samples, took

SIDE_BY_SIDE = sorted(file.parent for file in CHECKOUT.glob("results/*/speed.json"))
GROWING = sorted(file.parent for file in CHECKOUT.glob("results/*/scaling.csv"))


def table(found: Results, variants: list[Variant], folder: Path) -> pd.DataFrame:
    return frame(summarize(found, variants, samples(folder), TOY))


def by_name(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["mode"]: row for row in json.loads(table.to_json(orient="records", double_precision=15))}


def test_seconds_are_medians_and_quartiles_of_the_epoch(tmp_path: Path) -> None:
    """The sample has 8,000 of the epoch's 20,000 operations; the epoch has 10 steps, 20 rows, 100 tokens of 160."""
    padded = by_name(table(results(), [PADDED, BUCKETED, TRAINER], tmp_path))[PADDED.name]
    epochs = 2.5 * np.array([4.0, 8.0, 6.0])
    for name, part in (("epoch_seconds", 1), ("step_seconds", 10)):
        low, median, high = np.percentile(epochs / part, (25, 50, 75))
        assert [padded[f"{name}_q1"], padded[name], padded[f"{name}_q3"]] == pytest.approx([low, median, high])
    assert padded["examples_per_second"] == pytest.approx(20 / 15)
    assert padded["tokens_per_second"] == pytest.approx(100 / 15)
    assert padded["padding_share"] == pytest.approx(0.375)
    assert (padded["step_real_flops"], padded["step_all_flops"]) == (1_000, 2_000)
    assert padded["trace_seconds"] == 3.0
    assert padded["peak_memory_bytes"] == 300 * 2**20


def test_the_floor_takes_the_runs_highest_rates(tmp_path: Path) -> None:
    """Padding does not change the floor."""
    found = table(results(), [PADDED, BUCKETED], tmp_path)
    least = 1_000 / 2e4 + optimizer_bytes(TOY, Recipe()) / 800.0
    assert list(found["floor_step_seconds"]) == pytest.approx([least, least])
    assert by_name(found)[BUCKETED.name]["times_floor"] == pytest.approx(2.5 * 1.2 / 10 / least)


def test_a_precision_without_a_rate_has_no_floor(tmp_path: Path) -> None:
    found, half = results(), Variant("torch", "bucket", "float16")
    found.measured.append(Measured(half, 1, 1, 0.0, took(1.0)))
    rows = summarize(found, [BUCKETED, half], samples(tmp_path), TOY)
    assert by_name(frame(rows))[half.name]["times_floor"] is None
    time, _ = tables(rows)
    assert (by_name(time)[half.name]["floor s"], by_name(time)[half.name]["× floor"]) == ("–", "–")


def test_ratios_to_the_trainer_are_taken_within_rounds(tmp_path: Path) -> None:
    """The medians of 0.8, 1 and 1.2, and of 0.2, 0.1875 and 0.24."""
    found = table(results(), [PADDED, BUCKETED, TRAINER], tmp_path)
    assert list(found["step_by_stock"]) == pytest.approx([1.0, 0.2, 1.0])
    assert list(found["peak_by_stock"]) == pytest.approx([1.5, 0.5, 1.0])


def test_the_best_trainer_has_the_least_median(tmp_path: Path) -> None:
    """The medians of 1, 0.05 and 2.4, and of 5, 0.27 and 10."""
    found, best = results(), Variant("torch", "longest", "bfloat16", trainer=True)
    for n, seconds in enumerate((1.0, 30.0, 0.5), 1):
        found.measured.append(Measured(best, n, 1, 0.0, took(seconds)))
    assert list(table(found, [BUCKETED, TRAINER, best], tmp_path)["step_by_best_stock"]) == pytest.approx([1, 5, 1])


def test_without_the_trainer_there_are_no_ratios_to_it(tmp_path: Path) -> None:
    found = results()
    found.measured = [m for m in found.measured if not m.variant.trainer]
    assert table(found, [PADDED], tmp_path)["step_by_stock"].isna().all()


def test_the_floor_counts_the_rows_that_training_touches(tmp_path: Path) -> None:
    """The floor of dense updates stands beside it, and an update by rows beside the dense one of its round."""
    found, rows = results(), Variant("torch", "bucket", embedding_update="rows")
    for n, seconds in enumerate((0.5, 1.5, 0.9), 1):
        found.measured.append(Measured(rows, n, 1, 0.0, took(seconds)))
    counted = {name: replace(sample, touched=3) for name, sample in samples(tmp_path).items()}
    summary = summarize(found, [BUCKETED, rows], counted, TOY)
    for row in by_name(frame(summary)).values():
        saved = (optimizer_bytes(TOY, Recipe()) - optimizer_bytes(TOY, Recipe(), touched=3)) / 800.0
        assert row["dense_floor_step_seconds"] - row["floor_step_seconds"] == pytest.approx(saved)
        assert row["times_floor"] > row["times_dense_floor"]
    time, _ = tables(summary)
    assert list(time["× dense"]) == ["–", "0.750"]
    write_report(tmp_path, found, summary, counted, TOY)
    assert "with 3 of the word embedding's 10 rows" in (tmp_path / "speed.md").read_text()


def test_a_row_with_a_disturbed_round_is_marked(tmp_path: Path) -> None:
    rows = summarize(results(), [PADDED, BUCKETED, TRAINER], samples(tmp_path), TOY)
    time, around = tables(rows)
    for shown in (time, around):
        assert list(shown["mode"]) == [PADDED.name, BUCKETED.name, f"{TRAINER.name} !"]
    assert time["step s"][0] == "1.500 (1.250 – 1.750)"


@pytest.mark.parametrize("folder", SIDE_BY_SIDE, ids=lambda folder: folder.name)
def test_committed_rounds_give_their_committed_files(folder: Path, tmp_path: Path, cache: Path) -> None:
    """Rounds of earlier code are read, lie in the file that their question names, and give the same bytes again."""
    whole = from_json((folder / "speed.json").read_bytes(), Whole)
    file = whole.asked.file(folder)
    found = Results.read(file, whole.asked)
    assert found.measured
    assert to_json(found, indent=1) == file.read_text()
    widths = {name: Sample(s.recipe, tmp_path, s.once, s.epoch, s.touched) for name, s in whole.samples.items()}
    assert whole.asked.model == "minilm"
    recipe = Recipe.from_json(whole.asked.recipes[0])
    architecture = read_architecture(resolve_model("random:minilm"), recipe, num_labels=2)
    rows = summarize(found, whole.asked.variants, widths, architecture)
    _, names = write_report(tmp_path, found, rows, widths, architecture)
    for name in names:
        if not name.endswith(".png"):
            assert (tmp_path / name).read_text() == (folder / name).read_text(), name


@pytest.mark.parametrize("folder", GROWING, ids=lambda folder: folder.name)
def test_committed_sizes_give_their_committed_files(folder: Path, tmp_path: Path) -> None:
    """Sizes of earlier code are read, lie in the file that their question names, and give the same bytes again."""
    (file,) = (folder / "rounds").glob("*.json")
    found = from_json(file.read_bytes(), Sizes)
    assert found.asked.file(folder) == file
    assert to_json(found, indent=1) == file.read_text()
    write_scaling(tmp_path, found)
    for name in ("scaling.md", "scaling.csv"):
        assert (tmp_path / name).read_text() == (folder / name).read_text(), name
