"""Mistakes planted in the ports as changes of their text, and the id that each should be told as.

They are written in each framework by themselves, not made from the table of known mistakes.
"""

from __future__ import annotations

from shared.hypotheses import HYPOTHESIS
from tests.ports import Mistake
from tests.told_arithmetic import BY_ROW
from tests.told_jax import JAX
from tests.told_keras import KERAS

DENSE = 'return F.linear(x, p[name + ".weight"], p[name + ".bias"])'
MASK = 'mask = (1.0 - batch["attention_mask"][:, None, None]) * torch.finfo(torch.float32).min'
SCORES = "(q @ k.mT / q.shape[3] ** 0.5 + mask)"
SPLIT, MERGE = "part.unflatten(2, (s.heads, -1)).transpose(1, 2)", "(attention @ v).transpose(1, 2).flatten(2)"
NORM = 'return F.layer_norm(x, [s.width], p[name + ".weight"], p[name + ".bias"], s.layer_norm_eps)'
FIRST = 'x = norm(at + "attention.output.LayerNorm", x + F.dropout(mixed, s.dropout))'
SECOND = 'norm(at + "output.LayerNorm", x + narrow)'
POOLED = 'torch.tanh(dense("pooler.dense", x[:, 0]))'
LOSS = 'F.cross_entropy(logits, batch["labels"])'
CLIP = "norm = torch.nn.utils.clip_grad_norm_(p.values(), s.clip)"
ADAMW = "optimizer = torch.optim.AdamW(groups, betas=(s.beta1, s.beta2), eps=s.eps)"
GROUPS = 'groups = [{"params": [w], "weight_decay": s.decay * (name in decayed)} for name, w in p.items()]'
RATE = 'group["lr"] = step.learning_rate'
WORDS = "words, padding_idx=s.pad_id)\n"
PLACES, TYPES = "places[: x.shape[1]]", 'types[batch["token_type_ids"]]'


def _transposed(layer: str) -> dict[str, str]:
    return {
        DENSE: f'w = p[name + ".weight"]\n        w = w.T if name.endswith("{layer}") else w\n'
        '        return F.linear(x, w, p[name + ".bias"])'
    }


def _gradient(change: str) -> dict[str, str]:
    return {"            loss.backward()\n": f"            loss.backward()\n            {change}\n"}


def _clipped(*lines: str) -> dict[str, str]:
    return {CLIP: "\n            ".join(lines)}


def _normed(norm: str) -> dict[str, str]:
    return _clipped(norm, "for w in p.values():", "    w.grad *= min(1.0, s.clip / (norm + 1e-6))")


def _stepped(*lines: str) -> dict[str, str]:
    """AdamW written out, with these lines as its step."""
    body = "\n                    ".join(lines)
    return {
        "pack, record = Pack(), Recorder()": f"""\
class Written(torch.optim.Optimizer):
    def __init__(self, groups, s):
        super().__init__(groups, {{"lr": 0.0, "weight_decay": 0.0}})
        self.s, self.t, self.first_rate = s, 0, None

    def step(self):
        s, self.t = self.s, self.t + 1
        t = self.t
        for group in self.param_groups:
            for w in (w for w in group["params"] if w.grad is not None):
                rate, decay, state, g = group["lr"], group["weight_decay"], self.state[w], w.grad
                if not state:
                    state.update(m=torch.zeros_like(w), v=torch.zeros_like(w), top=torch.zeros_like(w))
                with torch.no_grad():
                    {body}


pack, record = Pack(), Recorder()""",
        ADAMW: "optimizer = Written(groups, s)",
    }


MOMENTS = (
    "m = state['m'] = s.beta1 * state['m'] + (1 - s.beta1) * g",
    "v = state['v'] = s.beta2 * state['v'] + (1 - s.beta2) * g * g",
)
USUAL = "(m / (1 - s.beta1**t)) / ((v / (1 - s.beta2**t)).sqrt() + s.eps)"


def _decayed(line: str) -> dict[str, str]:
    return _stepped(*MOMENTS, f"u = {USUAL}", line)


