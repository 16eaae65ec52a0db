"""`benchmarks.run --list`: what there is to run, and what each lacks here."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends import BACKENDS
from benchmarks.run import main
from shared.presets import preset_names
from shared.tasks import TASK_MODULES


def listed(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["--list", *map(str, arguments)])
    assert ended.value.code == 0
    return capsys.readouterr().out


def line_of(text: str, name: str) -> str:
    (line,) = (line for line in text.splitlines() if line.split()[:1] == [name])
    return line


def test_every_task_recipe_model_and_backend_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    text = listed(capsys)
    for name in (*TASK_MODULES, *preset_names(), "minilm", "random:bert-base", *BACKENDS):
        assert line_of(text, name)
    assert "…" not in text
    assert "train 6,000, dev 500" in line_of(text, "acceptability")
    assert "0.500" in line_of(text, "acceptability")


def test_on_a_narrow_terminal_the_names_are_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.workers.progress.WIDTH", 80)
    text = listed(capsys)
    assert max(map(len, text.splitlines())) <= 80
    assert all(line_of(text, name) for name in (*TASK_MODULES, *preset_names(), "random:bert-base", "torch"))
    assert "…" not in text


def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("benchmarks.workers.progress.WIDTH", 600)  # room for the longest line
    assert "--data-dir" in line_of(listed(capsys), "cola")
    text = listed(capsys, "--data-dir", tmp_path, "--python", "gluon=/no/such/python")
    assert str(tmp_path) in text
    assert "there is no such interpreter" in line_of(text, "gluon")
