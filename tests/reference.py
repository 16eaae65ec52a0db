"""Computes the cases of tests/backends with transformers and torch themselves, without this project's adapters:

    python -m tests.reference OUT

writes an .npz for each case into the folder OUT, and runs in torch's environment. Arrays are named `PART` or
`PART/PARAMETER`. Parts of a trajectory begin with its precision, its mistake, or `formula`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    TextClassificationPipeline,
)

from shared.architecture import Architecture, Weights
from shared.batching import Batch
from shared.recipe import Recipe
from tests import checkpoint_kinds
from tests.backends import dropout
from tests.backends.cases import FIELDS, MISTAKES, STEEP, STEEP_RATE, STEPS, TRAINED, Case
from tests.backends.formula import Formula

Arrays = dict[str, Any]
"""numpy arrays by name."""


def main(folder: Path) -> None:
    """Writes the arrays of every case."""
    torch.set_num_threads(1)
    for name, case in TRAINED.items():
        np.savez(folder / f"{name}.npz", **_trained(case))
    for name, (case, ignoring) in FIELDS.items():
        arrays: Arrays = {"logits": _logits(case)}
        if ignoring is not None:
            arrays["ignoring"] = _logits(ignoring)
        np.savez(folder / f"{name}.npz", **arrays)
    for kind, places in dropout.PLACES.items():
        dropped: Arrays = {place: _dropped(kind, place) for place in places}
        np.savez(folder / f"{kind}, dropout.npz", **dropped)
    for name, unusual in checkpoint_kinds.KINDS.items():
        np.savez(folder / f"{name}.npz", **_opened(unusual.write(folder / name, for_transformers=True), unusual.batch))


def _opened(folder: Path, batch: Batch) -> Arrays:
    """The logits of a folder that transformers opens, and the scores that its pipeline makes of them."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tensors = {"input_ids": torch.tensor(batch.input_ids), "attention_mask": torch.tensor(batch.attention_mask)}
    if model.config.model_type == "bert":
        tensors["token_type_ids"] = torch.tensor(batch.token_type_ids)
    with torch.no_grad():
        logits = model(**{name: tensor.long() for name, tensor in tensors.items()}).logits
    pipeline: Any = SimpleNamespace(model=model)
    scores = [
        TextClassificationPipeline.postprocess(pipeline, {"logits": logits[row : row + 1]}, top_k=None)
        for row in range(len(logits))
    ]
    names = [one["label"] for one in scores[0]]
    return {"logits": logits.numpy(), "names": names, "scores": [[one["score"] for one in row] for row in scores]}


def network(a: Architecture, weights: Weights, dtype: torch.dtype, attention: str = "sdpa") -> Any:
    """Makes transformers' model, in evaluation mode and without dropout."""
    common = {
        "vocab_size": a.vocab_size,
        "max_position_embeddings": a.max_positions,
        "pad_token_id": a.pad_id,
        "num_labels": a.num_labels,
        "attn_implementation": attention,
    }
    if a.model_type == "bert":
        model = BertForSequenceClassification(
            BertConfig(
                hidden_size=a.width,
                num_hidden_layers=a.layers,
                num_attention_heads=a.heads,
                intermediate_size=a.feed_forward,
                hidden_act=a.activation,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                type_vocab_size=a.type_vocab_size,
                layer_norm_eps=a.layer_norm_eps,
                **common,
            )
        )
    else:
        model = DistilBertForSequenceClassification(
            DistilBertConfig(
                dim=a.width,
                n_layers=a.layers,
                n_heads=a.heads,
                hidden_dim=a.feed_forward,
                activation=a.activation,
                dropout=0.0,
                attention_dropout=0.0,
                seq_classif_dropout=0.0,
                **common,
            )
        )
        if a.layer_norm_eps != 1e-12:  # transformers has no other; a mistaken backend might.
            for module in model.modules():
                if isinstance(module, torch.nn.LayerNorm):
                    module.eps = a.layer_norm_eps
    model.load_state_dict({name: torch.tensor(values) for name, values in weights.items()})
    return model.to(dtype).eval()


def inputs(a: Architecture, batch: Batch) -> dict[str, torch.Tensor]:
    """The arguments of transformers' model for a batch."""
    tensors = {
        "input_ids": torch.tensor(batch.input_ids, dtype=torch.long),
        "attention_mask": torch.tensor(batch.attention_mask, dtype=torch.long),
    }
    if a.model_type == "bert":
        tensors["token_type_ids"] = torch.tensor(batch.token_type_ids, dtype=torch.long)
    return tensors


def _logits(case: Case) -> np.ndarray:
    model = network(case.architecture, case.weights, torch.float64)
    with torch.no_grad():
        logits: np.ndarray = model(**inputs(case.architecture, case.batches[-1])).logits.numpy()
    return logits


def _trained(case: Case) -> Arrays:
    arrays = _evaluated(case)
    clip = float(arrays["norm"]) / 10
    arrays["clip"] = np.float64(clip)
    trajectories = {
        "float64": _trajectory(case, torch.float64, clip),
        "float32": _trajectory(case, torch.float32, clip),
        "clipped per tensor": _trajectory(case, torch.float64, clip, per_tensor=True),
    }
    recipe = replace(STEEP, clip=clip)
    for how, changes in {"formula": {}, **MISTAKES}.items():
        trajectories[how] = _by_formula(case, replace(recipe, **changes))
    return arrays | {f"{how}/{part}": array for how, parts in trajectories.items() for part, array in parts.items()}


