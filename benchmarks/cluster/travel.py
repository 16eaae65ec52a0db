"""Folders on their way to the nodes: through Ray's object store, or by a folder that every node sees."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

from benchmarks.cluster.node import Folder
from shared.cache import cache_dir
from shared.checkpoint.built_tokenizer import built_for
from shared.checkpoint.weights import weight_files
from shared.files import hash_file, whole_folder
from shared.limits import SMALL_FILE
from shared.partial import whole_files

LOOKS = 10
"""Times that a folder of results is listed at most."""


@dataclass
class Travel:
    """Sends each folder once, whatever number of cells needs it."""

    ray: ModuleType
    shared: Path | None
    sent: dict[Path, Folder] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def data(self, folder: Path) -> Folder:
        """Sends encoded rows, or any other folder, whole."""
        return self._send(folder, all_files)

    def results(self, folder: Path) -> Folder:
        """Sends the files of a folder that other processes may write to. They are listed again if one is gone before it
        is read."""
        for _ in range(LOOKS - 1):
            with suppress(FileNotFoundError):
                return self._send(folder, whole_files)
        return self._send(folder, whole_files)

    def file(self, file: Path) -> Folder:
        """Sends a file, in a folder of its own."""
        return self._send(file, lambda file: [file])

    def checkpoint(self, folder: Path) -> Folder:
        """Sends a checkpoint: its weights in safetensors, its small files, and the tokenizer that was built of it, if
        there is one. Weights in other formats stay."""
        sent, built = self._send(folder, checkpoint_files), built_for(folder)
        if built is None:
            return sent
        return replace(sent, beside=(built.relative_to(cache_dir()).as_posix(), self._send(built, all_files)))

    def _send(self, path: Path, files: Callable[[Path], Iterable[Path]]) -> Folder:
        with self.lock:
            if path not in self.sent:
                self.sent[path] = self._sent(path if path.is_dir() else path.parent, sorted(files(path)))
            return self.sent[path]

    def _sent(self, folder: Path, files: list[Path]) -> Folder:
        hashes = {file: hash_file(file) for file in files}
        digest = hashlib.sha256()
        for file, found in hashes.items():
            digest.update(f"{file.relative_to(folder).as_posix()} {found}\n".encode())
        name = digest.hexdigest()[:24]
        if self.shared is None:
            parts = {file.relative_to(folder).as_posix(): self.ray.put(file.read_bytes()) for file in files}
            return Folder(name, parts)
        target = self.shared / "folders" / name
        if not target.is_dir():
            with whole_folder(target) as partial:
                for file in files:
                    (partial / file.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, partial / file.relative_to(folder))
        return Folder(name, {}, str(target))


def all_files(folder: Path) -> Iterable[Path]:
    """Every file of a folder."""
    return (path for path in folder.rglob("*") if path.is_file())


def checkpoint_files(folder: Path) -> Iterable[Path]:
    """A checkpoint's weights in safetensors, and its small files. Raises InputError."""
    small = (path for path in folder.iterdir() if path.is_file() and path.stat().st_size <= SMALL_FILE)
    return {*weight_files(folder), *small}
