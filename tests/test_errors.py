"""Bad input through the real command line: one line that names the thing and the remedy, exit code 2, nothing written.

tests/test_runner.py has workers that fail, which is not bad input.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backends import BACKENDS
from benchmarks.workers.environments import CHECKOUT
from shared.checkpoint.sources import resolve_model
from shared.records import FORMAT, record_path, write_record
from tests.factories import record

NO_HUB = "http://127.0.0.1:9"
"""Nobody answers at the discard port."""

Refused = Callable[..., str]


def run(here: Path, *arguments: str | Path, module: str, checkout: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    """Runs a command in this folder, without a hub."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        cwd=here,
        env=os.environ
        | {"PYTHONPATH": str(checkout), "HF_ENDPOINT": NO_HUB, "HF_HOME": str(here.parent / "hub"), "COLUMNS": "80"},
    )


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Runs a command with bad input and gives its one line, less the command's name."""

    def refuse(*arguments: str | Path, module: str = "benchmarks.run", checkout: Path = CHECKOUT) -> str:
        folder = tmp_path / "started here"
        folder.mkdir()
        done = run(folder, *arguments, module=module, checkout=checkout)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert list(folder.iterdir()) == []
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"{module}: error: ")
        return line.removeprefix(f"{module}: error: ")

    return refuse


TOY = ("--backend", "torch", "--model", "random:bert-tiny")
BUILT_IN = (*TOY, "--task", "acceptability")

SENTENCES = ["The kettle sings.", "The kettle sing.", "We met the baker.", "We met baker the."]
PAIRS = ["A goose crossed the road.\tThe road was crossed by a goose.", "A goose slept.\tNobody slept but a fox."]


