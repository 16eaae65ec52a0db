"""Pictures are drawn of what records hold, one of a kind for what differs in backend and seed alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import pictures
from benchmarks.pictures import draw_pictures
from benchmarks.report import report
from shared.metrics import details
from shared.recipe import Recipe
from shared.records import Record, write_record
from tests.test_tables import epoch, record


def trained(backend: str, seed: int = 1, **recipe: Any) -> Record:
    """Two epochs of three steps, dev accuracy 0.6 and then 0.7."""
    made = record(Recipe(**recipe, seed=seed), backend, test=0.65, epochs=[epoch(1.0, dev=0.6), epoch(1.0, dev=0.7)])
    for one in made["answer"]["epochs"]:
        one |= {"steps": 3, "train_accuracy": 0.5}
        one["dev"] |= {"loss": 0.6}
    made["answer"]["step_loss"] = [0.7, 0.65, 0.6, 0.55, 0.5, 0.45]
    labels = np.array([0, 1, 1, 0])
    made["answer"]["details"] = {"dev": details(labels, labels[::-1], ("no", "yes"), 2)}
    made["id"] = f"{backend}{seed}{made['recipe']['max_len']}"
    return made


def test_each_comparison_has_its_pictures_in_both_formats(tmp_path: Path) -> None:
    records = [trained(b, seed) for b in ("torch", "keras") for seed in (1, 2)] + [trained("torch", max_len=32)]
    names = draw_pictures(tmp_path, records)
    assert len(names) == len(set(names)) == 2 * len(("loss", "accuracy", "confusion of dev"))
    for name in names:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse((tmp_path / name).with_suffix(".svg")).getroot().tag.endswith("svg")


def test_a_confusion_matrix_sums_over_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    sound = pictures._confusions

    def noted(group: list[Record]) -> Any:
        drawn.extend(sound(group))
        return drawn

    monkeypatch.setattr(pictures, "_confusions", noted)
    draw_pictures(tmp_path, [trained("torch", seed) for seed in (1, 2, 3)])
    ((kind, figure),) = drawn
    assert kind == "confusion-dev"
    counts = np.array([int(text.get_text()) for text in figure.axes[0].texts]).reshape(2, 2)
    assert counts.tolist() == [[6, 0], [0, 6]]


def test_records_without_dev_labels_or_details_are_drawn_too(tmp_path: Path) -> None:
    one = trained("torch")
    del one["answer"]["details"]
    for each in one["answer"]["epochs"]:
        each["dev"] = None
    del one["majority"]["dev"]
    assert [name.rpartition("-")[2] for name in draw_pictures(tmp_path, [one])] == ["loss.png", "accuracy.png"]


def test_the_report_shows_them(tmp_path: Path) -> None:
    one = trained("torch")
    write_record(tmp_path, one, {})
    report(tmp_path)
    page = (tmp_path / "table.md").read_text()
    for file in (tmp_path / "pictures").glob("*.png"):
        assert f"](pictures/{file.name})" in page
    assert page.count("](pictures/") == 3
