"""A training that was killed goes on from its checkpoint on each backend, and ends as one that was not."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from safetensors.numpy import save_file

from backends import BACKENDS
from backends.worker import run_job
from shared.answer import Fit, Trained
from shared.architecture import Dropout
from shared.batching import Batch
from shared.contract import Build, Lazy, Load
from shared.encoding import Encoded, trained_ids, write_rows
from shared.files import from_json
from shared.finetune import finetune
from shared.job import ANSWER, ARRAYS, CHECKPOINT, EVENTS, EmbeddingUpdate, Job, Precision
from shared.recipe import Recipe
from shared.resuming import Checkpoints
from tests.backends.cases import architecture, perturbed_weights
from tests.backends.conftest import ROOT, THREADS

BACKEND = os.environ.get("CONCORD_TEST_BACKEND", "")
WIDTH = 16
NETWORK = architecture("bert", layers=1, dropout=Dropout(), max_positions=WIDTH)
RECIPE = Recipe(
    max_len=WIDTH,
    batch_size=8,
    epochs=3,
    learning_rate=1e-3,
    padding="bucket",
    last_batch="rollover",
    keep="best",
    eps=1e-3,  # with its place, torch's step depends on the number of steps too
    eps_place="before",
)
STEPS = 10
METRICS = ("accuracy", "mcc")
Padding = Literal["bucket", "none"]


class KilledError(BaseException):
    """Ends a training as abruptly as a process can without ending itself."""


def split(rows: int, seed: int) -> Encoded:
    """Rows of mixed lengths and random labels."""
    random = np.random.RandomState(seed)
    offsets = np.concatenate([[0], np.cumsum(random.randint(3, WIDTH + 1, rows))]).astype(np.int64)
    ids = random.randint(1, NETWORK.vocab_size, offsets[-1]).astype(np.int32)
    labels = random.randint(0, NETWORK.num_labels, rows)
    return Encoded(ids, np.zeros(len(ids), np.uint8), offsets, labels, NETWORK.pad_id)


DATA = {"train": split(27, 0), "dev": split(9, 1), "test": split(11, 2)}


def train(
    load: Load,
    checkpoints: Checkpoints | None,
    precision: Precision = "float32",
    update: EmbeddingUpdate = "dense",
    padding: Padding = "bucket",
    kill: int | None = None,
) -> tuple[int, Any]:
    """Number of interruptions, and the outcome bit by bit. The training is killed in its step of this number."""
    touched = trained_ids(DATA, NETWORK.vocab_size) if update == "rows" else None
    recipe = replace(RECIPE, padding=padding)
    build = Build(NETWORK, perturbed_weights(NETWORK), recipe, "cpu", THREADS, precision, touched=touched)
    model: Any = load(build)
    step, numbers = model.train_step, itertools.count(1)

    def dying(batch: Batch, rate: float) -> Lazy:
        if next(numbers) == kill:
            raise KilledError
        result: Lazy = step(batch, rate)
        return result

    model.train_step = dying
    run = finetune(model, DATA, recipe, METRICS, lambda event: None, checkpoints=checkpoints)
    arrays = {**run.logits, **model.weights()}
    return run.fit.interruptions, (unmeasured(run.fit), {name: array.tobytes() for name, array in arrays.items()})


def unmeasured(fit: Fit) -> dict[str, Any]:
    """Results of the training, without times and memory."""
    epochs = [(e.steps, e.rows, e.tokens, e.padded_tokens, e.train_loss, e.train_accuracy, e.dev) for e in fit.epochs]
    names = ("received", "step_loss", "step_accuracy", "kept_epoch", "test", "total_steps", "diverged")
    return {"epochs": epochs} | {name: getattr(fit, name) for name in names}


WAYS = [
    ("float32", "dense", "bucket"),
    ("float32", "rows", "bucket"),
    *([("bfloat16", "dense", "bucket")] if BACKEND == "torch" else []),
    *([("float32", "dense", "none")] if BACKEND in BACKENDS and BACKENDS[BACKEND].packs else []),
]


@pytest.mark.parametrize(("precision", "update", "padding"), WAYS)
def test_a_killed_training_ends_as_one_that_was_not(
    load: Load, tmp_path: Path, precision: Precision, update: EmbeddingUpdate, padding: Padding
) -> None:
    """Checkpoints alone change it only if the framework hides dropout's stream."""
    whole = train(load, Checkpoints(tmp_path / "whole", b"job", 4), precision, update, padding)
    killed = Checkpoints(tmp_path / "killed", b"job", 4)
    with pytest.raises(KilledError):
        train(load, killed, precision, update, padding, kill=7)
    interruptions, found = train(load, killed, precision, update, padding)
    assert (interruptions, whole[0]) == (1, 0)
    assert found == whole[1]
    assert (train(load, None, precision, update, padding) == whole) == (not BACKENDS[BACKEND].reseeded)