@pytest.fixture
def cola(tmp_path: Path) -> Path:
    """A data folder with a CoLA of made-up sentences, in the original layout."""
    folder = tmp_path / "data" / "CoLA" / "cola_public" / "raw"
    folder.mkdir(parents=True)
    for name in ("in_domain_train", "in_domain_dev", "out_of_domain_dev"):
        lines = [f"toy\t{1 - i % 2}\t{'*' if i % 2 else ''}\t{text}\n" for i, text in enumerate(SENTENCES)]
        (folder / f"{name}.tsv").write_text("".join(lines))
    return tmp_path / "data"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder with a sound checkpoint, to be spoilt."""
    return Path(shutil.copytree(resolve_model("random:bert-tiny"), tmp_path / "checkpoint"))


# --- names and values


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("--backend", "jax", "--task", "acceptability"),
            f"unknown backend 'jax'; known: {', '.join(BACKENDS)}, all",
        ),
        (
            (*TOY, "--task", "squad"),
            "unknown task 'squad'; pass a file or folder of your own data, or one of cola, mrpc, sst-binary, sst2, "
            "qqp, mnli, qnli, rte, wnli, emotion, google-play, google-play-unique, acceptability, paraphrase",
        ),
        (
            ("--backend", "torch", "--task", "acceptability", "--model", "bert"),
            "unknown model 'bert'; pass a folder, a hub id (owner/name), minilm, or random:NAME with NAME one of "
            "bert-tiny, minilm, distilbert, bert-base, bert-large",
        ),
        (
            ("--backend", "torch", "--task", "acceptability", "--model", "random:bert-huge"),
            "unknown model 'random:bert-huge'; pass random:NAME with NAME one of bert-tiny, minilm, distilbert, "
            "bert-base, bert-large",
        ),
        (
            (*BUILT_IN, "--padding", "left"),
            "argument --padding: 'left' is not one of max_length, longest, bucket, none",
        ),
        ((*BUILT_IN, "--epochs", "0"), "epochs is 0; pass 1 to 1,000,000,000"),
        ((*BUILT_IN, "--batch-size", "16", "few"), "argument --batch-size: 'few' is not a whole number"),
        ((*BUILT_IN, "--dropout", "1.5"), "dropout is 1.5; pass a rate from 0 to below 1, or none"),
        (
            (*BUILT_IN, "--precision", "float8"),
            "argument --precision: 'float8' is not one of float32, bfloat16, float16, tf32",
        ),
        ((*BUILT_IN, "--compile", "maybe"), "argument --compile: 'maybe' is neither yes nor no"),
        (
            (*BUILT_IN, "--device", "cpu", "--precision", "bfloat16", "tf32"),
            "torch does not compute in tf32 on cpu; pass --precision float32, bfloat16, or leave torch out",
        ),
        (
            ("--backend", "all", "--task", "acceptability", "--device", "cpu", "--precision", "bfloat16"),
            "gluon does not compute in bfloat16 on cpu; pass --precision float32, or leave gluon out",
        ),
        (
            ("--backend", "gluon", "--task", "acceptability", "--padding", "longest", "none"),
            "gluon does not compute without padding; pass --padding longest or bucket, or leave gluon out",
        ),
        ((*BUILT_IN, "--limit", "0"), "--limit 0: pass 1 or more rows"),
        ((*BUILT_IN, "--device", "tpu"), "--device 'tpu' is none of auto, cpu, cuda and cuda:N"),
        ((*BUILT_IN, "--threads", "0"), "--threads 0: pass 1 to "),
        ((*BUILT_IN, "--train-split", "more"), "acceptability has no split 'more' for train; it has train, dev, test"),
        ((*BUILT_IN, "--held-out", "0.9999"), "a share of 0.9999 held out of "),
        (
            (*BUILT_IN, "--python", "torch"),
            f"--python torch: pass BACKEND=PATH with a backend of {', '.join(BACKENDS)}",
        ),
        ((*BUILT_IN, "--colour"), "unrecognized arguments: --colour"),
        (TOY, "the following arguments are required: --task"),
    ],
)
def test_an_unknown_name_or_value_is_named_with_what_is_known(
    refused: Refused, arguments: tuple[str, ...], line: str
) -> None:
    assert refused(*arguments).startswith(line)


def test_a_max_len_over_the_models_positions_is_refused(refused: Refused) -> None:
    line = refused(*BUILT_IN, "--max-len", "128", "513")
    assert line.startswith("max_len is 513, but the model in ")
    assert line.endswith(" has 512 positions; pass 512 or less")


def test_a_gpu_that_is_not_there_is_refused(refused: Refused) -> None:
    line = refused(*BUILT_IN, "--device", "cuda:99")
    assert line.startswith("--device cuda:99: the driver shows ")
    assert line.endswith(" NVIDIA GPUs here; pass --device cpu")


@pytest.mark.parametrize("option", ["--out", "--save"])
def test_a_folder_that_cannot_be_made_is_refused(refused: Refused, tmp_path: Path, option: str) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    line = refused(*BUILT_IN, option, file / "below")
    assert line == f"{option} {file / 'below'}: {file} is no folder that can be written to; pass another"
    assert file.read_text() == "kept"


# --- environments


def test_a_given_interpreter_that_is_missing_is_named(refused: Refused) -> None:
    line = refused(*BUILT_IN, "--python", "torch=/no/such/python")
    assert line == "--python torch=/no/such/python: there is no such interpreter"


def test_a_missing_environment_is_named_with_its_command(refused: Refused, tmp_path: Path) -> None:
    for part in ("backends", "benchmarks", "shared"):
        shutil.copytree(CHECKOUT / part, tmp_path / "fresh" / part)
    backend = next(name for name, b in BACKENDS.items() if not importlib.util.find_spec(b.modules[0]))
    line = refused(
        *("--backend", backend, "--task", "acceptability", "--model", "random:bert-tiny"), checkout=tmp_path / "fresh"
    )
    assert line == f"no environment for {backend}; make it with: tox run -e {backend}"


# --- data


def test_a_data_folder_without_files_is_told_which_are_wanted(refused: Refused, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    line = refused(*TOY, "--task", "cola", "--data-dir", empty)
    assert line.startswith(f"{empty} has no files of cola (looked for ")
    for name in ("in_domain_train.tsv", "in_domain_dev.tsv", "out_of_domain_dev.tsv", "train.tsv", "dev.tsv"):
        assert name in line
    assert line.endswith("; pass another --data-dir")


def test_a_missing_data_folder_is_named(refused: Refused, tmp_path: Path) -> None:
    line = refused(*TOY, "--task", "mrpc", "--data-dir", tmp_path / "nowhere")
    assert line == f"{tmp_path / 'nowhere'} is no folder; pass --data-dir the folder that holds mrpc's files"


def test_a_file_that_is_missing_beside_others_is_named(refused: Refused, cola: Path) -> None:
    raw = cola / "CoLA" / "cola_public" / "raw"
    (raw / "in_domain_dev.tsv").unlink()
    line = refused(*TOY, "--task", "cola", "--data-dir", cola)
    assert line == f"cola is incomplete: {raw} lacks in_domain_dev.tsv; add what is missing"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("toy\t1\tThree columns.", "3 columns where 4 are wanted"),
        ("toy\t1\t\tFive\tcolumns.", "5 columns where 4 are wanted"),
        ("", "1 columns where 4 are wanted"),
        ("toy\t2\t\tThe label is none.", "label '2' is not one of 0, 1"),
        ("toy\tyes\t\tThe label is none.", "label 'yes' is not one of 0, 1"),
        ("toy\t1\t\t ", "column 4 is empty"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(refused: Refused, cola: Path, row: str, complaint: str) -> None:
    file = cola / "CoLA" / "cola_public" / "raw" / "in_domain_train.tsv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], row, *lines[2:]]) + "\n")
    line = refused(*TOY, "--task", "cola", "--data-dir", cola)
    assert line == f"{file}, line 3: {complaint}; mend or remove the line"


def test_a_malformed_pair_is_named_by_file_and_line(refused: Refused, tmp_path: Path) -> None:
    folder = tmp_path / "MRPC"
    folder.mkdir()
    for name in ("msr_paraphrase_train.txt", "msr_paraphrase_test.txt"):
        rows = [f"{i % 2}\t{i}\t{i + 50}\t{pair}" for i, pair in enumerate(PAIRS)]
        (folder / name).write_text("\n".join(["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", *rows, ""]))
    (folder / "mrpc_dev_ids.tsv").write_text("0\t50\n")
    test = folder / "msr_paraphrase_test.txt"
    test.write_text(test.read_text() + "maybe\t7\t57\t" + PAIRS[0] + "\n")
    line = refused(*TOY, "--task", "mrpc", "--data-dir", tmp_path)
    assert line == f"{test}, line 4: label 'maybe' is not one of 0, 1; mend or remove the line"


def test_an_empty_split_is_named(refused: Refused, cola: Path) -> None:
    file = cola / "CoLA" / "cola_public" / "raw" / "out_of_domain_dev.tsv"
    file.write_text("")
    assert refused(*TOY, "--task", "cola", "--data-dir", cola) == f"{file} has no rows; restore the file"


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """A data folder with made-up reviews."""
    rows = [f'"{text}\nAnd again: {text}",{1 + i},toy' for i, text in enumerate(SENTENCES)]
    folder = tmp_path / "data" / "google-play"
    folder.mkdir(parents=True)
    (folder / "reviews.csv").write_text("\n".join(["content,score,appId", *rows, ""]))
    return tmp_path / "data"


def test_a_malformed_row_of_lines_is_named_by_its_first(refused: Refused, reviews: Path) -> None:
    """Rows above it have several lines too."""
    file = reviews / "google-play" / "reviews.csv"
    file.write_text(file.read_text() + '"No\nstars.",6,toy\n')
    line = refused(*TOY, "--task", "google-play", "--data-dir", reviews)
    assert line == f"{file}, line 10: label '6' is not one of 1, 2, 3, 4, 5; mend or remove the line"


def test_a_task_without_dev_is_refused_with_how_to_make_one(refused: Refused, reviews: Path) -> None:
    line = refused(*TOY, "--task", "google-play", "--data-dir", reviews)
    assert line == (
        "google-play has no split 'dev' for dev; it has train; pass --dev-split one of them, or --held-out a share of "
        "train"
    )


# --- checkpoints


def refused_checkpoint(refused: Refused, checkpoint: Path) -> str:
    return refused("--backend", "torch", "--task", "acceptability", "--model", checkpoint)


def test_missing_weights_are_named(refused: Refused, checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    line = refused_checkpoint(refused, checkpoint)
    assert line == f"{checkpoint} has no model.safetensors; add the checkpoint's weights"


@pytest.mark.parametrize("kept", [0, 5, 500, -1])
def test_truncated_weights_are_named(refused: Refused, checkpoint: Path, kept: int) -> None:
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    line = refused_checkpoint(refused, checkpoint)
    assert line.startswith(f"{file} ")
    assert "truncated" in line
    assert line.endswith("fetch it again")


def rewrite(checkpoint: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    change(tensors)
    save_file(tensors, checkpoint / "model.safetensors")


def test_a_missing_tensor_is_named(refused: Refused, checkpoint: Path) -> None:
    rewrite(checkpoint, lambda tensors: tensors.pop("bert.encoder.layer.1.output.dense.bias"))
    line = refused_checkpoint(refused, checkpoint)
    assert line == (
        f"{checkpoint} lacks the weights bert.encoder.layer.1.output.dense.bias; pass a checkpoint that has them"
    )


def test_an_unknown_tensor_is_named(refused: Refused, checkpoint: Path) -> None:
    rewrite(checkpoint, lambda tensors: tensors.update({"bert.encoder.adapter.weight": np.ones(3, np.float32)}))
    assert refused_checkpoint(refused, checkpoint).startswith(
        f"{checkpoint} has unknown weights: bert.encoder.adapter.weight;"
    )


def test_a_wrong_shape_is_named_beside_the_right_one(refused: Refused, checkpoint: Path) -> None:
    rewrite(checkpoint, lambda tensors: tensors.update({"bert.pooler.dense.weight": np.ones((128, 64), np.float32)}))
    line = refused_checkpoint(refused, checkpoint)
    assert "bert.pooler.dense.weight has shape [128, 64] where config.json says [128, 128]" in line


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("model_type", "roberta", 'model_type is \'roberta\'; this project supports "bert" and "distilbert"'),
        ("hidden_act", "silu", "hidden_act is 'silu'; this project supports gelu, gelu_python, gelu_new, "),
        ("position_embedding_type", "relative_key", "position_embedding_type is 'relative_key'; "),
    ],
)
def test_an_unsupported_architecture_is_refused_by_its_field(
    refused: Refused, checkpoint: Path, field: str, value: str, wanted: str
) -> None:
    file = checkpoint / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    assert refused_checkpoint(refused, checkpoint).startswith(f"{file}: {wanted}")


def test_a_checkpoint_without_token_types_is_refused_for_pairs(refused: Refused, checkpoint: Path) -> None:
    file = checkpoint / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"type_vocab_size": 1}))
    line = refused("--backend", "torch", "--task", "paraphrase", "--model", checkpoint)
    assert line == f"{checkpoint} has type_vocab_size 1, and paraphrase has pairs; pass another model or task"


def test_a_tokenizer_of_a_larger_vocabulary_is_refused(refused: Refused, checkpoint: Path) -> None:
    file = checkpoint / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"vocab_size": 100}))
    words = "bert.embeddings.word_embeddings.weight"
    rewrite(checkpoint, lambda tensors: tensors.update({words: tensors[words][:100].copy()}))
    line = refused_checkpoint(refused, checkpoint)
    assert re.fullmatch(
        f"{checkpoint}: its tokenizer gives token id \\d+, its config.json has vocab_size 100; "
        "pass a folder whose files belong together",
        line,
    )


def test_a_folder_that_is_no_checkpoint_is_refused(refused: Refused, tmp_path: Path) -> None:
    folder = tmp_path / "nothing"
    folder.mkdir()
    line = refused_checkpoint(refused, folder)
    assert line == f"{folder / 'config.json'} is missing; pass a folder in HuggingFace's layout"


def test_a_checkpoint_without_tokenizer_is_refused(refused: Refused, checkpoint: Path) -> None:
    (checkpoint / "vocab.txt").unlink()
    line = refused_checkpoint(refused, checkpoint)
    assert line == f"{checkpoint} has no tokenizer.json and no vocab.txt; add the checkpoint's tokenizer files"


def test_a_broken_tokenizer_is_named(refused: Refused, checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").write_text("{")
    assert str(checkpoint / "tokenizer.json") in refused_checkpoint(refused, checkpoint)


# --- no hub


def test_without_a_hub_its_models_are_refused_with_the_remedy(refused: Refused) -> None:
    line = refused("--backend", "torch", "--task", "acceptability")
    assert line.startswith("cannot fetch google-bert/bert-base-uncased from the hub (")
    assert line.endswith("; pass a checkpoint's folder with --model, or --model minilm")


def test_without_a_hub_its_tasks_are_refused_with_the_remedy(refused: Refused) -> None:
    line = refused(*TOY, "--task", "cola")
    assert line.startswith("cola cannot be taken from the hub's nyu-mll/glue (")
    assert line.endswith(
        "; pass --data-dir a folder that holds its files, or ask for a built-in task: acceptability, paraphrase"
    )


def test_a_task_that_is_not_on_the_hub_is_refused(refused: Refused) -> None:
    line = refused(*TOY, "--task", "google-play")
    assert line == "google-play is not on the hub; pass --data-dir a folder that holds google-play/reviews.csv"


# --- records


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The output of a run: one record."""
    write_record(tmp_path / "out", record(), {"dev": np.zeros((1, 2))})
    return tmp_path / "out"


