"""The accounting of work: against counts by hand, and against torch's own counter on transformers' network."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.workers.environments import CHECKOUT, find_python, worker_variables
from shared.architecture import Architecture, Dropout
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import resolve_model
from shared.flops import Work, floor_seconds, forward_flops, optimizer_bytes, training_flops
from shared.recipe import Recipe

TOY = Architecture(
    model_type="bert",
    vocab_size=10,
    width=2,
    layers=1,
    heads=1,
    feed_forward=3,
    max_positions=8,
    type_vocab_size=2,
    activation="gelu",
    layer_norm_eps=1e-12,
    dropout=Dropout(),
    num_labels=3,
)

COUNTER = """
import json, sys
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForSequenceClassification
torch.set_num_threads(1)
folder, rows, width, labels = sys.argv[1], *map(int, sys.argv[2:])
config = AutoConfig.from_pretrained(folder, num_labels=labels, attn_implementation="eager")
model = AutoModelForSequenceClassification.from_config(config).train()
ids = torch.ones(rows, width, dtype=torch.long)
with FlopCounterMode(display=False) as forward:
    loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.zeros(rows, dtype=torch.long)).loss
with FlopCounterMode(display=False) as backward:
    loss.backward()
print("ANSWER", json.dumps([forward.get_total_flops(), backward.get_total_flops()]))
"""


def counted(model: str, rows: int, width: int, labels: int) -> tuple[int, int]:
    """What torch counts in a forward and a backward pass."""
    finished = subprocess.run(
        [find_python("torch", {}), "-c", COUNTER, resolve_model(model), *map(str, (rows, width, labels))],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env=worker_variables(),
    )
    assert finished.returncode == 0, finished.stderr
    line = next(line for line in finished.stdout.splitlines() if line.startswith("ANSWER "))
    forward, backward = json.loads(line.removeprefix("ANSWER "))
    return forward, backward


@pytest.mark.parametrize("model", ["random:bert-tiny", "random:distilbert"])
def test_operations_are_those_that_torch_counts_in_transformers_network(model: str) -> None:
    rows, width, labels = 3, 17, 5
    architecture = read_architecture(resolve_model(model), Recipe(), labels)
    lengths = np.full(rows, width)
    forward, backward = counted(model, rows, width, labels)
    assert forward_flops(architecture, lengths) == forward
    assert training_flops(architecture, lengths) == forward + backward


def test_a_forward_pass_has_the_operations_counted_by_hand() -> None:
    # Two tokens: query, key, value and output are 2x2 maps, 8 operations a token each; up and down are 2x3, 12 each.
    linear = 2 * (4 * 8 + 2 * 12)
    # Scores: 2x2 products of two pairs each; as many again to weigh the values.
    attention = 2 * (2 * 2 * 2 * 2)
    # One token goes through the pooler, 2x2, and the classifier, 2x3.
    head = 8 + 12
    assert forward_flops(TOY, np.array([2])) == linear + attention + head
    assert training_flops(TOY, np.array([2])) == 3 * (linear + attention + head)


def test_rows_add_up_each_with_its_own_square() -> None:
    one, four = (forward_flops(TOY, np.array([n])) for n in (1, 4))
    assert forward_flops(TOY, np.array([1, 4])) == one + four
    head = forward_flops(TOY, np.array([0]))
    assert (four - head) - 4 * (one - head) == 4 * 2 * (4**2 - 4), "beyond four times one token: attention's square"


def test_long_rows_do_not_overflow() -> None:
    large = replace(TOY, width=1024, feed_forward=4096, layers=24, heads=16)
    linear = 2 * 512 * (4 * 1024**2 + 2 * 1024 * 4096)
    row = 24 * (linear + 4 * 512**2 * 1024) + 2 * 1024 * (1024 + 3)
    assert forward_flops(large, np.full(100_000, 512, np.int32)) == 100_000 * row


@pytest.mark.parametrize(
    ("padding", "widths"), [("max_length", [8, 8, 8, 8]), ("longest", [5, 5, 6, 6]), ("bucket", [5, 5, 6, 6])]
)
def test_padding_is_in_all_operations_and_not_in_the_real_ones(padding: str, widths: list[int]) -> None:
    lengths = np.array([5, 2, 9, 6, 3])
    batches = [np.array([0, 1]), np.array([3, 4])]
    recipe = Recipe(max_len=8, batch_size=2, padding=padding)  # type: ignore[arg-type]
    work = Work.of(TOY, lengths, batches, recipe)
    assert (work.steps, work.rows, work.tokens, work.padded_tokens) == (2, 4, 16, sum(widths))
    assert work.real_flops == training_flops(TOY, np.array([5, 2, 6, 3]))
    assert work.all_flops == training_flops(TOY, np.array(widths))


def test_the_optimizer_moves_every_parameter_seven_times_and_clipping_once_more() -> None:
    embeddings = (10 + 8 + 2) * 2 + 4
    layer = 4 * (4 + 2) + 4 + (6 + 3) + (6 + 2) + 4
    parameters = embeddings + layer + (4 + 2) + (6 + 3)
    assert optimizer_bytes(TOY, Recipe(clip=None)) == 7 * 4 * parameters
    assert optimizer_bytes(TOY, Recipe()) == 8 * 4 * parameters
    assert optimizer_bytes(TOY, Recipe(), bytes_each=8) == 8 * 8 * parameters


def test_the_floor_is_arithmetic_on_real_tokens_and_the_optimizers_bytes() -> None:
    work = Work(steps=10, rows=40, tokens=1, padded_tokens=100, real_flops=6_000, all_flops=60_000)
    assert floor_seconds(work, step_bytes=500, rate=1_000.0, bandwidth=100.0) == pytest.approx(6.0 + 50.0)