PROGRAM = """
import os, signal, sys
import backends.worker as worker

loader, taken = worker._loader, []

def dying(job):
    def load(build):
        model = loader(job)(build)
        step = model.train_step
        def train_step(batch, rate):
            taken.append(rate)
            if len(taken) == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(batch, rate)
        model.train_step = train_step
        return model
    return load

worker._loader = dying
worker.main()
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job whose process killed itself in its sixth step, of the second epoch."""
    base = tmp_path_factory.mktemp("jobs")
    write_rows(base / "data", DATA)
    (base / "model").mkdir()
    weights = {name: array for name, array in perturbed_weights(NETWORK).items() if name.startswith("bert.")}
    save_file(weights, base / "model" / "model.safetensors")
    (base / "model" / "config.json").write_text(json.dumps(CONFIG))
    (base / "killed").mkdir()
    job = Job(
        kind="train",
        backend=BACKEND,
        task="toy",
        labels=("0", "1", "2"),
        metrics=METRICS,
        data=str(base / "data"),
        checkpoint=str(base / "model"),
        recipe=RECIPE,
        device="cpu",
        threads=THREADS,
        checkpoint_every="epoch",
    )
    job.write(base / "killed")
    command = [sys.executable, "-c", PROGRAM, str(base / "killed")]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE)
    assert process.wait() == -signal.SIGKILL
    return base / "killed"


CONFIG = {
    "model_type": "bert",
    "vocab_size": NETWORK.vocab_size,
    "hidden_size": NETWORK.width,
    "num_hidden_layers": NETWORK.layers,
    "num_attention_heads": NETWORK.heads,
    "intermediate_size": NETWORK.feed_forward,
    "max_position_embeddings": NETWORK.max_positions,
    "type_vocab_size": NETWORK.type_vocab_size,
    "hidden_act": NETWORK.activation,
    "layer_norm_eps": NETWORK.layer_norm_eps,
    "pad_token_id": NETWORK.pad_id,
}


def test_a_process_that_is_killed_leaves_a_checkpoint_to_go_on_from(load: Load, killed: Path) -> None:
    """If it is damaged, the training starts from its beginning, and ends alike."""
    damaged = Path(shutil.copytree(killed, killed.with_name("damaged")))
    (file,) = (damaged / CHECKPOINT).glob("*.npz")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    answers, told = [], []
    for folder in (killed, damaged):
        run_job(folder)
        answers.append(from_json((folder / ANSWER).read_bytes(), Trained))
        told.append((folder / EVENTS).read_text())
    assert [answer.interruptions for answer in answers] == [1, 0]
    assert "goes on after step 3 of 10" in told[0]
    assert f"{file} is damaged, or of another training, and is not used" in told[1]
    assert unmeasured(answers[0]) == unmeasured(answers[1])
    with np.load(killed / ARRAYS) as one, np.load(damaged / ARRAYS) as other:
        assert {name: array.tobytes() for name, array in one.items()} == {n: a.tobytes() for n, a in other.items()}
