"""Fine-tunes the reference with known mistakes of ports, through the loop of shared.finetune."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backends.torch.adapter import TorchModel
from backends.torch.classifier import Classifier
from backends.torch.network_changes import NotHereError
from backends.torch.optimizer import Optimizer
from backends.torch.replaying import Replaying, Rules, keep_words, squares_apart
from backends.torch.rounding import FLOAT32
from backends.torch.updates import Updates
from shared.answer import Event, Fit
from shared.batching import Batch, make_batch, total_steps
from shared.checkpoint.config import read_architecture
from shared.checkpoint.weights import first_weights
from shared.contract import Lazy
from shared.encoding import Encoded, read_encoded
from shared.errors import InputError
from shared.files import read_json, write_json
from shared.finetune import finetune
from shared.pack import OF_RECIPE, Arrays, PackRun, PackStep, Settings
from shared.recipe import Recipe, learning_rate_at
from shared.recording import GIVEN
from shared.reference import Adopted, Train
from shared.rules.gradients import Kept
from shared.rules.parameters import change_weights

DROPOUT = ("dropout-on", "dropout-off", "dropout-rate", "dropout-before-norm")
"""Mistakes of dropout, which are made everywhere but the last, which is of the embeddings."""


def train(question: Train, on_event: Callable[[Event], None]) -> Fit:
    """Fine-tunes with the question's mistakes, which evaluation has too. Raises InputError if the network cannot make
    them, and as `read_architecture` and `finetune` do."""
    checkpoint, recipe = Path(question.checkpoint), question.recipe
    architecture = read_architecture(checkpoint, recipe, len(question.labels))
    weights = first_weights(checkpoint, architecture, recipe)
    data = read_encoded(Path(question.data))
    classifier = _classifier(checkpoint, question.labels)
    classifier.load(change_weights(weights, (one.term.id for one in question.adopted)))
    first = make_batch(data["train"], np.arange(min(len(data["train"]), recipe.batch_size)), recipe)
    classifier.find_places(_arrays(first))
    torch.manual_seed(recipe.seed)
    replaying = Replaying(None, Path(), classifier)  # type: ignore[arg-type]  # of what it is given, the network alone
    try:
        with replaying.mistaken(question.adopted) as rules, _dropout(classifier, question.adopted):
            model = _model(question, classifier, rules, data["train"])
            return finetune(
                model, {name: data[name] for name in ("train", "dev")}, recipe, question.metrics, on_event
            ).fit
    except NotHereError:
        names = ", ".join(one.term.id for one in question.adopted)
        raise InputError(
            f"{checkpoint.name} lacks what {names} changes; pass another checkpoint with --model"
        ) from None


def _classifier(checkpoint: Path, labels: tuple[str, ...]) -> Classifier:
    with tempfile.TemporaryDirectory() as folder:
        config = read_json(checkpoint / "config.json")
        config |= {"id2label": {str(n): name for n, name in enumerate(labels)}}
        config |= {"label2id": {name: n for n, name in enumerate(labels)}}
        write_json(Path(folder) / "config.json", config)
        return Classifier.build(Path(folder), FLOAT32)


def _arrays(batch: Batch) -> Arrays:
    """A batch as a pack has it."""
    return {GIVEN[name]: array.astype(np.int64) for name, array in batch.asked.items()}


def _model(question: Train, classifier: Classifier, rules: Rules, rows: Encoded) -> Mistaken:
    recipe, parameters = question.recipe, classifier.parameters
    updates = None
    if question.by_rules:
        run = run_of(recipe, total_steps(recipe, len(rows)), list(parameters), len(question.labels))
        updates = Updates.of(run, tuple(one.term for one in question.adopted))
    return Mistaken(
        network=classifier.model,
        parameters=dict(parameters),
        optimizer=Optimizer(dict(parameters), recipe, torch.amp.GradScaler("cpu", enabled=False)),
        clip=recipe.clip,
        device=torch.device("cpu"),
        classifier=classifier,
        rules=rules,
        updates=updates,
        mistakes=frozenset(one.term.id for one in question.adopted),
    )


def run_of(recipe: Recipe, steps: int, parameters: list[str], labels: int) -> PackRun:
    """The recipe's steps in the terms of a pack, which the rules read."""
    settings = Settings(
        schedule=recipe.schedule,
        warm_up_steps=int(recipe.warm_up * steps),
        total_steps=steps,
        decayed=[name for name in parameters if recipe.decays(name)],
        dropout=0.0,
        num_labels=labels,
        **{name: getattr(recipe, name) for name in OF_RECIPE},
    )
    every = [PackStep(str(n + 1), "", learning_rate_at(recipe, n, steps)) for n in range(steps)]
    return PackRun(name="train", about="", trains=True, weights="", settings=settings, steps=every)


