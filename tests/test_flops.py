"""The work of training, compared with counts by hand and with torch's own counter on transformers' network."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.workers.environments import CHECKOUT, find_python, worker_variables
from shared.checkpoint.config import read_architecture
from shared.flops import Work, floor_seconds, forward_flops, optimizer_bytes, training_flops, unread_flops
from shared.recipe import Recipe
from tests.checkpoints import BERT, DISTILBERT, TOY

COUNTER = """
import json, sys
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForSequenceClassification
torch.set_num_threads(1)
rows, width, labels = map(int, sys.argv[1:4])
for folder in sys.argv[4:]:
    config = AutoConfig.from_pretrained(folder, num_labels=labels, attn_implementation="eager")
    model = AutoModelForSequenceClassification.from_config(config).train()
    ids, classes = torch.ones(rows, width, dtype=torch.long), torch.zeros(rows, dtype=torch.long)
    with FlopCounterMode(display=False) as forward:
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=classes).loss
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    print("ANSWER", json.dumps([forward.get_total_flops(), backward.get_total_flops()]))
"""


def counted(folders: list[Path], rows: int, width: int, labels: int) -> list[tuple[int, int]]:
    """Operations that torch counts in a forward and in a backward pass of each model."""
    finished = subprocess.run(
        [find_python("torch", {}), "-c", COUNTER, *map(str, (rows, width, labels)), *folders],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env=worker_variables(),
    )
    assert finished.returncode == 0, finished.stderr
    answers = [line for line in finished.stdout.splitlines() if line.startswith("ANSWER ")]
    return [json.loads(line.removeprefix("ANSWER ")) for line in answers]


def test_operations_are_those_that_torch_counts(tmp_path: Path) -> None:
    """Torch counts them in transformers' networks of BERT and DistilBERT."""
    rows, width, labels = 3, 17, 5
    folders = [tmp_path / "bert", tmp_path / "distilbert"]
    for folder, config in zip(folders, (BERT | {"num_hidden_layers": 3}, DISTILBERT | {"n_layers": 3}), strict=True):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 128}))
    for folder, (forward, backward) in zip(folders, counted(folders, rows, width, labels), strict=True):
        architecture = read_architecture(folder, Recipe(), labels)
        assert forward_flops(architecture, np.full(rows, width)) == forward
        assert training_flops(architecture, np.full(rows, width)) == forward + backward


def test_a_forward_pass_has_the_operations_counted_by_hand() -> None:
    # Two tokens: query, key, value and output are 2x2 maps, 8 operations a token each; up and down are 2x3, 12 each.
    linear = 2 * (4 * 8 + 2 * 12)
    # Scores: 2x2 products of two pairs each. The weighted sum of values takes the same.
    attention = 2 * (2 * 2 * 2 * 2)
    # One token goes through the pooler, 2x2, and the classifier, 2x3.
    head = 8 + 12
    assert forward_flops(TOY, np.array([2])) == linear + attention + head
    assert training_flops(TOY, np.array([2])) == 3 * (linear + attention + head)


def test_logits_need_only_keys_and_values_of_the_last_layers_other_tokens() -> None:
    """TOY has one layer. Query and output are 2x2 maps, 8 operations each; up and down are 2x3, 12 each; a token's
    scores and its weighted sum take 4 operations for every token of the row."""
    lengths = np.array([1, 4])
    assert unread_flops(TOY, lengths) == 3 * (2 * 8 + 2 * 12 + 2 * 4 * 4)
    work = Work.of(TOY, lengths, [np.array([0, 1])], Recipe(max_len=8, padding="longest"))
    assert work.needed_flops == work.real_flops - 3 * unread_flops(TOY, lengths)


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
def test_padding_counts_in_all_operations_but_not_in_real_ones(padding: str, widths: list[int]) -> None:
    lengths = np.array([5, 2, 9, 6, 3])
    batches = [np.array([0, 1]), np.array([3, 4])]
    recipe = Recipe(max_len=8, batch_size=2, padding=padding)  # type: ignore[arg-type]
    work = Work.of(TOY, lengths, batches, recipe)
    assert (work.steps, work.rows, work.tokens, work.padded_tokens) == (2, 4, 16, sum(widths))
    assert work.real_flops == training_flops(TOY, np.array([5, 2, 6, 3]))
    assert work.all_flops == training_flops(TOY, np.array(widths))


def test_without_padding_attention_alone_is_as_wide_as_its_group() -> None:
    """TOY's one layer has width 2: a token pair costs 4 * 2 operations forwards."""
    lengths = np.array([50, 3, 4, 3, 49, 9])
    batches, real = [np.array([0, 1, 2, 3]), np.array([4, 5])], np.array([50, 3, 4, 3, 49, 9])
    recipe = Recipe(max_len=64, batch_size=4, padding="none")
    one, two = (Work.of(TOY, lengths, batches, recipe, 8, groups) for groups in (1, 2))
    assert one.padded_tokens == two.padded_tokens == one.tokens == 118
    assert one.real_flops == two.real_flops == training_flops(TOY, real)
    squares = int((real**2).sum())
    assert one.all_flops - one.real_flops == 3 * 8 * (6 * 56**2 - squares)
    assert two.all_flops - two.real_flops == 3 * 8 * (50**2 + 3 * 4**2 + 49**2 + 9**2 - squares)


def test_the_optimizer_moves_seven_numbers_a_parameter() -> None:
    """Clipping moves one more."""
    embeddings = (10 + 8 + 2) * 2 + 4
    layer = 4 * (4 + 2) + 4 + (6 + 3) + (6 + 2) + 4
    parameters = embeddings + layer + (4 + 2) + (6 + 3)
    assert optimizer_bytes(TOY, Recipe(clip=None)) == 7 * 4 * parameters
    assert optimizer_bytes(TOY, Recipe()) == 8 * 4 * parameters
    assert optimizer_bytes(TOY, Recipe(), bytes_each=8) == 8 * 8 * parameters


def test_rows_of_the_word_embedding_that_nothing_touches_need_not_move() -> None:
    """TOY has 10 of width 2. Adam with decay in the gradient moves all."""
    whole = optimizer_bytes(TOY, Recipe())
    assert whole - optimizer_bytes(TOY, Recipe(), touched=3) == 8 * 4 * 7 * 2
    assert optimizer_bytes(TOY, Recipe(), touched=10) == whole
    l2 = Recipe(optimizer="adam")
    assert optimizer_bytes(TOY, l2, touched=3) == whole
    assert optimizer_bytes(TOY, replace(l2, decay=0.0), touched=3) < whole


def test_the_floor_adds_arithmetic_and_the_optimizers_bytes() -> None:
    assert floor_seconds(6_000, 10, step_bytes=500, rate=1_000.0, bandwidth=100.0) == pytest.approx(6.0 + 50.0)
