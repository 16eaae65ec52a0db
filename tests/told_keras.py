"""Mistakes planted in ports/keras_plain/train.py as changes of its text, by the id that each should be told as."""

from __future__ import annotations

from tests.told_arithmetic import KERAS_SCRIPT, MOMENTS

BUILT = "def bert(s):\n"
IDS, TYPES = 'name="bert.embeddings.word_embeddings")(ids)', 'name="bert.embeddings.token_type_embeddings")(types)'
PLACES = "ops.cumsum(ops.ones_like(ids), axis=1) - 1"
REAL = "ops.not_equal(ids, s.pad_id)"
NORM = "return layers.LayerNormalization(epsilon=s.layer_norm_eps, name=name)(x)"
EMBEDDED = 'drop(norm("bert.embeddings.LayerNorm", x))'
MASK = "attention_mask=mask[:, None]"
FIRST, SECOND = f'norm(at + "attention.output.LayerNorm", x + drop(attend(x, x, {MASK})))', "x + drop(narrow))"
WIDE = 'name=at + "intermediate.dense")(x)'
POOLED = 'layers.Dense(s.width, "tanh", name="bert.pooler.dense")(x[:, 0])'
HEAD = 'layers.Dense(s.num_labels, name="classifier")'
LOSS = "tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(batch.labels, logits))"
ONE_HOT = "tf.one_hot(batch.labels, s.num_labels)"
GRADIENTS = "            gradients = {n:"
PADS = "*= 1 - tf.one_hot([s.pad_id], s.vocab_size, axis=0)"
GLOBAL_NORM = "global_norm(list(gradients.values()))"
KERNEL, WEIGHTS = 'weights[n].T if w.name == "kernel"', "bert(run.settings), run.weights"
SLICED = {
    GRADIENTS: f"""\
            slices, words = tape.gradient(loss, p), "bert.embeddings.word_embeddings.weight"
            rows = slices[words]
            real = tf.cast(rows.indices != s.pad_id, "float32")[:, None]
            slices[words] = tf.IndexedSlices(rows.values * real, rows.indices, rows.dense_shape)
{GRADIENTS}""",
    "tape.gradient(loss, p).items()": "slices.items()",
}
"""Gradients of embeddings as TensorFlow gives them, by row, kept beside the whole ones; none for the pad token."""


def _attention(*lines: str, scale: str = "d**0.5", weights: str = "{softmax}", out: str = "x") -> dict[str, str]:
    """Attention written out in a layer of its own, with lines before it. `weights` are those of the keys."""
    before = "".join(f"{line}\n        " for line in lines)
    softmax = "ops.softmax(ops.where(mask > 0, scores, -1e30))"
    written = f"""\
class Attention(layers.MultiHeadAttention):
    def _compute_attention(self, q, k, v, attention_mask=None, *rest, **more):
        mask, h, d, s = ops.cast(attention_mask, "float32")[:, None], q.shape[2], q.shape[3], ops.shape(q)[1]
        {before}scores = ops.einsum("bqhd,bkhd->bhqk", q, k) / {scale}
        x = ops.einsum("bhqk,bkhd->bqhd", {weights.format(softmax=softmax)}, v)
        return {out}, None


{BUILT}"""
    return {BUILT: written, "layers.MultiHeadAttention(s.heads": "Attention(s.heads"}


def _heads(how: str) -> str:
    """The line that puts queries, keys and values `y`, [b, s, h, d], in another order."""
    return f"q, k, v = ({how} for y in (q, k, v))"


def _masked(mask: str) -> dict[str, str]:
    return {MASK: f"attention_mask={mask}"}


def _transposed(layer: str) -> dict[str, str]:
    return {KERNEL: f'{KERNEL} and "{layer}" not in n'}


def _pooled(how: str) -> dict[str, str]:
    return {POOLED: POOLED.replace("x[:, 0]", how)}


def _rounded(dtype: str) -> dict[str, str]:
    there = f'ops.convert_to_numpy(ops.cast(ops.cast(a, "{dtype}"), "float32"))'
    return {WEIGHTS: f"bert(run.settings), {{n: {there} for n, a in run.weights.items()}}"}