@pytest.mark.parametrize("command", [["benchmarks.report"], ["benchmarks.run", *BUILT_IN, "--out"]])
def test_a_record_of_a_newer_format_is_refused_by_name(refused: Refused, out: Path, command: list[str]) -> None:
    newer = record_path(out, "0123456789abcdef")
    newer.write_text(json.dumps({"format": FORMAT + 1, "thing": "of tomorrow"}))
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    module, *arguments = command
    assert refused(*arguments, out, module=module) == (
        f"{newer} is a record of format {FORMAT + 1}, and this code reads formats up to {FORMAT}; update this project, "
        "or move the file away"
    )
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before


def test_a_report_names_a_bad_record_and_leaves_it_aside(out: Path, tmp_path: Path) -> None:
    bad = record_path(out, "0123456789abcdef")
    bad.write_text('{"format": 1, "half')
    done = run(tmp_path, out, module="benchmarks.report")
    assert done.returncode == 0
    assert done.stderr == f"{bad} is not a record of this project and is left aside; run its cell again\n"
    assert bad.read_text() == '{"format": 1, "half'
    assert len((out / "table.csv").read_text().splitlines()) == 2


def test_a_report_on_bad_records_alone_is_refused(tmp_path: Path) -> None:
    bad = record_path(tmp_path / "out", "0123456789abcdef")
    bad.parent.mkdir(parents=True)
    bad.write_text("[]")
    done = run(tmp_path, tmp_path / "out", module="benchmarks.report")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"{bad} is not a record of this project and is left aside; run its cell again",
        f"benchmarks.report: error: {tmp_path / 'out'}/records holds no records; pass the --out folder of a run",
    ]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["records"]


def test_a_report_on_a_folder_without_records_is_refused(refused: Refused, tmp_path: Path) -> None:
    line = refused(tmp_path / "nowhere", module="benchmarks.report")
    assert line == f"{tmp_path / 'nowhere'}/records holds no records; pass the --out folder of a run"
