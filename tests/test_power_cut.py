"""A power cut at any moment loses nothing that was kept, and leaves nothing that is believed and wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import shared.files
import shared.records
from shared.files import restore, whole_folder
from shared.kept import kept_folder
from shared.partial import remove_left_over
from shared.recipe import Recipe
from shared.records import Record, read_records, write_record
from tests import factories
from tests.arrays import NotItsArrays, read_arrays
from tests.power_cut import Disk


def logits(record: Record, version: int) -> np.ndarray:
    return np.full((4, 2), 10 * record.recipe.seed + version, np.float32)


def cut_while_records_are_written(tmp_path: Path) -> None:
    """Cuts the power while two cells are answered and one is answered again."""
    disk = Disk(tmp_path / "out")
    written: list[tuple[int, int, Record]] = []  # the moment after it, the version, the record
    with disk.recording():
        for seed, version in ((1, 0), (2, 0), (1, 1)):
            made = factories.record(Recipe(seed=seed), test=0.5 + version / 10)
            kept = write_record(disk.root, made, {"dev": logits(made, version)})
            written.append((len(disk.moments) - 1, version, kept))
    for moment, out in disk.cuts(tmp_path):
        found = {record.id: record for record in read_records(out)}
        kept_by_then = {record.id: version for after, version, record in written if after <= moment}
        for cell, record in found.items():
            (version,) = (version for _, version, one in written if one == record)
            assert version >= kept_by_then.pop(cell, 0)
            try:
                arrays = read_arrays(out, record)
            except NotItsArrays:  # only while others take their place
                assert (cell, moment < written[2][0]) == (written[2][2].id, True)
                assert version == 0
            else:
                np.testing.assert_array_equal(arrays["dev"], logits(record, version))
        assert not kept_by_then


def test_records_outlive_a_power_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut_while_records_are_written(tmp_path)
    assert capsys.readouterr().err == ""  # nothing bad was left either


def test_the_cut_is_felt_if_nothing_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.files, "flush", lambda path: None)
    with pytest.raises(AssertionError):
        cut_while_records_are_written(tmp_path)


def fill(folder: Path, text: str) -> None:
    (folder / "train").mkdir()
    (folder / "train" / "ids").write_text(text * 100)
    (folder / "pad_id").write_text(text)


def test_a_folder_of_the_cache_outlives_a_power_cut(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "cache")
    with disk.recording():
        kept_folder(disk.root / "a", lambda folder: fill(folder, "right"))
    for moment, cache in disk.cuts(tmp_path):
        made: list[Path] = []

        def again(folder: Path, made: list[Path] = made) -> None:
            made.append(folder)
            fill(folder, "right")

        found = kept_folder(cache / "a", again)
        assert (found / "train" / "ids").read_text() == "right" * 100
        remove_left_over(cache)
        assert [path.name for path in cache.iterdir()] == ["a"]
        assert not made or moment < len(disk.moments) - 2


def test_a_model_that_is_replaced_outlives_a_power_cut(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "saved")
    ends = []
    with disk.recording():
        for text in ("old", "new"):
            with whole_folder(disk.root / "a", replace=True) as folder:
                fill(folder, text)
            ends.append(len(disk.moments) - 1)
    for moment, saved in disk.cuts(tmp_path):
        restore(saved / "a")
        if moment >= ends[0]:
            text = (saved / "a" / "pad_id").read_text()
            assert (saved / "a" / "train" / "ids").read_text() == text * 100
            assert text == "new" if moment >= ends[1] else text in ("old", "new")
        elif (saved / "a").exists():
            assert (saved / "a" / "train" / "ids").read_text() == "old" * 100
