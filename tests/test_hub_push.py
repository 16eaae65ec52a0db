"""Reports on the hub. The hub itself is a fake: nothing leaves this machine."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import CommitOperationAdd, DatasetCard

from benchmarks.report import main
from shared.recipe import Recipe
from shared.records import Record, write_record
from tests.factories import record


class Hub:
    """Stands for huggingface_hub.HfApi: keeps what it is asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.made: list[tuple[str, dict[str, Any]]] = []
        self.commits: list[tuple[str, dict[str, bytes], dict[str, Any]]] = []

    def create_repo(self, repository: str, **settings: Any) -> None:
        if self.error:
            raise self.error
        self.made.append((repository, settings))

    def create_commit(self, repository: str, operations: list[CommitOperationAdd], **settings: Any) -> SimpleNamespace:
        files = {}
        for one in operations:
            with one.as_file() as file:
                files[one.path_in_repo] = file.read()
        self.commits.append((repository, files, settings))
        return SimpleNamespace(repo_url=f"https://huggingface.co/datasets/{repository}")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    fake = Hub()
    monkeypatch.setattr("benchmarks.reporting.hub.HfApi", lambda: fake)
    return fake


def write(out: Path, records: list[Record]) -> list[Record]:
    return [write_record(out, each, {"dev": np.zeros((1, 2))}) for each in records]


def test_tables_records_and_a_card_are_one_commit(tmp_path: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.html").write_text("<p>report</p>")
    (tmp_path / "notes.txt").write_text("of the user's own")
    made = write(tmp_path, [record(Recipe(seed=n)) for n in (1, 2)])
    main([str(tmp_path), "--pictures", "0", "--push-to-hub", "someone/runs"])
    assert hub.made == [("someone/runs", {"repo_type": "dataset", "private": True, "exist_ok": True})]
    ((repository, files, settings),) = hub.commits
    assert (repository, settings["repo_type"]) == ("someone/runs", "dataset")
    assert set(files) == {
        *("README.md", "cells.parquet", "epochs.parquet", "report.html", "table.csv", "table.md"),
        *(f"records/{one.id}.json" for one in made),
    }
    assert files["records/" + made[0].id + ".json"] == (tmp_path / "records" / f"{made[0].id}.json").read_bytes()
    assert len(pd.read_parquet(io.BytesIO(files["cells.parquet"]))) == 2
    assert "pushed to https://huggingface.co/datasets/someone/runs" in capsys.readouterr().out


def test_the_data_sets_card_is_one_that_the_hub_reads(tmp_path: Path, hub: Hub) -> None:
    write(tmp_path, [record()])
    main([str(tmp_path), "--pictures", "0", "--push-to-hub", "someone/runs"])
    card = DatasetCard(hub.commits[0][1]["README.md"].decode())
    assert [one["data_files"] for one in card.data.to_dict()["configs"]] == ["cells.parquet", "epochs.parquet"]
    assert "## Quality" in card.text


@pytest.mark.parametrize("name", ["", "a/b/c", "a--b", "no spaces", "../up"])
def test_a_name_that_the_hub_cannot_have_is_refused_first(
    tmp_path: Path, hub: Hub, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    write(tmp_path, [record()])
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), f"--push-to-hub={name}"])
    assert ended.value.code == 2
    assert "is no name of a repository; pass OWNER/NAME" in capsys.readouterr().err
    assert (hub.made, (tmp_path / "table.md").exists()) == ([], False)


def test_a_hub_that_refuses_is_told_in_one_line(tmp_path: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.error = RuntimeError("401 Client Error\nwith more lines")
    write(tmp_path, [record()])
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), "--pictures", "0", "--push-to-hub", "someone/runs"])
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "the hub did not take it (401 Client Error); log in with `hf auth login`" in line
    assert (hub.commits, (tmp_path / "table.md").exists()) == ([], True)