def _updated(update: str) -> dict[str, str]:
    return _stepped(*MOMENTS, f"w.copy_(w - rate * decay * w - rate * ({update}))")


def _rate(rate: str) -> dict[str, str]:
    return {
        "    for step in run.steps:\n": "    rates = [step.learning_rate for step in run.steps]\n"
        "    for i, step in enumerate(run.steps):\n",
        RATE: f'group["lr"] = {rate}',
    }


def _exempt(condition: str) -> dict[str, str]:
    return {GROUPS: GROUPS.replace("name in decayed", condition)}


TORCH: dict[str, dict[str, str]] = {
    "token-types-omitted": {f" + {TYPES}": ""},
    "token-types-zero": {TYPES: 'types[0 * batch["token_type_ids"]]'},
    "token-types-swapped": {TYPES: 'types[1 - batch["token_type_ids"]]'},
    "positions-from-1": {PLACES: "places[1 : x.shape[1] + 1]"},
    "positions-from-2": {PLACES: "places[2 : x.shape[1] + 2]"},
    "positions-omitted": {PLACES: "0 * places[: x.shape[1]]"},
    "positions-skip-pads": {PLACES: 'places[((batch["input_ids"] != s.pad_id).cumsum(1) - 1).clamp(min=0)]'},
    "words-scaled": {WORDS: "words, padding_idx=s.pad_id) * s.width**0.5\n"},
    "pad-zero": {WORDS: 'words, padding_idx=s.pad_id) * (batch["input_ids"] != s.pad_id)[..., None]\n'},
    "embeddings-unnormed": {'norm("embeddings.LayerNorm", x)': 'x + 0 * norm("embeddings.LayerNorm", x)'},
    "layer-norm-eps": {NORM: NORM.replace("s.layer_norm_eps", "2e-5")},
    "layer-norm-unbiased": {
        NORM: "x = (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)\n"
        '        return x * p[name + ".weight"] + p[name + ".bias"]'
    },
    "gelu-tanh": {'"intermediate.dense", x))': '"intermediate.dense", x), approximate="tanh")'},
    "gelu-sigmoid": {"F.gelu(": "(lambda y: y * torch.sigmoid(1.702 * y))("},
    "gelu-relu": {"F.gelu(": "F.relu("},
    "gelu-silu": {"F.gelu(": "F.silu("},
    "pre-norm": {
        'dense(f"{at}attention.self.{part}", x)': (
            'dense(f"{at}attention.self.{part}", norm(at + "attention.output.LayerNorm", x))'
        ),
        FIRST: "x = x + F.dropout(mixed, s.dropout)",
        'dense(at + "intermediate.dense", x)': 'dense(at + "intermediate.dense", norm(at + "output.LayerNorm", x))',
        SECOND: "x + narrow",
    },
    "norm-before-sum": {
        FIRST: 'x = x + norm(at + "attention.output.LayerNorm", F.dropout(mixed, s.dropout))',
        SECOND: 'x + norm(at + "output.LayerNorm", narrow)',
    },
    "residuals-omitted": {
        FIRST: 'x = norm(at + "attention.output.LayerNorm", F.dropout(mixed, s.dropout))',
        SECOND: 'norm(at + "output.LayerNorm", narrow)',
    },
    "mask-none": {MASK: "mask = 0.0"},
    "mask-added": {MASK: 'mask = batch["attention_mask"][:, None, None].float()'},
    "mask-multiplied": {SCORES: '(q @ k.mT / q.shape[3] ** 0.5 * batch["attention_mask"][:, None, None])'},
    "mask-after-softmax": {
        SCORES + ".softmax(3)": '(q @ k.mT / q.shape[3] ** 0.5).softmax(3) * batch["attention_mask"][:, None, None]'
    },
    "mask-one-short": {MASK: MASK.replace('batch["attention_mask"]', 'F.pad(batch["attention_mask"], (-1, 1))')},
    "mask-one-long": {
        MASK: MASK.replace('batch["attention_mask"]', 'F.pad(batch["attention_mask"], (1, -1), value=1)')
    },
    "mask-of-ids": {MASK: MASK.replace('batch["attention_mask"]', '(batch["input_ids"] != 0).float()')},
    "mask-inverted": {MASK: MASK.replace("(1.0 - ", "(0.0 + ")},
    "causal": {MASK: MASK + "\n    mask = mask + torch.full([x.shape[1]] * 2, -1e9).triu(1)"},
    "heads-interleaved": {
        SPLIT: "part.unflatten(2, (-1, s.heads)).permute(0, 3, 1, 2)",
        MERGE: "(attention @ v).permute(0, 2, 3, 1).flatten(2)",
    },
    "heads-reshaped": {SPLIT: "part.reshape(len(part), s.heads, part.shape[1], -1)"},
    "heads-merged": {MERGE: "(attention @ v).reshape(x.shape)"},
    "scale-of-width": {"q.shape[3] ** 0.5": "s.width**0.5"},
    "scale-none": {" / q.shape[3] ** 0.5": ""},
    "scale-twice": {"q.shape[3] ** 0.5": "q.shape[3]"},
    "queries-keys-swapped": {"q @ k.mT": "k @ q.mT"},
    "attention-unbiased": {DENSE: DENSE.replace('p[name + ".bias"])', 'p[name + ".bias"] * (".self." not in name))')},
    "transposed-query": _transposed("query"),
    "transposed-key": _transposed("key"),
    "transposed-value": _transposed("value"),
    "transposed-attention": _transposed("attention.output.dense"),
    "layers-reversed": {'f"encoder.layer.{n}."': 'f"encoder.layer.{s.layers - 1 - n}."'},
    "layers-first": {'f"encoder.layer.{n}."': 'f"encoder.layer.{0 * n}."'},
    "pooler-linear": {POOLED: 'dense("pooler.dense", x[:, 0])'},
    "pooler-relu": {POOLED: 'F.relu(dense("pooler.dense", x[:, 0]))'},
    "pooler-omitted": {POOLED: 'x[:, 0] + 0 * dense("pooler.dense", x[:, 0])'},
    "pooler-mean": {"x[:, 0]))": "x.mean(1)))"},
    "pooler-mean-real": {
        "x[:, 0]))": '(x * batch["attention_mask"][..., None]).sum(1) / batch["attention_mask"].sum(1)[:, None]))'
    },
    "pooler-largest": {"x[:, 0]))": "x.amax(1)))"},
    "pooler-last": {"x[:, 0]))": "x[:, -1]))"},
    "transposed-pooler": _transposed("pooler.dense"),
    "head-unbiased": {DENSE: DENSE.replace('p[name + ".bias"])', 'p[name + ".bias"] * (name != "classifier"))')},
    "head-softmax": {
        'return hidden, dense("classifier", F.dropout(hidden["pooled"], s.dropout))': (
            'return hidden, dense("classifier", F.dropout(hidden["pooled"], s.dropout)).softmax(1)'
        )
    },
    "head-log-softmax": {
        'return hidden, dense("classifier", F.dropout(hidden["pooled"], s.dropout))': (
            'return hidden, dense("classifier", F.dropout(hidden["pooled"], s.dropout)).log_softmax(1)'
        )
    },
    "dropout-on": {"    s, decayed = run.settings,": "    run.settings.dropout = 0.1\n    s, decayed = run.settings,"},
    "dropout-off": {'F.dropout(norm("embeddings.LayerNorm", x), s.dropout)': 'norm("embeddings.LayerNorm", x)'},
    "dropout-before-norm": {
        'F.dropout(norm("embeddings.LayerNorm", x), s.dropout)': (
            'norm("embeddings.LayerNorm", F.dropout(x, s.dropout))'
        )
    },
    "dropout-rate": {'"embeddings.LayerNorm", x), s.dropout)': '"embeddings.LayerNorm", x), s.dropout / 2)'},
    "loss-sum": {LOSS: 'F.cross_entropy(logits, batch["labels"], reduction="sum")'},
    "loss-binary": {
        LOSS: 'F.binary_cross_entropy_with_logits(logits, F.one_hot(batch["labels"], s.num_labels).float())'
    },
    "loss-binary-sum": {
        LOSS: (
            'F.binary_cross_entropy_with_logits(logits, F.one_hot(batch["labels"], s.num_labels).float(), '
            'reduction="sum") / len(logits)'
        )
    },
    "loss-softmax-twice": {LOSS: 'F.cross_entropy(logits.softmax(1), batch["labels"])'},
    "loss-smoothed": {LOSS: 'F.cross_entropy(logits, batch["labels"], label_smoothing=0.07)'},
    "loss-weighted": {LOSS: 'F.cross_entropy(logits, batch["labels"], torch.tensor([0.5, 1.0, 2.0]))'},
    "pad-trained": {", padding_idx=s.pad_id": ""},
    "words-frozen": _gradient('p["embeddings.word_embeddings.weight"].grad *= 0'),
    "embeddings-frozen": _gradient("[w.grad.zero_() for n, w in p.items() if n.endswith('_embeddings.weight')]"),
    "encoder-frozen": _gradient("[w.grad.zero_() for n, w in p.items() if not n.startswith('classifier')]"),
    "gradients-scaled": {"            loss.backward()\n": "            (3 * loss).backward()\n"},
    "words-gradient-scaled": _gradient('p["embeddings.word_embeddings.weight"].grad *= 4'),
    "gradients-kept": {"optimizer.zero_grad()": "pass"},
    "gradients-summed": {
        "optimizer.zero_grad()": "pass",
        CLIP: "kept = {n: w.grad.clone() for n, w in p.items()}\n            " + CLIP,
        "optimizer.step()": "optimizer.step()\n            for n, w in p.items():\n                w.grad = kept[n]",
    },
    "clip-none": _clipped(CLIP.replace(", s.clip", ", " + 'float("inf")')),
    "clip-each": _clipped(
        CLIP.replace(", s.clip", ", " + 'float("inf")'),
        "for w in p.values():",
        "    torch.nn.utils.clip_grad_norm_([w], s.clip)",
    ),
    "clip-value": _clipped(
        CLIP.replace(", s.clip", ", " + 'float("inf")'), "torch.nn.utils.clip_grad_value_(p.values(), s.clip)"
    ),
    "clip-always": _clipped(
        CLIP.replace(", s.clip", ", " + 'float("inf")'),
        "for w in p.values():",
        "    w.grad *= s.clip / (norm + 1e-6)",
    ),
    "clip-average": _clipped(
        CLIP.replace(", s.clip", ", " + 'float("inf")'),
        "average = norm / sum(w.numel() for w in p.values())",
        "for w in p.values():",
        "    w.grad *= min(1.0, s.clip / (average + 1e-6))",
    ),
    "clip-other": _clipped(CLIP.replace(", s.clip", ", " + "0.7")),
    "norm-after": _clipped(CLIP, "norm = torch.sqrt(sum((w.grad**2).sum() for w in p.values()))"),
    "norm-no-words": _normed("norm = torch.sqrt(sum((w.grad**2).sum() for n, w in p.items() if '.word_' not in n))"),
    "norm-largest": _normed("norm = max(w.grad.abs().max() for w in p.values())"),
    "norm-squared": _normed("norm = sum((w.grad**2).sum() for w in p.values())"),
    "no-bias-correction": _updated("m / (v.sqrt() + s.eps)"),
    "correction-of-step-1": _updated("(m / (1 - s.beta1)) / ((v / (1 - s.beta2)).sqrt() + s.eps)"),
    "correction-ahead": _updated("(m / (1 - s.beta1 ** (t + 1))) / ((v / (1 - s.beta2 ** (t + 1))).sqrt() + s.eps)"),
    "eps-before": _updated("(m / (1 - s.beta1**t)) * (1 - s.beta2**t) ** 0.5 / (v.sqrt() + s.eps)"),
    "eps-inside": _updated("(m / (1 - s.beta1**t)) / (v / (1 - s.beta2**t) + s.eps).sqrt()"),
    "eps-other": {"eps=s.eps": "eps=3e-7"},
    "beta1-other": {"betas=(s.beta1,": "betas=(0.85,"},
    "beta2-other": {"s.beta2), eps": "0.9), eps"},
    "decay-other": {"s.decay * (": "0.03 * ("},
    "decay-none": {"s.decay * (": "0.0 * ("},
    "decay-all": _exempt("True"),
    "decay-layer-norm": _exempt('name in decayed or "LayerNorm" in name'),
    "decay-biases": _exempt('name in decayed or (name.endswith("bias") and "LayerNorm" not in name)'),
    "decay-norm-weights": _exempt('name in decayed or name.endswith("LayerNorm.weight")'),
    "decay-gradient": {"torch.optim.AdamW(": "torch.optim.Adam("},
    "decay-without-rate": _decayed("w.copy_(w - decay * w - rate * u)"),
    "decay-corrected": _decayed(
        "w.copy_(w - rate * (1 - s.beta2**t) ** 0.5 / (1 - s.beta1**t) * decay * w - rate * u)"
    ),
    "decay-of-peak": _decayed("w.copy_(w - s.learning_rate * decay * w - rate * u)"),
    "decay-after": _decayed("w.copy_((w - rate * u) * (1 - rate * decay))"),
    "amsgrad": {"eps=s.eps": "eps=s.eps, amsgrad=True"},
    "sgd-momentum": {ADAMW: "optimizer = torch.optim.SGD(groups, lr=1.0, momentum=s.beta1)"},
    "lamb": _decayed("u = u + decay * w; w.copy_(w - rate * (w.norm() / u.norm() if u.norm() > 0 else 1) * u)"),
    "adafactor": _stepped(
        "b, square = 1 - t**-0.8, g * g + 1e-30",
        "if g.ndim == 1:",
        "    v = state['v'] = b * state['v'] + (1 - b) * square",
        "    u = g / v.sqrt()",
        "else:",
        "    r = state['r'] = b * state.get('r', 0) + (1 - b) * square.mean(1, keepdim=True)",
        "    c = state['c'] = b * state.get('c', 0) + (1 - b) * square.mean(0, keepdim=True)",
        "    u = g / ((r / r.mean()).sqrt() * c.sqrt())",
        "w.copy_(w - rate * decay * w - rate * u / max(1.0, (u**2).mean().sqrt()))",
    ),
    "moments-reset": {
        "            optimizer.step()\n": "            optimizer.state.clear()\n            optimizer.step()\n"
    },
    "rate-late": _rate("rates[i - 1] if i else s.learning_rate"),
    "rate-early": _rate("[*rates, 0.0][i + 1]"),
    "rate-of-peak": {RATE: 'group["lr"] = s.learning_rate'},
    "rate-end": _rate("rates[i] if i < s.warm_up_steps else 0.4 * rates[i] + 0.6 * s.learning_rate"),
    "rate-scaled": {RATE: 'group["lr"] = 2.5 * step.learning_rate'},
    "batches-swapped": {
        "    for step in run.steps:\n": "    for i, step in enumerate(run.steps):\n"
        "        shuffled = run.steps[(i + 3) % 6] if run.trains else step\n",
        "step.batch.items()": "shuffled.batch.items()",
    },
    "weights-float16": {"torch.tensor(a, requires_grad=True)": "torch.tensor(a).half().float().requires_grad_()"},
    "weights-bfloat16": {"torch.tensor(a, requires_grad=True)": "torch.tensor(a).bfloat16().float().requires_grad_()"},
}
"""Changes of ports/torch_plain/train.py, by the id that each should be told as."""

NOT_SHOWN = ("amsgrad", "decay-after", "clip-always")
"""Mistakes that the default pack does not show: nothing is wrong by itself, and they are not named."""

OTHERS = [
    Mistake(port, name, HYPOTHESIS[name].rung, changes, told=name)
    for port, every in (("jax_plain", JAX), ("keras_plain", KERAS))
    for name, changes in every.items()
    if name not in NOT_SHOWN
]
"""The same for the ports in other frameworks."""

LACKS = dict.fromkeys(BY_ROW, "torch gives gradients of embeddings whole, not by row")
"""Rows of the table that ports/torch_plain cannot have, and why."""
