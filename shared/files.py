"""Files: writes that are whole or not at all, hashes, JSON."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from shared.cache import cache_dir
from shared.errors import InputError
from shared.parsing import parse_json, small_text
from shared.partial import begin, remove, remove_left_over, unheld

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
NOT_WRITABLE = (*NO_ROOM, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)
"""Numbers of the errors that a disk or a folder gives if it cannot be written to."""


@contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """Gives a file to fill. It becomes `target` if the block succeeds, and is then on the disk: neither an interruption
    nor a power cut leaves half of it. It is removed if the block fails."""
    make_folder(target.parent)
    remove_left_over(target.parent)
    partial, held = begin(target, lambda path: os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        with open(held, "wb", closefd=False) as file:
            yield file
        os.fsync(held)
        partial.replace(target)
        flush(target.parent)
    except OSError as error:
        _name(error, target)
        raise
    finally:
        partial.unlink(missing_ok=True)
        os.close(held)


@contextmanager
def whole_folder(target: Path, replace: bool = False) -> Iterator[Path]:
    """Gives an empty folder to fill. It becomes `target` if the block succeeds, and is then on the disk. It is removed
    if the block fails. If `target` is there, it is replaced or stays, as `replace` says; one that is replaced is kept
    until the new one has its name (`restore`). Raises InputError if `target` is in the cache, and the cache cannot be
    written to."""
    with ExitStack() as stack:
        try:
            partial = stack.enter_context(scratch_folder(target))
        except OSError as error:
            refuse_cache(target, error, NOT_WRITABLE)
            raise
        try:
            yield partial
            for folder, _, names in os.walk(partial):
                for path in (*(Path(folder, name) for name in names), Path(folder)):
                    flush(path)
            if replace:
                _put_in_place(partial, target)
            else:
                _put_if_missing(partial, target)
        except OSError as error:
            refuse_cache(target, error, NO_ROOM)
            _name(error, target)
            raise


def _name(error: OSError, target: Path) -> None:
    """Gives the error the target's name if it has none, as of a descriptor that takes no more."""
    if error.filename is None:
        error.filename = str(target)


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """Gives an empty folder beside `target`, for the time of the block. If this process is killed, the next that writes
    there removes it."""
    make_folder(target.parent)
    remove_left_over(target.parent)
    partial, held = begin(target, _make_folder)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(held)


def _make_folder(path: Path) -> int | None:
    path.mkdir()
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # taken for left over before it could be locked
        return None


def make_folder(folder: Path) -> None:
    """Makes a folder, and those that it is in, if it is not there. It is on the disk then."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        flush(folder.parent)


def flush(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _put_if_missing(partial: Path, target: Path) -> None:
    try:
        partial.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    flush(target.parent)


def _put_in_place(partial: Path, target: Path) -> None:
    """Gives the folder the target's name. An earlier folder of that name is put aside first, and removed last."""
    restore(target)
    if not target.exists():
        _put_if_missing(partial, target)
        return
    with unheld(target):  # so that `restore` of another process leaves the two names to this one
        target.rename(_aside(target))
        partial.rename(target)
        flush(target.parent)
        remove(_aside(target))


def restore(target: Path) -> None:
    """Ends a replacement of the folder that was interrupted: what was put aside has its name again, or is removed if
    the new one has it."""
    if not target.name or not os.path.isdir(aside := _aside(target)):
        return
    with unheld(aside) as ended:
        if ended and target.exists():
            remove(aside)
        elif ended:
            aside.rename(target)
            flush(target.parent)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def refuse_cache(target: Path, error: OSError, numbers: tuple[int, ...]) -> None:
    """Raises InputError if the target is in the cache and the error's number is one of these."""
    cache = cache_dir()
    if target.is_relative_to(cache) and error.errno in numbers:
        raise InputError(
            f"the cache folder {cache} cannot be written to ({error.strerror}); set CONCORD_CACHE to another"
        ) from None


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a file another name; on another disk, a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_whole(target: Path, content: str) -> None:
    """Writes a text file in UTF-8 as `whole_file` does."""
    with whole_file(target) as file:
        file.write(content.encode())


def hash_file(path: Path) -> str:
    """sha256, hex, of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(files: Iterable[Path]) -> str:
    """sha256, hex, over names and contents of the files."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {hash_file(path)}\n".encode())
    return digest.hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Reads the JSON object of a checkpoint's file. Raises InputError if the file is missing, is not JSON or holds no
    object."""
    try:
        values = parse_json(small_text(path))
    except FileNotFoundError:
        raise InputError(f"{path} is missing; pass a folder in HuggingFace's layout") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); restore the checkpoint's file") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no JSON object; restore the checkpoint's file")
    return values


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes a JSON object in UTF-8, indented by two spaces."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


T = TypeVar("T")


def to_json(value: Any, indent: int | None = None, finite: bool = False) -> str:
    """Returns the JSON text of a typed structure, its fields in their order. With `finite`, null stands for NaN and
    infinity, which other programs' JSON does not have."""
    content = msgspec.to_builtins(value)
    if finite:
        try:
            return json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
        except ValueError:
            content = _finite(content)
    return json.dumps(content, indent=indent, ensure_ascii=False)


def from_json(text: str | bytes, kind: type[T]) -> T:
    """Reads JSON text as a value of this type. Raises ValueError if the text is not one."""
    # msgspec's own reader refuses NaN, which a loss becomes if it diverges.
    return msgspec.convert(parse_json(text), kind)


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _finite(part) for name, part in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(part) for part in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
