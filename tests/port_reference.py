"""Makes a small pack, and what transformers and torch.optim.AdamW compute of it in float64:

    python -m tests.port_reference OUT

writes OUT/pack and OUT/truth, a recording under HuggingFace's names, and runs in torch's environment. It shares no code
with the command that packs, and none with the ports.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

Arrays = dict[str, Any]
LAYERS, HEADS, WIDTH, FEED_FORWARD, WORDS, POSITIONS, LABELS, PAD = 2, 4, 64, 160, 1000, 32, 3, 0
RATE = 0.1
"""Dropout's, in the run that has it."""
TRAIN = {"optimizer": "adamw", "learning_rate": 1e-4, "beta1": 0.9, "beta2": 0.999, "eps": 1e-6, "decay": 0.01}
STEEP = {**TRAIN, "learning_rate": 1e-3, "decay": 0.1}
"""Epsilon is large enough for the keys' biases, whose gradients are rounding alone, to stay in their places."""
SHARED = {"eps_place": "after", "bias_correction": True, "loss": "mean cross-entropy", "total_steps": 4}
NETWORK = {
    "layers": LAYERS,
    "heads": HEADS,
    "width": WIDTH,
    "feed_forward": FEED_FORWARD,
    "activation": "gelu",
    "layer_norm_eps": 1e-12,
    "vocab_size": WORDS,
    "max_positions": POSITIONS,
    "type_vocab_size": 2,
    "num_labels": LABELS,
    "pad_id": PAD,
}


def network(dtype: torch.dtype) -> Any:
    """transformers' model, without dropout."""
    config = BertConfig(
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=FEED_FORWARD,
        hidden_act="gelu",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=1e-12,
        vocab_size=WORDS,
        max_position_embeddings=POSITIONS,
        type_vocab_size=2,
        num_labels=LABELS,
        pad_token_id=PAD,
    )
    return BertForSequenceClassification(config).to(dtype)


def first_weights() -> Arrays:
    """Every parameter as transformers starts it, moved by 0.2 of a normal number, float32."""
    torch.manual_seed(1)
    random = np.random.RandomState(2)
    return {
        name: (p.detach().numpy() + 0.2 * random.standard_normal(p.shape)).astype(np.float32)
        for name, p in network(torch.float32).named_parameters()
    }


