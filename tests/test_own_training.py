"""A short training on own data and on MNLI's layout, from end to end: the backends agree, and the labels' names reach
the saved model."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.workers.environments import CHECKOUT
from shared.records import Record, read_records
from tests.data import write

WORDS = ("entailment", "neutral", "contradiction")
HEADER = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse\t"
    "sentence1\tsentence2"
)
LOSS_BOUND = 2e-5
"""The bound of tests/test_runner.py at the same settings, over more steps."""
SETTINGS = (
    *("--model", "random:bert-tiny", "--max-len", "16", "--batch-size", "4", "--epochs", "2", "--dropout", "0"),
    *("--learning-rate", "3e-3", "--threads", "1", "--device", "cpu"),
)


def rows(count: int, seed: int) -> list[tuple[str, str, str]]:
    random = np.random.default_rng(seed)
    first = [f"A {animal} ate {number} things." for animal, number in zip(
        random.choice(["goose", "fox", "cow"], count), random.integers(1, 9, count), strict=True
    )]  # fmt: skip
    second = random.choice(["It was hungry.", "It slept.", "Nobody ate, or so they say."], count)
    labels = [WORDS[n % 3] for n in range(count)]
    return list(zip(first, second.tolist(), labels, strict=True))


def mnli(split: list[tuple[str, str, str]], names: str, many: int) -> str:
    lines = (f"{n}\t1\t1e\tx\t(\t(\t(\t(\t{a}\t{b}" + f"\t{label}" * many for n, (a, b, label) in enumerate(split))
    return "\n".join([f"{HEADER}\t{names}", *lines])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[tuple[str, str], Record], Path]:
    """Records by task and backend, and the folder of saved models."""
    folder = tmp_path_factory.mktemp("trained")
    train, dev = rows(30, 1), rows(20, 2)
    several = "\t".join(f"label{n}" for n in range(1, 6))
    files = {
        "train.tsv": mnli(train, "label1\tgold_label", 2),
        "dev_matched.tsv": mnli(dev, f"{several}\tgold_label", 6),
    }
    write(folder / "GLUE" / "MNLI", files)
    own = write(folder / "own", {"task.toml": f'train = "a.csv"\ndev = "b.jsonl"\nlabels = {list(WORDS)}\n'})
    with (own / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("premise", "hypothesis", "label"), *train])
    keys = ("premise", "hypothesis", "label")
    lines = (json.dumps(dict(zip(keys, row, strict=True))) for row in dev)
    (own / "b.jsonl").write_text("".join(f"{line}\n" for line in lines))
    for backends, task in ((("torch", "gluon", "keras"), "mnli"), (("torch",), str(own))):
        command = [sys.executable, "-m", "benchmarks.run", "--backend", *backends, "--task", task, *SETTINGS]
        command += ["--data-dir", str(folder / "GLUE"), "--out", str(folder / "out"), "--save", str(folder / "saved")]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=CHECKOUT, env=os.environ | {"PYTHONPATH": str(CHECKOUT)}
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "own: train 30, dev 20 rows; texts in 'premise' and 'hypothesis', labels in 'label'" in done.stdout
    assert "train's labels: entailment 33.3%, neutral 33.3%, contradiction 33.3%" in done.stdout
    records = read_records(folder / "out")
    return {(record.asked.task, record.asked.backend): record for record in records}, folder / "saved"


def test_backends_agree_on_mnlis_layout(trained: tuple[dict[tuple[str, str], Record], Path]) -> None:
    records, _ = trained
    reference = records["mnli", "torch"].answer
    assert reference.kept is not None
    for backend in ("gluon", "keras"):
        answer = records["mnli", backend].answer
        assert answer.kept is not None
        assert answer.received == reference.received
        np.testing.assert_allclose(answer.step_loss, reference.step_loss, rtol=0, atol=LOSS_BOUND)
        assert answer.predictions == reference.predictions
        assert answer.kept.dev == pytest.approx(reference.kept.dev, abs=LOSS_BOUND)


def test_own_data_of_the_same_rows_trains_the_same(trained: tuple[dict[tuple[str, str], Record], Path]) -> None:
    records, saved = trained
    own, glue = records["own", "torch"], records["mnli", "torch"]
    assert own.asked.data == glue.asked.data
    assert own.asked.labels == list(WORDS)
    assert glue.asked.labels == []
    assert own.answer.step_loss == glue.answer.step_loss
    assert own.answer.predictions == glue.answer.predictions
    config = json.loads((saved / own.id / "config.json").read_text())
    assert config["id2label"] == {str(n): word for n, word in enumerate(WORDS)}
