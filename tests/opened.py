"""Saved folders, opened by transformers itself in torch's environment."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks.workers.environments import find_python

TRANSFORMERS = """
import json, sys
import numpy as np, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
torch.set_num_threads(1)
columns = json.loads(sys.stdin.read())
for folder in sys.argv[1:]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, loading = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(loading[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys")), loading
    batch = tokenizer(*columns, truncation=True, padding="max_length", return_tensors="pt")
    with torch.no_grad():
        logits = model.eval()(**batch).logits
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    print("ANSWER", json.dumps([logits.tolist(), names, list(batch["input_ids"].shape)]))
"""


class Opened(NamedTuple):
    """A folder's answer to some texts, or to pairs if there are two columns of them."""

    logits: list[list[float]]
    """[texts, labels]."""
    labels: list[str]
    shape: list[int]
    """[texts, tokens], of the input."""


def opened(folders: Iterable[Path], *columns: list[str]) -> list[Opened]:
    """Opens each folder and asks it about the texts. Raises AssertionError if transformers finds a weight missing."""
    finished = subprocess.run(
        [find_python("torch", {}), "-c", TRANSFORMERS, *folders],
        input=json.dumps(columns),
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    lines = [line for line in finished.stdout.splitlines() if line.startswith("ANSWER ")]
    return [Opened(*json.loads(line.removeprefix("ANSWER "))) for line in lines]