def batch(rows: int, width: int, seed: int) -> Arrays:
    """Rows of mixed lengths, the first of full length with the pad token among its words, in two segments."""
    random = np.random.RandomState(seed)
    lengths = random.randint(4, width + 1, (rows, 1))
    lengths[0] = width
    places = np.arange(width)
    mask = places < lengths
    ids = np.where(mask, random.randint(1, WORDS, (rows, width)), PAD)
    ids[:, 1] = ids[0, 1]  # a word that all rows repeat
    ids[0, 3] = PAD
    return {
        "input_ids": ids,
        "token_type_ids": ((places >= lengths // 2) & mask).astype(np.int64),
        "attention_mask": mask.astype(np.int64),
        "labels": random.randint(0, LABELS, rows),
    }


BATCHES = {
    "eval-1": batch(8, 24, 10),
    "dropout-1": batch(64, 24, 11),
    **{f"train-{n}": batch(8, 24 if n % 2 else 17, n) for n in range(1, 5)},
    **{f"dev-{n}": batch(8, 24, 20 + n) for n in (1, 2)},
}


def runs(clip: float) -> list[dict[str, Any]]:
    """The runs of pack.json."""
    trained = [f"train-{n}" for n in range(1, 5)]

    def run(
        name: str,
        batches: list[str],
        rates: list[float],
        weights: str = "weights.npz",
        recipe: Any = TRAIN,
        **also: Any,
    ) -> dict[str, Any]:
        decayed = [n for n in first_weights() if not n.endswith("bias") and "LayerNorm" not in n]
        steps = [
            {"name": str(n), "batch": f"batches/{b}.npz", "learning_rate": rate}
            for n, (b, rate) in enumerate(zip(batches, rates, strict=True), 1)
        ]
        settings = {**NETWORK, **SHARED, **recipe, "decayed": decayed, "clip": clip, "dropout": 0.0, **also}
        settings |= {"warm_up_steps": 1, "schedule": "linear"}
        trains = name in ("train", "steep")
        return {"name": name, "trains": trains, "weights": weights, "settings": settings, "steps": steps}

    return [
        run("eval", ["eval-1"], [0.0]),
        run("dropout", ["dropout-1"], [0.0], dropout=RATE),
        run("train", trained, [5e-5, 1e-4, 6e-5, 3e-5]),
        run("dev", ["dev-1", "dev-2"], [0.0, 0.0], weights="train"),
        run("steep", trained, [1e-3, 5e-4, 2e-3, 8e-4], recipe=STEEP),
    ]


def computed(run: dict[str, Any], model: Any) -> Iterator[tuple[str, str, Arrays]]:
    """Yields the step, the part and the part's arrays of all that a run computes. Leaves the model as trained."""
    s, parameters = run["settings"], dict(model.named_parameters())
    groups = [{"params": [p], "weight_decay": s["decay"] * (n in s["decayed"])} for n, p in parameters.items()]
    optimizer = torch.optim.AdamW(groups, betas=(s["beta1"], s["beta2"]), eps=s["eps"])
    yield "0", "parameters", _arrays(parameters)
    for step in run["steps"]:
        given = {n: torch.tensor(a) for n, a in BATCHES[Path(step["batch"]).stem].items()}
        optimizer.zero_grad()
        output = model(**given, output_hidden_states=True)
        pooled = torch.tanh(model.bert.pooler.dense(output.hidden_states[-1][:, 0]))
        first, *layers = output.hidden_states
        states = {"embeddings": first, **{f"layers/{n}": state for n, state in enumerate(layers)}, "pooled": pooled}
        yield step["name"], "received", _arrays(given)
        yield step["name"], "hidden", _arrays(states)
        yield step["name"], "logits", _arrays({"value": output.logits})
        yield step["name"], "loss", _arrays({"value": output.loss})
        if run["trains"]:
            output.loss.backward()
            yield step["name"], "gradients", _arrays({n: p.grad for n, p in parameters.items()})
            norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), s["clip"])
            yield step["name"], "norm", _arrays({"value": norm})
            yield step["name"], "clipped", _arrays({n: p.grad for n, p in parameters.items()})
            for group in optimizer.param_groups:
                group["lr"] = step["learning_rate"]
            optimizer.step()
            yield step["name"], "parameters", _arrays(parameters)


def _arrays(tensors: dict[str, torch.Tensor]) -> Arrays:
    return {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}


def write_npz(file: Path, arrays: Arrays) -> None:
    """Writes the arrays, and the folders above."""
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **arrays)


def main(folder: Path) -> None:
    """Writes the pack and the truth."""
    torch.set_num_threads(1)
    weights = first_weights()
    left: dict[str, Any] = {}
    for name, arrays in BATCHES.items():
        write_npz(folder / "pack" / "batches" / f"{name}.npz", arrays)
    write_npz(folder / "pack" / "weights.npz", weights)
    model = network(torch.float64)
    model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    first = next(arrays for _, part, arrays in computed(runs(1.0)[2], model) if part == "norm")
    asked = runs(float(f"{first['value'] / 10:.2g}"))
    wanted: dict[str, Any] = {}
    for run in asked:
        if run["weights"] in left:
            model.load_state_dict(left[run["weights"]])
        else:
            model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
        parts: dict[str, Any] = wanted.setdefault(run["name"], {})
        for step, part, arrays in computed(run, model):
            write_npz(folder / "truth" / run["name"] / step / f"{part}.npz", arrays)
            parts.setdefault(step, {})[part] = {name: list(array.shape) for name, array in arrays.items()}
        left[run["name"]] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pack = {"format": 1, "id": "0123456789abcdef", "about": "", "model_type": "bert", "runs": asked}
    (folder / "pack" / "pack.json").write_text(json.dumps(pack))
    (folder / "pack" / "wanted.json").write_text(json.dumps({"format": 1, "parts": {}, "runs": wanted}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