def _evaluated(case: Case) -> Arrays:
    """Computes states, logits, loss and gradients of the first batch, in float64."""
    model = network(case.architecture, case.weights, torch.float64)
    batch = case.batches[0]
    output = model(**inputs(case.architecture, batch), labels=torch.tensor(batch.labels), output_hidden_states=True)
    output.loss.backward()
    first = output.hidden_states[-1][:, 0]
    if case.architecture.model_type == "bert":
        pooled = torch.tanh(model.bert.pooler.dense(first))
    else:
        pooled = torch.relu(model.pre_classifier(first))
    parameters = dict(model.named_parameters())
    gradients = {name: p.grad.numpy() for name, p in parameters.items()}
    arrays = {
        "logits": output.logits.detach().numpy(),
        "loss": output.loss.detach().numpy(),
        "pooled": pooled.detach().numpy(),
        "norm": np.sqrt(np.sum([(g**2).sum() for g in gradients.values()])),
    }
    arrays |= {f"hidden/{n}": state.detach().numpy() for n, state in enumerate(output.hidden_states)}
    return arrays | {f"gradient/{name}": g for name, g in gradients.items()}


def _trajectory(case: Case, dtype: torch.dtype, clip: float, per_tensor: bool = False) -> Arrays:
    """Trains by torch's own AdamW at the settings of STEEP. Returns the loss of each batch before its step, the loss of
    the last batch after all steps, and the weights after the first and the last step."""
    model = network(case.architecture, case.weights, dtype).train()
    parameters = dict(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for name, p in parameters.items() if not _exempt(name)], "weight_decay": STEEP.decay},
            {"params": [p for name, p in parameters.items() if _exempt(name)], "weight_decay": 0.0},
        ],
        lr=STEEP_RATE,
        betas=(0.9, 0.999),
        eps=STEEP.eps,
        foreach=False,
        fused=False,
    )

    def step() -> None:
        for bounded in [[p] for p in parameters.values()] if per_tensor else [list(parameters.values())]:
            torch.nn.utils.clip_grad_norm_(bounded, clip)
        optimizer.step()

    return _stepped(model, case, step)


def _exempt(name: str) -> bool:
    return name.endswith("bias") or "LayerNorm" in name or "layer_norm" in name


def _by_formula(case: Case, recipe: Recipe) -> Arrays:
    """Trains in float64 by the published formula of the recipe's optimizer. Returns the same as `_trajectory`."""
    model = network(case.architecture, case.weights, torch.float64).train()
    parameters = dict(model.named_parameters())
    formula = Formula(recipe)

    def step() -> None:
        weights = {name: p.detach().numpy() for name, p in parameters.items()}
        after = formula.step(weights, {name: p.grad.numpy() for name, p in parameters.items()}, STEEP_RATE)
        with torch.no_grad():
            for name, p in parameters.items():
                p.copy_(torch.from_numpy(after[name]))

    return _stepped(model, case, step)


def _stepped(model: Any, case: Case, step: Callable[[], None]) -> Arrays:
    """Takes a step on each batch but the last. `step` updates the weights by their gradients."""
    arrays: Arrays = {}
    losses = []
    for number, batch in enumerate(case.batches):
        loss = model(**inputs(case.architecture, batch), labels=torch.tensor(batch.labels)).loss
        losses.append(loss.item())
        if number == STEPS:
            break
        model.zero_grad()
        loss.backward()
        step()
        if number + 1 in (1, STEPS):
            for name, p in model.named_parameters():
                arrays[f"weights after {number + 1}/{name}"] = p.detach().numpy().copy()
    return arrays | {"losses": np.array(losses)}


def _dropped(kind: Any, place: dropout.Place) -> np.ndarray:
    """The output of transformers' own dropout at this place, at rate 0.5 in training mode."""
    torch.manual_seed(0)
    a = dropout.network(kind)
    # Only eager attention returns its probabilities, after their dropout.
    model = network(a, dropout.revealing_weights(kind, place), torch.float32, "eager").train()
    layer = (model.bert.encoder if kind == "bert" else model.distilbert.transformer).layer[0]
    module = {
        "embeddings": lambda: model.base_model.embeddings.dropout,
        "attention": lambda: layer.attention.self.dropout if kind == "bert" else layer.attention.dropout,
        "attention_output": lambda: layer.attention.output.dropout,
        "feed_forward_output": lambda: layer.output.dropout if kind == "bert" else layer.ffn.dropout,
        "classifier": lambda: model.dropout,
    }[place]()
    module.p = 0.5
    caught: list[torch.Tensor] = []
    module.register_forward_hook(lambda _module, _inputs, output: caught.append(output))
    with torch.no_grad():
        output = model(**inputs(a, dropout.batch()), output_attentions=True)
    tensor: np.ndarray = (output.attentions[0] if place == "attention" else caught[0]).numpy()
    return tensor[..., dropout.CARRIED] if place in ("attention_output", "feed_forward_output") else tensor


if __name__ == "__main__":
    main(Path(sys.argv[1]))
