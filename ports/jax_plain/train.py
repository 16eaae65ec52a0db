"""Fine-tunes BERT in pure JAX, as a pack tells it to, and records each step:
CONCORD_PACK=pack CONCORD_RECORDING=recording python train.py"""

import jax
import jax.numpy as jnp
from concord_recorder import Pack, Recorder


def bert(p, batch, s, key):
    def dense(name, x):
        return x @ p[name + ".weight"] + p[name + ".bias"]

    def norm(name, x):
        return jax.nn.standardize(x, epsilon=s.layer_norm_eps) * p[name + ".weight"] + p[name + ".bias"]

    words, places, types = (p[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type"))
    words = words.at[s.pad_id].set(jax.lax.stop_gradient(words[s.pad_id]))
    x = words[batch["input_ids"]] + types[batch["token_type_ids"]]
    x = norm("embeddings.LayerNorm", x + places[: x.shape[1]])
    x = jnp.where(jax.random.bernoulli(key, 1 - s.dropout, x.shape), x / (1 - s.dropout), 0)
    hidden = {"embeddings": x}
    for n in range(s.layers):
        at = f"encoder.layer.{n}."
        names = (f"{at}attention.self.{part}" for part in ("query", "key", "value"))
        q, k, v = (jnp.einsum("bsi,ihd->bshd", x, p[n + ".weight"]) + p[n + ".bias"] for n in names)
        mixed = jax.nn.dot_product_attention(q, k, v, mask=batch["attention_mask"][:, None, None] == 1)
        x = norm(at + "attention.output.LayerNorm", x + dense(at + "attention.output.dense", mixed.reshape(x.shape)))
        wide = jax.nn.gelu(dense(at + "intermediate.dense", x), approximate=False)
        hidden[f"layers/{n}"] = x = norm(at + "output.LayerNorm", x + dense(at + "output.dense", wide))
    hidden["pooled"] = jnp.tanh(dense("pooler.dense", x[:, 0]))
    logits = dense("classifier", hidden["pooled"])
    return -jax.nn.log_softmax(logits)[jnp.arange(len(x)), batch["labels"]].mean(), (hidden, logits)


def ours(name, a, heads):
    a = a if "embeddings." in name else a.T
    return jnp.array(a.reshape(*a.shape[:-1], heads, -1) if "attention.self" in name else a)


pack, record = Pack(), Recorder()
for run in pack.runs:
    s, decayed = run.settings, {name.replace("bert.", "") for name in run.settings.decayed}
    p = {name.replace("bert.", ""): ours(name, a, s.heads) for name, a in run.weights.items()}
    m, v = dict.fromkeys(p, 0.0), dict.fromkeys(p, 0.0)
    differentiate = jax.jit(jax.value_and_grad(lambda p, batch, key, s=s: bert(p, batch, s, key), has_aux=True))
    record(run, parameters=p)
    for t, step in enumerate(run.steps, 1):
        batch = dict(step.batch)
        (loss, (hidden, logits)), gradients = differentiate(p, batch, jax.random.key(t))
        record(step, received=batch, hidden=hidden, logits=logits, loss=loss)
        if run.trains:
            norm = jnp.sqrt(sum((g**2).sum() for g in gradients.values()))
            clipped = {n: g * jnp.minimum(1, s.clip / (norm + 1e-6)) for n, g in gradients.items()}
            record(step, gradients=gradients, norm=norm, clipped=clipped)
            for n, g in clipped.items():
                m[n], v[n] = s.beta1 * m[n] + (1 - s.beta1) * g, s.beta2 * v[n] + (1 - s.beta2) * g**2
                move = m[n] / (1 - s.beta1**t) / (jnp.sqrt(v[n] / (1 - s.beta2**t)) + s.eps)
                p[n] = p[n] - step.learning_rate * (move + s.decay * (n in decayed) * p[n])
            record(step, parameters=p)
