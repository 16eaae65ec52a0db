"""Fine-tuning steps with transformers and torch.optim.AdamW, written as one would without a harness."""

# ruff: noqa: E402  the clock is read before anything is imported
from __future__ import annotations

import time

STARTED = time.perf_counter()

import json
import resource
import sys

import numpy as np
import torch
from transformers import BertForSequenceClassification

IMPORTED = time.perf_counter()


def main(checkpoint: str, batches_file: str, threads: str, answer_file: str) -> None:
    """Trains on every batch of the file, and writes times, peak memory and losses as JSON."""
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    with np.load(batches_file) as batches:
        steps = list(
            zip(*(torch.from_numpy(batches[k]) for k in ("input_ids", "attention_mask", "labels")), strict=True)
        )
    model = BertForSequenceClassification.from_pretrained(checkpoint, num_labels=2)
    model.train()
    exempt = [p for name, p in model.named_parameters() if "bias" in name or "LayerNorm" in name]
    decayed = [p for name, p in model.named_parameters() if not ("bias" in name or "LayerNorm" in name)]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": exempt, "weight_decay": 0.0}], lr=2e-5, fused=True
    )

    def train_step(input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = model(input_ids=input_ids, attention_mask=attention_mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    loaded = time.perf_counter()
    losses = [train_step(*steps[0])]
    first = time.perf_counter()
    losses += [train_step(*step) for step in steps[1:]]
    done = time.perf_counter()
    answer = {
        "import_seconds": IMPORTED - STARTED,
        "load_seconds": loaded - IMPORTED,
        "start_seconds": loaded - STARTED,
        "first_step_seconds": first - loaded,
        "other_steps_seconds": done - first,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "losses": [float(loss) for loss in losses],
    }
    with open(answer_file, "w") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
