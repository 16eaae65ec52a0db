"""Published recipes: what they report stands beside what was measured here, and apart from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs

from benchmarks.reporting.published import write_published
from shared.metrics import details
from shared.presets import get_preset
from shared.records import PresetUse, Record
from tests.factories import answer, circumstances, epoch, record


def made(name: str, backend: str = "torch", overridden: tuple[str, ...] = ("model",), **recipe: Any) -> Record:
    """A record of two epochs of five steps, made with a published recipe."""
    preset = get_preset(name)
    last = structs.replace(epoch(12.0, dev=0.64, steps=5), dev_batch_accuracy=0.655)
    labels = np.array([0, 0, 1, 1])
    trained = answer(
        [epoch(10.0, dev=0.61, steps=5), last],
        test=0.6,
        step_loss=[1.0, 0.9, 0.8, 0.7, 0.65, 0.6, 0.5, 0.5, 0.4, 0.2],
        details={"test": details(labels, np.array([0, 1, 1, 1]), ("no", "yes"), 2)},
    )
    one = record(replace(preset.recipe, **recipe), backend, preset.task, preset=PresetUse(name, list(overridden)))
    return structs.replace(one, answer=trained, circumstances=circumstances(worker_seconds=33.4))


def parts(out: Path) -> dict[str, str]:
    """The parts of published.md by their headings."""
    text = (out / "published.md").read_text(encoding="utf-8")
    return {part.split("\n", 1)[0]: part for part in text.split("\n## ")[1:]}


def rows(part: str) -> list[dict[str, str]]:
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_without_published_recipes_there_is_no_such_file(tmp_path: Path) -> None:
    assert not write_published(tmp_path, [record()])
    assert list(tmp_path.iterdir()) == []


def test_what_was_reported_stands_apart_from_what_was_measured(tmp_path: Path) -> None:
    overridden = ("model", "limit", "epochs")
    assert write_published(tmp_path, [made("mccormick-cola", overridden=overridden, epochs=2), record()])
    part = parts(tmp_path)["mccormick-cola"]
    preset = get_preset("mccormick-cola")
    assert f"- [{preset.title}]({preset.source})\n" in part
    assert f"- reported, with google-bert/bert-base-uncased: {preset.reported}\n" in part
    assert (
        "- here: minilm; overridden: model minilm, limit, epochs 2; train 100, dev 50, test 40 rows; Toy CPU, 4 c"
        in part
    )
    assert "- majority class here: dev 0.650, test 0.680\n" in part
    assert "0.529" not in "".join(map(str, rows(part)))


def test_a_row_holds_what_tutorials_print(tmp_path: Path) -> None:
    write_published(tmp_path, [made("mccormick-cola")])
    (row,) = rows(parts(tmp_path)["mccormick-cola"])
    assert row == {
        "backend": "torch",
        "seed": "42",
        "steps": "10",
        "loss at the ends": "0.8500, 0.4000",
        "training loss": "0.400, 0.400",
        "training accuracy": "0.900, 0.900",
        "dev loss": "0.500, 0.500",
        "dev accuracy": "0.610, 0.640",
        "by batch": "0.655",
        "dev MCC": "0.540",
        "dev F1": "0.740",
        "test accuracy": "0.600",
        "test MCC": "0.500",
        "test F1": "0.700",
        "test MCC by batch": "0.000",  # of two batches of one label each
        "epoch s": "12",
        "all s": "33",
    }


def test_other_overrides_make_another_part(tmp_path: Path) -> None:
    records = [made("mccormick-cola", b, seed=s) for b in ("keras", "torch") for s in (43, 42)]
    records += [made("mccormick-cola", overridden=("model", "epochs"), epochs=1), made("gluonnlp-mrpc")]
    write_published(tmp_path, records)
    text = (tmp_path / "published.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## gluonnlp-mrpc",
        "## mccormick-cola",
        "## mccormick-cola",
    ]
    both = [[(row["backend"], row["seed"]) for row in rows(part)] for part in text.split("\n## ")[2:]]
    assert [("torch", "42"), ("torch", "43"), ("keras", "42"), ("keras", "43")] in both
    assert [("torch", "42")] in both


def test_a_corrected_recipe_reports_nothing(tmp_path: Path) -> None:
    write_published(tmp_path, [made("gluonnlp-mrpc-fixed")])
    part = parts(tmp_path)["gluonnlp-mrpc-fixed"]
    assert "- nothing was published: it corrects gluonnlp-mrpc\n" in part
    assert "reported" not in part


def test_a_record_of_a_recipe_that_is_gone_is_still_shown(tmp_path: Path) -> None:
    write_published(tmp_path, [structs.replace(made("mccormick-cola"), preset=PresetUse("gone", []))])
    assert "- reported: this recipe is no longer one of the project's\n" in parts(tmp_path)["gone"]
