"""Mistakes planted in ports/jax_plain/train.py as changes of its text, by the id that each should be told as."""

from __future__ import annotations

from tests.told_arithmetic import BY_ROW, JAX_SCRIPT

TYPES, PLACES = 'types[batch["token_type_ids"]]', " + places[: x.shape[1]]"
WORDS = 'words[batch["input_ids"]]'
PADS = "words = words.at[s.pad_id].set(jax.lax.stop_gradient(words[s.pad_id]))"
NORM = "return jax.nn.standardize(x, epsilon=s.layer_norm_eps)"
FIRST_NORM = 'x = norm("embeddings.LayerNorm", x + places[: x.shape[1]])\n'
DROP = "x = jnp.where(jax.random.bernoulli(key, 1 - s.dropout, x.shape), x / (1 - s.dropout), 0)\n"
EMBEDDED = FIRST_NORM + "    " + DROP
PROJECTED = 'jnp.einsum("bsi,ihd->bshd", x, p[n + ".weight"]) + p[n + ".bias"] for n in names'
MASK = 'batch["attention_mask"]'
ATTEND = f"jax.nn.dot_product_attention(q, k, v, mask={MASK}[:, None, None] == 1)"
MIXED, NARROW = 'dense(at + "attention.output.dense", mixed.reshape(x.shape))', 'dense(at + "output.dense", wide)'
FIRST, SECOND = f'norm(at + "attention.output.LayerNorm", x + {MIXED})', f'norm(at + "output.LayerNorm", x + {NARROW})'
WIDE = 'jax.nn.gelu(dense(at + "intermediate.dense", x), approximate=False)'
POOLED, LOGITS = 'jnp.tanh(dense("pooler.dense", x[:, 0]))', 'dense("classifier", hidden["pooled"])'
LOSS = '-jax.nn.log_softmax(logits)[jnp.arange(len(x)), batch["labels"]].mean(), (hidden'
LAYOUT = 'a = a if "embeddings." in name else a.T'
LOADED = 'return jnp.array(a.reshape(*a.shape[:-1], heads, -1) if "attention.self" in name else a)'


def _attention(weights: str) -> dict[str, str]:
    """Attention written out, with weights of the keys by `scores` and `mask`, [b, 1, 1, s]."""
    written = f"""scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / q.shape[3] ** 0.5
        mask = {MASK}[:, None, None]
        mixed = jnp.einsum("bhqk,bkhd->bqhd", {weights}, v)"""
    return {f"mixed = {ATTEND}": written}


def _heads(how: str, merged: str = "mixed") -> dict[str, str]:
    """Queries, keys and values `y`, [b, s, heads, head], in another order."""
    return {
        f"mixed = {ATTEND}": f"q, k, v = ({how} for y in (q, k, v))\n        mixed = {ATTEND}",
        "mixed.reshape(x.shape)": f"{merged}.reshape(x.shape)",
    }


def _masked(mask: str) -> dict[str, str]:
    return {f"mask={MASK}": f"mask={mask}"}


def _transposed(layer: str) -> dict[str, str]:
    return {LAYOUT: LAYOUT.replace("in name", f'in name or "{layer}.weight" in name')}


def _pooled(how: str) -> dict[str, str]:
    return {POOLED: POOLED.replace("x[:, 0]", how)}


def _loss(loss: str) -> dict[str, str]:
    return {LOSS: f"{loss}, (hidden"}


ONE_HOT = 'jax.nn.one_hot(batch["labels"], s.num_labels)'
OF_LABEL = f"(jax.nn.log_softmax(logits) * {ONE_HOT}).sum(1)"
CLASSES = 'jnp.array([0.5, 1.0, 2.0])[batch["labels"]]'