KERAS: dict[str, dict[str, str]] = {
    "weights-float16": _rounded("float16"),
    "weights-bfloat16": _rounded("bfloat16"),
    "token-types-omitted": {"x += layers.Embedding(s.type_vocab_size": "x += 0.0 * layers.Embedding(s.type_vocab_size"},
    "token-types-zero": {TYPES: TYPES.replace("(types)", "(0 * types)")},
    "token-types-swapped": {TYPES: TYPES.replace("(types)", "(1 - types)")},
    "positions-from-1": {PLACES: PLACES.removesuffix(" - 1")},
    "positions-from-2": {PLACES: PLACES.replace("- 1", "+ 1")},
    "positions-omitted": {"x += layers.Embedding(s.max_positions": "x += 0.0 * layers.Embedding(s.max_positions"},
    "positions-skip-pads": {PLACES: f'ops.maximum(ops.cumsum(ops.cast({REAL}, "int32"), axis=1) - 1, 0)'},
    "words-scaled": {IDS: f"{IDS} * s.width**0.5"},
    "pad-zero": {IDS: f'{IDS} * ops.cast({REAL}, "float32")[..., None]'},
    "embeddings-unnormed": {EMBEDDED: 'drop(x + 0.0 * norm("bert.embeddings.LayerNorm", x))'},
    "layer-norm-eps": {"epsilon=s.layer_norm_eps": "epsilon=1e-3"},
    "layer-norm-unbiased": {
        BUILT: "class Norm(layers.LayerNormalization):\n    def call(self, x):\n"
        "        mean, variance = ops.moments(x, -1, keepdims=True)\n"
        "        spread = ops.sqrt(variance * x.shape[-1] / (x.shape[-1] - 1) + self.epsilon)\n"
        f"        return (x - mean) / spread * self.gamma + self.beta\n\n\n{BUILT}",
        NORM: NORM.replace("layers.LayerNormalization", "Norm"),
    },
    "gelu-tanh": {'"gelu"': "lambda x: ops.gelu(x, approximate=True)"},
    "gelu-sigmoid": {'"gelu"': "lambda x: x * ops.sigmoid(1.702 * x)"},
    "gelu-relu": {'"gelu"': '"relu"'},
    "gelu-silu": {'"gelu"': '"silu"'},
    "pre-norm": {
        FIRST: f'x + drop(attend(*2 * [norm(at + "attention.output.LayerNorm", x)], {MASK}))',
        WIDE: WIDE.replace("(x)", '(norm(at + "output.LayerNorm", x))'),
        f'norm(at + "output.LayerNorm", {SECOND}': SECOND.removesuffix(")"),
    },
    "norm-before-sum": {
        FIRST: f'x + norm(at + "attention.output.LayerNorm", drop(attend(x, x, {MASK})))',
        f'norm(at + "output.LayerNorm", {SECOND}': 'x + norm(at + "output.LayerNorm", drop(narrow))',
    },
    "residuals-omitted": {
        'LayerNorm", x + drop(attend': 'LayerNorm", drop(attend',
        f'norm(at + "output.LayerNorm", {SECOND}': 'norm(at + "output.LayerNorm", drop(narrow))',
    },
    "mask-none": _masked("None"),
    "mask-added": _attention(weights="ops.softmax(scores + mask)"),
    "mask-multiplied": _attention(weights="ops.softmax(scores * mask)"),
    "mask-after-softmax": _attention(weights="ops.softmax(scores) * mask"),
    "mask-one-short": _masked("ops.pad(mask[:, 1:], [[0, 0], [0, 1]])[:, None]"),
    "mask-one-long": _masked("ops.pad(mask[:, :-1], [[0, 0], [1, 0]], constant_values=1)[:, None]"),
    "mask-of-ids": _masked(f"{REAL}[:, None]"),
    "mask-inverted": _masked("1 - mask[:, None]"),
    "causal": {MASK: f"{MASK}, use_causal_mask=True"},
    "heads-interleaved": _attention(
        _heads("ops.transpose(ops.reshape(y, (-1, s, d, h)), (0, 1, 3, 2))"),
        out="ops.reshape(ops.transpose(x, (0, 1, 3, 2)), (-1, s, h, d))",
    ),
    "heads-reshaped": _attention(_heads("ops.transpose(ops.reshape(y, (-1, h, s, d)), (0, 2, 1, 3))")),
    "heads-merged": _attention(out="ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, s, h, d))"),
    "scale-of-width": _attention(scale="(h * d) ** 0.5"),
    "scale-none": _attention(scale="1.0"),
    "scale-twice": _attention(scale="d"),
    "queries-keys-swapped": _attention("q, k = k, q"),
    "attention-unbiased": _attention(
        "own = (self._query_dense, self._key_dense, self._value_dense)",
        "q, k, v = (y - one.bias for y, one in zip((q, k, v), own))",
    ),
    "transposed-query": _transposed("self.query"),
    "transposed-key": _transposed("self.key"),
    "transposed-value": _transposed("self.value"),
    "transposed-attention": _transposed("attention.output.dense"),
    "layers-reversed": {'f"bert.encoder.layer.{n}."': 'f"bert.encoder.layer.{s.layers - 1 - n}."'},
    "pooler-linear": {'(s.width, "tanh"': "(s.width, None"},
    "pooler-relu": {'(s.width, "tanh"': '(s.width, "relu"'},
    "pooler-omitted": {POOLED: f"x[:, 0] + 0.0 * {POOLED}"},
    "pooler-mean": _pooled("ops.mean(x, 1)"),
    "pooler-mean-real": _pooled(
        'ops.sum(x * ops.cast(mask, "float32")[..., None], 1) / ops.sum(ops.cast(mask, "float32"), 1)[:, None]'
    ),
    "pooler-largest": _pooled("ops.max(x, 1)"),
    "pooler-last": _pooled("x[:, -1]"),
    "transposed-pooler": _transposed("pooler.dense"),
    "head-unbiased": {
        BUILT: "class Head(layers.Dense):\n    def call(self, x):\n"
        f"        return x @ self.kernel + 0.0 * self.bias\n\n\n{BUILT}",
        HEAD: HEAD.replace("layers.Dense", "Head"),
    },
    "head-softmax": {HEAD: HEAD.replace("labels,", 'labels, "softmax",')},
    "head-log-softmax": {HEAD: HEAD.replace("labels,", 'labels, "log_softmax",')},
    "dropout-on": {"layers.Dropout(s.dropout)": "layers.Dropout(0.1)"},
    "dropout-off": {EMBEDDED: 'norm("bert.embeddings.LayerNorm", x)'},
    "dropout-before-norm": {EMBEDDED: 'norm("bert.embeddings.LayerNorm", drop(x))'},
    "dropout-rate": {"layers.Dropout(s.dropout)": "layers.Dropout(s.dropout / 2)"},
    "loss-sum": {LOSS: LOSS.replace("reduce_mean", "reduce_sum")},
    "loss-binary": {LOSS: f"tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits({ONE_HOT}, logits))"},
    "loss-binary-sum": {
        LOSS: f"tf.reduce_mean(tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits({ONE_HOT}, logits), 1))"
    },
    "loss-softmax-twice": {LOSS: LOSS.replace(", logits)", ", tf.nn.softmax(logits))")},
    "loss-smoothed": {
        LOSS: f"tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(0.93 * {ONE_HOT} + 0.07 / s.num_labels, logits))"
    },
    "loss-weighted": {
        LOSS: "tf.nn.weighted_moments(tf.nn.sparse_softmax_cross_entropy_with_logits(batch.labels, logits), 0, "
        "tf.gather([0.5, 1.0, 2.0], batch.labels))[0]"
    },
    "pad-trained": {PADS: "*= 1"},
    "words-frozen": {PADS: "*= 0.0"},
    **KERAS_SCRIPT.changes(),
    "norm-repeats": {**SLICED, GLOBAL_NORM: "global_norm(list(slices.values()))"},
    "norm-repeats-words": {
        **SLICED,
        GLOBAL_NORM: 'global_norm([slices[n] if ".word_" in n else g for n, g in gradients.items()])',
    },
    "norm-repeats-tokens": {
        **SLICED,
        GLOBAL_NORM: 'global_norm([g if ".position_" in n else slices[n] for n, g in gradients.items()])',
    },
    "repeats-squared": {
        **SLICED,
        "            record(step, gradients=": "            squares = {n: g**2 for n, g in gradients.items()}\n"
        "            for n, g in slices.items():\n"
        "                if isinstance(g, tf.IndexedSlices):\n"
        "                    squares[n] = tf.math.unsorted_segment_sum(g.values**2, g.indices, p[n].shape[0])\n"
        "            squares = {n: g * tf.minimum(1.0, s.clip / norm) ** 2 for n, g in squares.items()}\n"
        "            record(step, gradients=",
        MOMENTS: MOMENTS.replace("g**2", "squares[n]"),
    },
    "repeats-squared-tokens": {
        **SLICED,
        "            record(step, gradients=": "            squares = {n: g**2 for n, g in gradients.items()}\n"
        "            for n, g in slices.items():\n"
        '                if isinstance(g, tf.IndexedSlices) and ".position_" not in n:\n'
        "                    squares[n] = tf.math.unsorted_segment_sum(g.values**2, g.indices, p[n].shape[0])\n"
        "            squares = {n: g * tf.minimum(1.0, s.clip / norm) ** 2 for n, g in squares.items()}\n"
        "            record(step, gradients=",
        MOMENTS: MOMENTS.replace("g**2", "squares[n]"),
    },
    "batches-swapped": {"batch = step.batch": "batch = run.steps[(t + 2) % 6].batch if run.trains else step.batch"},
}
"""Each is told by a check of the default pack."""

KERAS_LACKS = {
    "layers-first": "a layer that is not called has no parameters, so that the port lacks those of the others",
    "adafactor": "kernels and biases split into heads are factored otherwise, which is another optimizer",
}
"""Rows of the table that this port cannot have, and why."""
