"""transformers' Trainer in place of the adapter's training step, clipping and optimizer."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from typing import Any

import torch
from transformers.trainer import Trainer
from transformers.training_args import TrainingArguments

from backends.parts import check_mode
from backends.torch import adapter
from shared.batching import Batch
from shared.contract import Build, Gradients, Lazy, Model
from shared.recipe import Recipe


def load(build: Build, parts: Collection[str]) -> Model:
    """See `shared.contract.LoadParts`."""
    check_mode(build)
    model = adapter.load(build)
    return TrainerModel(model, build.recipe) if "trainer" in parts else model


class TrainerModel(adapter.TorchModel):
    """The adapter's network under a Trainer. This project's loop gives it each batch and each rate."""

    def __init__(self, model: adapter.TorchModel, recipe: Recipe) -> None:
        super().__init__(model.network, model.parameters, model.optimizer, model.clip, model.device)
        arguments = TrainingArguments(
            output_dir=tempfile.gettempdir(),  # required, and not written to
            use_cpu=model.device.type == "cpu",
            weight_decay=recipe.decay,
            adam_beta1=recipe.beta1,
            adam_beta2=recipe.beta2,
            adam_epsilon=recipe.eps,
            max_grad_norm=recipe.clip or 0.0,
            report_to=[],
        )
        embeddings = self.network.base_model.embeddings
        for name, buffer in list(embeddings.named_buffers()):
            if buffer.is_meta:  # the adapter does not use these, but Trainer would move them
                embeddings.register_buffer(name, torch.zeros(buffer.shape, dtype=buffer.dtype), persistent=False)
        self.trainer: Any = Trainer(self.network, arguments)
        self.trainer.create_optimizer()
        self.trainer.current_gradient_accumulation_steps = 1  # Trainer.train would set it

    def train_step(self, batch: Batch, learning_rate: float) -> Lazy:
        outputs: list[Any] = []
        hook = self.network.register_forward_hook(lambda _, __, output: outputs.append(output))
        with hook:
            loss = self.trainer.training_step(self.network, self._inputs(batch))
        if self.clip is not None:
            self._clip_gradients(self.clip)
        for group in self.trainer.optimizer.param_groups:
            group["lr"] = learning_rate
        self.trainer.optimizer.step()
        self.network.zero_grad()
        correct = (outputs[0].logits.detach().argmax(-1) == self._move(batch.labels)).sum()
        return lambda: (float(loss), int(correct))

    def gradients(self, batch: Batch) -> Gradients:
        self.network.eval()
        loss = self.trainer.compute_loss(self.network, self._inputs(batch))
        loss.backward()
        raw = self._gradients()
        norm = self._clip_gradients(float("inf") if self.clip is None else self.clip)
        clipped = self._gradients()
        self.network.zero_grad()
        return Gradients(float(loss.detach()), raw, float(norm), clipped)

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "labels": batch.labels}
        if "bert.embeddings.token_type_embeddings.weight" in self.parameters:
            inputs["token_type_ids"] = batch.token_type_ids
        return {name: self._move(array) for name, array in inputs.items()}

    def _clip_gradients(self, clip: float) -> Any:
        return self.trainer.accelerator.clip_grad_norm_(self.network.parameters(), clip)