def _dropout(classifier: Classifier, adopted: list[Adopted]) -> ExitStack:
    """Makes the mistakes of dropout that lie in modules."""
    undo = ExitStack()
    for one in adopted:
        if one.term.id == "dropout-rate":
            for module in classifier.model.modules():
                if isinstance(module, torch.nn.Dropout):
                    undo.callback(setattr, module, "p", module.p)
                    module.p = one.term.number
        if one.term.id == "dropout-before-norm":
            _before_norm(classifier)
    return undo


def _before_norm(classifier: Classifier) -> None:
    """Puts dropout of the embeddings before their LayerNorm. Raises NotHereError."""
    found = (
        m for name, m in classifier.model.named_modules() if name.endswith("embeddings") and hasattr(m, "LayerNorm")
    )
    embeddings = next(found, None)
    if embeddings is None:
        raise NotHereError
    embeddings.LayerNorm = torch.nn.Sequential(embeddings.dropout, embeddings.LayerNorm)
    embeddings.dropout = torch.nn.Identity()


@dataclass
class Mistaken(TorchModel):
    """transformers' classifier, whose network may be mistaken, with mistaken rules of loss and update."""

    classifier: Classifier = field(kw_only=True)
    rules: Rules = field(kw_only=True)
    updates: Updates | None = field(kw_only=True)
    """None to let torch clip and step."""
    mistakes: frozenset[str] = field(kw_only=True)
    before: Kept = field(default_factory=lambda: Kept({}, {}))
    """Gradients of the step before."""

    def train_step(self, batch: Batch, learning_rate: float) -> Lazy:
        """See `shared.contract.Model`. The loss is the mistaken one."""
        kept: dict[str, torch.Tensor] = {}
        with ExitStack() as hooks:
            if self.updates is not None and self.updates.apart:
                keep_words(self.classifier, kept, hooks)
            logits = self._forward(batch, dropout=True).logits
            given = logits.detach().double().numpy(), batch.labels
            loss = self.rules.loss(*given)[0]
            logits.backward(torch.from_numpy(self.rules.slope(*given)[1]).to(logits.dtype))
        correct = int((given[0].argmax(-1) == batch.labels).sum())
        if self.updates is not None:
            self._update(self.updates, squares_apart(self.classifier, kept["words"], _arrays(batch)) if kept else {})
        else:
            if self.clip is not None:
                self.optimizer.clip(self.clip)
            self.optimizer.step(learning_rate)
        return lambda: (loss, correct)

    def _update(self, updates: Updates, apart: Arrays) -> None:
        """Takes a step by the rules."""
        apart = {name.removeprefix("apart/"): array for name, array in apart.items()}
        gradients = self.rules.gradients(self.classifier.gradients(), self.before)
        _, clipped = updates.clip(gradients, apart)
        self.before = Kept(gradients, clipped)
        weights = {name: parameter.detach().numpy() for name, parameter in self.parameters.items()}
        self.set_weights(updates.step(weights, clipped, apart))
        self.network.zero_grad(set_to_none=True)

    def _forward(self, batch: Batch, dropout: bool, states: bool = False) -> Any:
        if "dropout-off" in self.mistakes:
            dropout = False
        if "dropout-on" in self.mistakes:
            dropout = True
        if self.network.training != dropout:
            self.network.train(dropout)
        self.classifier.batch = _arrays(batch)
        inputs = {name: torch.from_numpy(array) for name, array in self.classifier.batch.items() if name != "labels"}
        if "bert.embeddings.token_type_embeddings.weight" not in self.parameters:
            del inputs["token_type_ids"]
        return self.network(**inputs, output_hidden_states=states)
