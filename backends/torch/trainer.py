"""`transformers.Trainer` as its users run it: rows are padded to max_len beforehand, or by DataCollatorWithPadding to
the longest row of each batch. Batches come in the job's order: buckets are what `group_by_length` makes."""

# ruff: noqa: E402  the clock is read before anything slow is imported
from __future__ import annotations

import time

STARTED = time.perf_counter()

import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding
from transformers.data.data_collator import default_data_collator
from transformers.trainer import Trainer
from transformers.trainer_callback import TrainerCallback
from transformers.training_args import TrainingArguments

from backends.devices import peak_resident_memory
from backends.trainer_clock import Passes, answer_job
from shared.answer import TrainerAnswer
from shared.encoding import Encoded, read_encoded
from shared.job import Job


class Clock(TrainerCallback):
    """Reports what the trainer does to `passes`."""

    def __init__(self, passes: Passes) -> None:
        self.passes = passes

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.passes.begin_pass()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.passes.begin_step()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.passes.end_step()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self.passes.end_pass()


def features(data: Encoded, width: int | None) -> list[dict[str, Any]]:
    """Makes a tokenizer's output for each row, and the row's label, with padding up to `width` tokens (None for no
    padding)."""
    rows = []
    for start, end, label in zip(data.offsets, data.offsets[1:], data.labels, strict=False):
        padding = [0] * ((width or 0) - int(end - start))
        rows.append(
            {
                "input_ids": data.ids[start:end].tolist() + [data.pad_id] * len(padding),
                "token_type_ids": data.types[start:end].tolist() + padding,
                "attention_mask": [1] * int(end - start) + padding,
                "labels": int(label),
            }
        )
    return rows


def train(job: Job) -> TrainerAnswer:
    """Trains as the job asks, and returns times, memory and all arguments of Trainer."""
    recipe = job.recipe
    torch.set_num_threads(job.threads)
    model = AutoModelForSequenceClassification.from_pretrained(job.checkpoint, num_labels=len(job.labels))
    rows = features(read_encoded(Path(job.data))["train"], recipe.max_len if recipe.padding == "max_length" else None)
    if model.config.model_type == "distilbert":  # its tokenizer makes no token types
        for row in rows:
            del row["token_type_ids"]
    collate: Any = default_data_collator
    if recipe.padding != "max_length":
        collate = DataCollatorWithPadding(AutoTokenizer.from_pretrained(job.checkpoint))
    on_gpu = job.device != "cpu"
    passes = Passes(STARTED, torch.cuda.synchronize if on_gpu else lambda: None)

    def counted(batch: list[dict[str, Any]]) -> Any:
        collated = collate(batch)
        passes.batch(*collated["input_ids"].shape)
        return collated

    arguments: dict[str, Any] = {
        "per_device_train_batch_size": recipe.batch_size,
        "num_train_epochs": recipe.epochs,
        "learning_rate": recipe.learning_rate,
        "weight_decay": recipe.decay,
        "seed": recipe.seed,
        "train_sampling_strategy": "sequential",
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": not on_gpu,
        "bf16": job.precision == "bfloat16",
        "optim": "adamw_torch_fused",
        "torch_compile": job.compile,
    }
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model,
            TrainingArguments(output_dir=scratch, **arguments),
            data_collator=counted,
            train_dataset=rows,
            callbacks=[Clock(passes)],
        )
        trainer.train()
    peak = int(torch.cuda.max_memory_allocated()) if on_gpu else peak_resident_memory()
    return passes.answer(
        peak, arguments | {"data_collator": type(collate).__name__ if recipe.padding != "max_length" else "default"}
    )


if __name__ == "__main__":
    answer_job(train)