JAX: dict[str, dict[str, str]] = {
    "weights-float16": {LOADED: LOADED + ".astype(jnp.float16).astype(jnp.float32)"},
    "weights-bfloat16": {LOADED: LOADED + ".astype(jnp.bfloat16).astype(jnp.float32)"},
    "token-types-omitted": {f" + {TYPES}": ""},
    "token-types-zero": {TYPES: 'types[0 * batch["token_type_ids"]]'},
    "token-types-swapped": {TYPES: 'types[1 - batch["token_type_ids"]]'},
    "positions-from-1": {PLACES: " + places[1 : x.shape[1] + 1]"},
    "positions-from-2": {PLACES: " + places[2 : x.shape[1] + 2]"},
    "positions-omitted": {PLACES: ""},
    "positions-skip-pads": {PLACES: ' + places[jnp.maximum(jnp.cumsum(batch["input_ids"] != s.pad_id, 1) - 1, 0)]'},
    "words-scaled": {WORDS: f"{WORDS} * s.width**0.5"},
    "pad-zero": {WORDS: f'{WORDS} * (batch["input_ids"] != s.pad_id)[..., None]'},
    "embeddings-unnormed": {FIRST_NORM: "x = x + places[: x.shape[1]]\n"},
    "layer-norm-eps": {"epsilon=s.layer_norm_eps": "epsilon=1e-5"},
    "layer-norm-unbiased": {NORM: "return (x - x.mean(-1, keepdims=True)) / jnp.std(x, -1, ddof=1, keepdims=True)"},
    "gelu-tanh": {"approximate=False": "approximate=True"},
    "gelu-sigmoid": {WIDE: '(lambda y: y * jax.nn.sigmoid(1.702 * y))(dense(at + "intermediate.dense", x))'},
    "gelu-relu": {WIDE: 'jax.nn.relu(dense(at + "intermediate.dense", x))'},
    "gelu-silu": {WIDE: 'jax.nn.silu(dense(at + "intermediate.dense", x))'},
    "pre-norm": {
        "q, k, v = (jnp.einsum": 'y = norm(at + "attention.output.LayerNorm", x)\n        q, k, v = (jnp.einsum',
        '"bsi,ihd->bshd", x': '"bsi,ihd->bshd", y',
        FIRST: f"x + {MIXED}",
        '"intermediate.dense", x)': '"intermediate.dense", norm(at + "output.LayerNorm", x))',
        SECOND: f"x + {NARROW}",
    },
    "norm-before-sum": {
        FIRST: f'x + norm(at + "attention.output.LayerNorm", {MIXED})',
        SECOND: f'x + norm(at + "output.LayerNorm", {NARROW})',
    },
    "residuals-omitted": {
        FIRST: f'norm(at + "attention.output.LayerNorm", {MIXED})',
        SECOND: f'norm(at + "output.LayerNorm", {NARROW})',
    },
    "mask-none": {f", mask={MASK}[:, None, None] == 1": ""},
    "mask-added": {f"mask={MASK}[:, None, None] == 1": f"bias={MASK}[:, None, None].astype(jnp.float32)"},
    "mask-multiplied": _attention("jax.nn.softmax(scores * mask)"),
    "mask-after-softmax": _attention("jax.nn.softmax(scores) * mask"),
    "mask-one-short": _masked(f"jnp.pad({MASK}[:, 1:], ((0, 0), (0, 1)))"),
    "mask-one-long": _masked(f"jnp.pad({MASK}[:, :-1], ((0, 0), (1, 0)), constant_values=1)"),
    "mask-of-ids": _masked('(batch["input_ids"] != s.pad_id)'),
    "mask-inverted": _masked(f"(1 - {MASK})"),
    "causal": {", mask=": ", is_causal=True, mask="},
    "heads-interleaved": _heads("y.reshape(*y.shape[:2], -1, s.heads).swapaxes(2, 3)", "mixed.swapaxes(2, 3)"),
    "heads-reshaped": _heads("y.reshape(len(y), s.heads, y.shape[1], -1).swapaxes(1, 2)"),
    "heads-merged": {"mixed.reshape(x.shape)": "mixed.swapaxes(1, 2).reshape(x.shape)"},
    "scale-of-width": {", mask=": ", scale=s.width**-0.5, mask="},
    "scale-none": {", mask=": ", scale=1.0, mask="},
    "scale-twice": {", mask=": ", scale=1 / q.shape[3], mask="},
    "queries-keys-swapped": {"attention(q, k, v": "attention(k, q, v"},
    "attention-unbiased": {PROJECTED: PROJECTED.replace(' + p[n + ".bias"]', "")},
    "transposed-query": _transposed("query"),
    "transposed-key": _transposed("key"),
    "transposed-value": _transposed("value"),
    "transposed-attention": _transposed("attention.output.dense"),
    "layers-reversed": {'f"encoder.layer.{n}."': 'f"encoder.layer.{s.layers - 1 - n}."'},
    "layers-first": {'f"encoder.layer.{n}."': 'f"encoder.layer.{0 * n}."'},
    "pooler-linear": {POOLED: 'dense("pooler.dense", x[:, 0])'},
    "pooler-relu": {POOLED: POOLED.replace("jnp.tanh", "jax.nn.relu")},
    "pooler-omitted": {POOLED: "x[:, 0]"},
    "pooler-mean": _pooled("x.mean(1)"),
    "pooler-mean-real": _pooled(f"(x * {MASK}[..., None]).sum(1) / {MASK}.sum(1)[:, None]"),
    "pooler-largest": _pooled("x.max(1)"),
    "pooler-last": _pooled("x[:, -1]"),
    "transposed-pooler": _transposed("pooler.dense"),
    "head-unbiased": {LOGITS: 'hidden["pooled"] @ p["classifier.weight"]'},
    "head-softmax": {LOGITS: f"jax.nn.softmax({LOGITS})"},
    "head-log-softmax": {LOGITS: f"jax.nn.log_softmax({LOGITS})"},
    "dropout-on": {DROP: DROP.replace("1 - s.dropout", "0.9")},
    "dropout-off": {DROP: "\n"},
    "dropout-before-norm": {
        EMBEDDED: f'x = x + places[: x.shape[1]]\n    {DROP}    x = norm("embeddings.LayerNorm", x)\n'
    },
    "dropout-rate": {DROP: DROP.replace("s.dropout", "s.dropout / 2")},
    "loss-sum": {".mean(), (hidden": ".sum(), (hidden"},
    "loss-binary": _loss(f"(jnp.logaddexp(0, logits) - {ONE_HOT} * logits).mean()"),
    "loss-binary-sum": _loss(f"(jnp.logaddexp(0, logits) - {ONE_HOT} * logits).sum(1).mean()"),
    "loss-softmax-twice": {"log_softmax(logits)": "log_softmax(jax.nn.softmax(logits))"},
    "loss-smoothed": _loss(f"-(0.93 * {OF_LABEL} + 0.07 * jax.nn.log_softmax(logits).mean(1)).mean()"),
    "loss-weighted": _loss(f"-({CLASSES} * {OF_LABEL}).sum() / {CLASSES}.sum()"),
    "pad-trained": {PADS: "pass"},
    "words-frozen": {PADS: "words = jax.lax.stop_gradient(words)"},
    **JAX_SCRIPT.changes(),
    "batches-swapped": {"dict(step.batch)": "dict(run.steps[(t + 2) % 6].batch if run.trains else step.batch)"},
}
"""Each is told by a check of the default pack."""

JAX_LACKS = {
    **dict.fromkeys(BY_ROW, "JAX gives gradients of embeddings whole, not by row"),
    "adafactor": "kernels and biases split into heads are factored otherwise, which is another optimizer",
}
"""Rows of the table that this port cannot have, and why."""
