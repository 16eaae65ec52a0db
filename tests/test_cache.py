"""The cache folder: damaged, unwritable, missing, relative, or on a full disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import shared.encoding
import shared.partial
from benchmarks.workers.environments import CHECKOUT, worker_variables
from shared.cache import cache_dir
from shared.checkpoint.sources import resolve_model
from shared.encoding import encode, read_encoded
from shared.errors import InputError
from shared.kept import DIGEST, held_folder, kept_folder, prune
from shared.partial import remove
from shared.tasks import Rows

ROWS = {"train": Rows(["ab cd"], None, [1])}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint, and an empty cache folder."""
    checkpoint = resolve_model("random:bert-tiny")
    monkeypatch.setenv("CONCORD_CACHE", str(tmp_path / "cache"))
    return checkpoint


def test_rows_that_are_cut_are_counted(folder: Path) -> None:
    texts = ["the cat sat", "the cat sat on the mat", "the cat", "a b c d e f g h i j"]
    for max_len, cut in ((5, 2), (4, 3), (64, 0)):
        data = read_encoded(encode({"train": Rows(texts, None, [0, 1, 0, 1])}, folder, max_len, pad_id=0))["train"]
        assert data.cut == cut


@pytest.mark.parametrize("name", ["train/ids.npy", "dev/offsets.npy", "pad_id", "train", DIGEST])
@pytest.mark.parametrize("damage", ["removed", "emptied", "cut off", "one bit", "another"])
def test_a_damaged_encoding_is_made_again(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, damage: str
) -> None:
    splits = {"train": Rows(["the cat"], None, [1]), "dev": Rows(["a b"], None, [1])}
    made = encode(splits, folder, 8, pad_id=0)
    before = {file: file.read_bytes() for file in made.rglob("*") if file.is_file()}
    file = made / ("train/cut" if name == "train" and damage != "removed" else name)
    match damage:
        case "removed":
            remove(file)
        case "emptied":
            file.write_bytes(b"")
        case "cut off":
            file.write_bytes(before[file][:-1])
        case "one bit":
            file.write_bytes(before[file][:-1] + bytes([before[file][-1] ^ 1]))
        case "another":
            (made / "more").write_text("")
    with pytest.raises(InputError, match=f"^{made} is not as it was written; run the command again"):
        read_encoded(made)
    for said in (f"{made} is not as it was written: it is made again\n", ""):
        assert encode(splits, folder, 8, pad_id=0) == made
        assert capsys.readouterr().err == said
    assert {file: file.read_bytes() for file in made.rglob("*") if file.is_file()} == before


def test_what_is_damaged_and_cannot_be_removed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = encode(ROWS, folder, 8, pad_id=0)
    (made / "pad_id").unlink()
    monkeypatch.setattr(shared.partial.shutil, "rmtree", lambda *arguments, **others: None)
    with pytest.raises(InputError, match=f"{made} is damaged and cannot be removed; remove it"):
        encode(ROWS, folder, 8, pad_id=0)


def some_kept(parent: Path, *names: str) -> list[Path]:
    """Folders of 1,000 bytes and a digest, of which the first was used longest ago."""
    folders = [kept_folder(parent / name, lambda partial: write(partial / "a", 1000)) for name in names]
    for age, folder in enumerate(reversed(folders)):
        os.utime(folder, (1e9 - age, 1e9 - age))
    return folders


def write(file: Path, size: int) -> None:
    file.write_bytes(bytes(size))


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    old, used, new = some_kept(tmp_path, "b", "c", "a")
    prune(tmp_path, 4000)
    assert all(folder.is_dir() for folder in (old, used, new))
    held_folder(old, lambda partial: pytest.fail("it is there"))  # the latest use
    remove(used)
    used, new = some_kept(tmp_path, "c", "a")
    prune(tmp_path, 2500)
    assert [folder.is_dir() for folder in (old, used, new)] == [True, False, True]


def test_what_is_made_again_is_held_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder,) = some_kept(tmp_path, "a")
    held_folder(folder, lambda partial: pytest.fail("it is there"))
    write(folder / "a", 999)
    held_folder(folder, lambda partial: write(partial / "a", 1000))
    assert capsys.readouterr().err == f"{folder} is not as it was written: it is made again\n"
    prune(tmp_path, 0)
    assert (folder / "a").stat().st_size == 1000


def test_what_a_process_uses_stays(tmp_path: Path) -> None:
    old, new = some_kept(tmp_path, "a", "b")
    code = "import sys; from pathlib import Path; from shared.kept import held_folder; "
    code += "held_folder(Path(sys.argv[1]), print); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(old)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout
        assert user.stdout.readline() == b"held\n"
        prune(tmp_path, 0)
        assert (old.is_dir(), new.is_dir()) == (True, False)
        with pytest.raises(InputError, match=f"{old} is in use by another process; run the command again once"):
            held_folder(old, lambda partial: pytest.fail("it is in use"), again=True)
        user.communicate()
    held_folder(old, lambda partial: write(partial / "a", 999), again=True)
    assert (old / "a").stat().st_size == 999


def test_what_is_made_again_stays_until_it_is_made(tmp_path: Path) -> None:
    (folder,) = some_kept(tmp_path, "a")

    def fail(partial: Path) -> None:
        write(partial / "a", 999)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        held_folder(folder, fail, again=True)
    assert held_folder(folder, lambda partial: pytest.fail("it is there")) == folder
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_cache_folder_that_is_missing_is_made(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCORD_CACHE", str(tmp_path / "not" / "yet"))
    assert encode(ROWS, folder, 8, 0).is_relative_to(tmp_path / "not" / "yet")


def test_a_relative_cache_folder_is_the_same_for_workers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They run in the checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONCORD_CACHE", "here")
    assert encode(ROWS, folder, 8, 0).is_relative_to(tmp_path / "here")
    assert worker_variables()["CONCORD_CACHE"] == str(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CONCORD_CACHE", "~/there")
    assert cache_dir() == tmp_path / "there"
    monkeypatch.delenv("CONCORD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "xdg")
    assert cache_dir() == tmp_path / "xdg" / "concord"


def test_a_cache_folder_that_cannot_be_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for name, reason in ((tmp_path / "file", "Not a directory"), (tmp_path / "file" / "below", "Not a directory")):
        monkeypatch.setenv("CONCORD_CACHE", str(name))
        for use in (lambda: encode(ROWS, folder, 8, 0), lambda: resolve_model("random:bert-tiny")):
            with pytest.raises(InputError) as error:
                use()
            assert str(error.value) == (
                f"the cache folder {name} cannot be written to ({reason}); set CONCORD_CACHE to another"
            )


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_cache_folder_that_takes_nothing_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*arguments: object, **others: object) -> None:
        raise OSError(number, os.strerror(number))

    message = f"the cache folder {tmp_path / 'cache'} cannot be written to ({os.strerror(number)}); set CONCORD_CACHE"
    with monkeypatch.context() as patched:
        patched.setattr("os.mkdir", refuse)
        with pytest.raises(InputError) as error:
            encode(ROWS, folder, 8, 0)
        assert str(error.value).startswith(message)
    if number == errno.ENOSPC:  # the disk fills up on the way
        monkeypatch.setattr(shared.encoding.ArrayWriter, "add", refuse)
        with pytest.raises(InputError) as error:
            encode(ROWS, folder, 8, 0)
        assert str(error.value).startswith(message)
        assert list((tmp_path / "cache" / "encoded").iterdir()) == []


def test_without_a_home_folder_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("CONCORD_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(InputError, match="no home folder for the cache; set CONCORD_CACHE to a folder"):
        cache_dir()
