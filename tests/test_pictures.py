"""Pictures of records, one of each kind for those that differ in backend and seed alone, and of lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks.lengths import main as lengths_command
from benchmarks.report import report
from benchmarks.reporting import pictures
from benchmarks.reporting.pictures import draw_pictures
from shared.answer import Details
from shared.checkpoint.sources import resolve_model
from shared.encoding import encode, read_encoded, token_lengths
from shared.metrics import details
from shared.recipe import Recipe
from shared.records import Record, write_record
from shared.tasks import get_task
from tests.factories import answer, asked, epoch, record


def trained(backend: str, seed: int = 1, **recipe: Any) -> Record:
    """Two epochs of three steps, dev accuracy 0.6 and then 0.7."""
    epochs = [replace(epoch(1.0, dev=dev, steps=3), train_accuracy=0.5) for dev in (0.6, 0.7)]
    labels = np.array([0, 1, 1, 0])
    scored = answer(
        epochs,
        test=0.65,
        step_loss=[0.7, 0.65, 0.6, 0.55, 0.5, 0.45],
        details={"dev": details(labels, labels[::-1], ("no", "yes"), 2)},
    )
    return replace(record(Recipe(**recipe, seed=seed), backend), answer=scored)


def test_each_comparison_has_its_pictures_in_both_formats(tmp_path: Path) -> None:
    records = [trained(b, seed) for b in ("torch", "keras") for seed in (1, 2)] + [trained("torch", max_len=32)]
    drawn = draw_pictures(tmp_path, records)
    names = drawn.names
    assert (drawn.comparisons, drawn.left_out, drawn.failed) == (2, 0, [])
    assert len(names) == len(set(names)) == 2 * len(("loss", "accuracy", "confusion of dev"))
    for name in names:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        assert ElementTree.parse((tmp_path / name).with_suffix(".svg")).getroot().tag.endswith("svg")


def test_a_confusion_matrix_sums_over_seeds() -> None:
    figure = pictures.KINDS["confusion-dev"]([trained("torch", seed) for seed in (1, 2, 3)])
    assert figure is not None
    counts = np.array([int(text.get_text()) for text in figure.axes[0].texts]).reshape(2, 2)
    assert counts.tolist() == [[6, 0], [0, 6]]


def test_records_without_dev_labels_or_details_are_drawn_too(tmp_path: Path) -> None:
    bare = answer([epoch(1.0, dev=None, steps=3)], step_loss=[0.7, 0.65, 0.6])
    one = replace(trained("torch"), answer=bare, majority={"train": 0.6})
    assert [name.rpartition("-")[2] for name in draw_pictures(tmp_path, [one]).names] == ["loss.png", "accuracy.png"]


def test_of_many_comparisons_those_of_most_runs_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for one in [trained("torch", max_len=length) for length in (16, 32, 64)] + [trained("keras", max_len=32)]:
        write_record(tmp_path, one, {})
    report(tmp_path, 1)
    names = [file.name for file in (tmp_path / "pictures").glob("*.png")]
    assert len(names) == 3
    assert all("-len32-" in name for name in names)
    shown = " ".join(capsys.readouterr().out.split())
    assert "they are of 1 of 3 comparisons, those of the most runs; --pictures 3 draws all" in shown


def test_a_picture_that_fails_costs_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: Any) -> Any:
        raise np.linalg.LinAlgError("no\nroom")

    monkeypatch.setitem(pictures.KINDS, "accuracy", fails)
    write_record(tmp_path, trained("torch"), {})
    report(tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("-accuracy is not drawn (LinAlgError: no\\nroom)")
    assert (tmp_path / "table.csv").is_file()
    assert (tmp_path / "table.md").read_text().count("](pictures/") == 2


@pytest.mark.parametrize("task", ["../../away", "a/b", "$\\frac$ $", "x" * 300, "中\x1b[1m", ".hidden", "--"])
def test_a_name_leads_nowhere_and_is_no_formula(tmp_path: Path, task: str) -> None:
    out = tmp_path / "below" / "out"
    drawn = draw_pictures(
        out, [replace(trained("torch"), asked=replace(asked(task=task), backend="gone"), model="$_{")]
    )
    assert drawn.failed == []
    assert {file.parent for file in tmp_path.rglob("*") if file.is_file()} == {out / "pictures"}


def test_a_confusion_of_many_labels_is_not_drawn(tmp_path: Path) -> None:
    scored = replace(
        answer(), details={"dev": Details(confusion=[[0] * 1000] * 1000, report={}, batch_mcc=[], batch_accuracy=1.0)}
    )
    assert len(draw_pictures(tmp_path, [replace(record(), answer=scored)]).names) == 2


def test_the_report_shows_the_pictures(tmp_path: Path) -> None:
    one = trained("torch")
    write_record(tmp_path, one, {})
    report(tmp_path)
    page = (tmp_path / "table.md").read_text()
    for file in (tmp_path / "pictures").glob("*.png"):
        assert f"](pictures/{file.name})" in page
    assert page.count("](pictures/") == 3


def test_lengths_are_shown_with_the_share_that_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--task", "acceptability", "paraphrase", "--model", "random:bert-tiny", "--max-len", "12"]
    lengths_command([*arguments, "--out", str(tmp_path)])
    folder = resolve_model("random:bert-tiny")
    shown = capsys.readouterr().out
    for task in ("acceptability", "paraphrase"):
        rows = get_task(task).load(None)["train"]
        data = read_encoded(encode({"train": rows}, folder, 512, 0))["train"]
        np.testing.assert_array_equal(token_lengths(rows, folder), data.lengths)
        *labels, line = (line for line in shown.splitlines() if line.split()[:1] == [task])
        assert ["3,000 (50.0%)" in label for label in labels] == [True, True]
        assert f"{(data.lengths > 12).mean():.1%}" in line
        assert (tmp_path / "pictures" / f"{task}-lengths.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--task", "acceptability", "--max-len", "2"], "--max-len 2: pass 4 or more"), (["--task", "x"], "unknown task")],
)
def test_lengths_refuse_bad_input(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        lengths_command(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
