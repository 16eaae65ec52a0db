"""The kinds of files that are read: how a sound one is made, and what reads it as a command does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from msgspec.structs import replace

from benchmarks.cells.failures import Failure, failure_path, read_failure
from benchmarks.port.csv_files import half_digits, read_table
from benchmarks.port.map_file import _content as read_map_file
from benchmarks.port.recording import _load as read_part
from benchmarks.predict.texts import rows_of
from benchmarks.reporting.record_tables import write_tables
from benchmarks.workers.launcher import _follow as follow
from benchmarks.workers.launcher import read_answer, read_reason
from shared import presets
from shared.answer import EpochEnded, Loaded, Stepped, Trained
from shared.checkpoint.config import read_architecture
from shared.checkpoint.read_flax import read as read_flax
from shared.checkpoint.saved import read_saved
from shared.checkpoint.start import choose_start
from shared.checkpoint.tokenizer import read_tokenizer, tokens_version
from shared.checkpoint.weights import check_finite, check_weights
from shared.encoding import encode, read_encoded, token_lengths, write_encoded
from shared.files import to_json
from shared.metrics import details
from shared.pack import Pack
from shared.recipe import Recipe
from shared.records import read_records, record_path, write_record
from shared.tasks import Rows, get_task
from tests.checkpoints import BERT, FIXTURES, PIECES, shard, write_checkpoint, write_classifier
from tests.factories import answer, record
from tests.packs import write_pack

LABELS = ("no", "yes")


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    file: Path
    """A sound one, which is spoilt in its place."""
    read: Callable[[], object]
    """Reads it."""


def kinds(folder: Path) -> dict[str, Kind]:
    """Every kind, made in an empty folder."""
    makers = (_records, _of_a_worker, _caches, _tomls, _tables, _checkpoints, _of_ports)
    return {name: kind for make in makers for name, kind in make(_made(folder / make.__name__))}


Named = Iterator[tuple[str, Kind]]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _records(folder: Path) -> Named:
    labels = np.array([0, 1, 1, 0])
    scored = answer(details={"dev": details(labels, labels, LABELS, 2)}, predictions={"dev": [0, 1, 0, 0]})
    kept = replace(record(), answer=scored)
    write_record(folder, replace(record(backend="gluon"), answer=scored), {})

    def read() -> None:
        write_tables(folder, read_records(folder))

    file = record_path(folder, kept.id)
    write_record(folder, kept, {"dev": np.zeros((4, 2), np.float32)})
    file.write_text(to_json(kept))  # without digests, as older ones are
    yield "record", Kind(file, read)
    failed = failure_path(folder, kept.id)
    failed.parent.mkdir()
    failed.write_text(
        to_json(Failure(id=kept.id, asked=kept.asked, title="a cell", reason="no memory", tail=["a"], ended="2026"))
    )
    yield "failure", Kind(failed, lambda: read_failure(folder, kept.id))


def _of_a_worker(folder: Path) -> Named:
    trained = folder / "answer.json"
    trained.write_text(to_json(answer()))
    yield "answer", Kind(trained, lambda: read_answer(trained, Trained))
    events = folder / "events.jsonl"
    told = [Loaded(1.0, 2.0), Stepped(1, 1, 2, 0.5), EpochEnded(1, 1, answer().epochs[0])]
    events.write_text("".join(f"{to_json(event)}\n" for event in told))
    yield "events", Kind(events, lambda: next(follow(events)))
    reason = folder / "error.txt"
    reason.write_text("max_len is 3; pass 4 or more")
    yield "reason of a worker", Kind(reason, lambda: read_reason(reason))


def _caches(folder: Path) -> Named:
    checkpoint = write_checkpoint(folder / "checkpoint", BERT)
    made = encode({"train": Rows(["a b", "b a a"], None, [0, 1])}, checkpoint, 8, 0)
    for name in ("train/ids.npy", "digest.json"):
        yield f"cache {Path(name).name}", Kind(made / name, lambda: read_encoded(made))


def _tomls(folder: Path) -> Named:
    shutil.copytree(presets.FOLDER, folder / "recipes")
    presets.FOLDER = folder / "recipes"
    preset = "gplay-sentiment"
    yield "recipe toml", Kind(presets.FOLDER / f"{preset}.toml", lambda: presets.get_preset(preset))
    (folder / "rows.csv").write_text("text,label\na,0\nb,1\nc,1\nd,0\n")
    task = folder / "task.toml"
    task.write_text('name = "toy"\ntrain = "rows.csv"\ntext = "text"\nlabels = ["0", "1"]\ndev_share = 0.5\n')
    yield "task toml", Kind(task, partial(_train, task))


def _tables(folder: Path) -> Named:
    import pyarrow as pa
    from pyarrow import parquet

    texts, labels = ["a, b", 'say "c"', "é 中", "d", "e\u2028f"], [0, 1, 1, 0, 1]
    rows = [{"text": text, "label": label, "id": n} for n, (text, label) in enumerate(zip(texts, labels, strict=True))]
    quoted = [f'"{text.replace(chr(34), chr(34) * 2)}",{label}\n' for text, label in zip(texts, labels, strict=True)]
    contents = {
        "csv": "text,label\n" + "".join(quoted),
        "tsv": "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in zip(texts, labels, strict=True)),
        "jsonl": "".join(f"{json.dumps(row)}\n" for row in rows),
        "json": json.dumps(rows),
    }
    for ending, content in contents.items():
        (folder / f"rows.{ending}").write_text(content)
    parquet.write_table(pa.table({"text": texts, "label": labels}), folder / "rows.parquet")
    for ending in (*contents, "parquet"):
        file = folder / f"rows.{ending}"
        yield f"rows {ending}", Kind(file, partial(_train, file))
    raw = _made(folder / "CoLA" / "cola_public" / "raw")
    for name in ("in_domain_train", "in_domain_dev", "out_of_domain_dev"):
        (raw / f"{name}.tsv").write_text("".join(f"toy\t{n % 2}\t\tA sentence {n}.\n" for n in range(4)))
    yield "cola", Kind(raw / "in_domain_train.tsv", lambda: get_task("cola").load(folder))
    lines = folder / "texts.txt"
    lines.write_text("a b\tc\nd\te\n")
    yield "texts to predict", Kind(lines, lambda: rows_of(lines.read_bytes(), lines))


def _train(file: Path) -> object:
    return get_task(str(file)).load(None)["train"].hash


def _checkpoints(folder: Path) -> Named:
    classifier = write_classifier(folder / "classifier")

    def network() -> object:
        found = read_architecture(classifier, Recipe(max_len=8), 2)
        return choose_start(classifier, found, LABELS, "auto"), read_saved(classifier)

    def weights(of: Path) -> Callable[[], object]:
        sound = read_architecture(of, Recipe(max_len=8), 2)

        def read() -> object:
            check_weights(of, sound)
            check_finite(of, sound)
            return choose_start(of, sound, LABELS, "auto")

        return read

    yield "config.json", Kind(classifier / "config.json", network)
    yield "safetensors", Kind(classifier / "model.safetensors", weights(classifier))
    shards = shard(write_checkpoint(folder / "shards", BERT))
    yield "index of shards", Kind(shards / "model.safetensors.index.json", weights(shards))
    flax = next(FIXTURES.rglob("flax_model.msgpack"))
    copied = Path(shutil.copy(flax, folder / flax.name))
    yield "flax msgpack", Kind(copied, lambda: dict(read_flax([copied])))
    words = _tokenizers(folder / "words", whole=False)
    for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        yield name, Kind(words / name, lambda: _encoded(words))
    whole = _tokenizers(folder / "whole", whole=True)
    yield "tokenizer.json", Kind(whole / "tokenizer.json", lambda: _encoded(whole))
    bare = _tokenizers(folder / "bare", whole=True)
    (bare / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    yield "tokenizer.json as it is", Kind(bare / "tokenizer.json", lambda: _encoded(bare))


def _tokenizers(folder: Path, whole: bool) -> Path:
    """A folder with every file of a tokenizer."""
    write_checkpoint(folder, BERT)
    settings: dict[str, Any] = {"do_lower_case": True, "model_max_length": 9, "unk_token": "[UNK]"}
    if whole:
        (folder / "tokenizer.json").write_text(read_tokenizer(folder).to_str())
        (folder / "vocab.txt").unlink()
    else:
        special = {"cls_token": "[CLS]", "sep_token": {"content": "[SEP]", "lstrip": False, "rstrip": False}}
        (folder / "special_tokens_map.json").write_text(json.dumps(special))
        (folder / "added_tokens.json").write_text(json.dumps({"<x>": len(PIECES)}))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def _encoded(folder: Path) -> object:
    rows = Rows(["a b <x>", "é"], ["b a", "c"], [0, 1])
    with TemporaryDirectory() as target:
        write_encoded({"train": rows}, folder, 8, 0, Path(target))
    return token_lengths(rows, folder), tokens_version(folder, pairs=True)


def _of_ports(folder: Path) -> Named:
    pack = write_pack(folder / "pack")
    for name in ("pack.json", "wanted.json"):
        yield name, Kind(pack / name, lambda: Pack.read(pack))
    loss, part = _made(folder / "recording" / "train" / "1") / "loss.npz", folder / "recording" / "train" / "1" / "loss"
    np.savez(loss, value=np.array(0.5))
    yield "recording npz", Kind(loss, lambda: read_part(loss, part))
    maps = folder / "map.toml"
    rule = "pack = '(.*)'\nfrom = '\\1'\nsplit = [\"width\", 3]\ntake = [1, 0]\ntranspose = [1, 0]\n"
    maps.write_text(f"[[rules]]\n{rule}")
    yield "map toml", Kind(maps, lambda: read_map_file(maps))
    for name, column in (("losses", "loss"), ("scores", "accuracy")):
        table = folder / f"{name}.csv"
        table.write_text(f"seed,{column}\n" + "".join(f"{n},0.{n}5\n" for n in range(1, 5)))
        yield f"{name}.csv", Kind(table, partial(_numbers, table, column))


def _numbers(file: Path, column: str) -> object:
    table = read_table(file, ("seed", column))
    return table.numbers(column), half_digits(table.column(column)), table.counts("seed")
