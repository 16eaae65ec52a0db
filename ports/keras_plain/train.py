"""Fine-tunes BERT in plain Keras on TensorFlow, as a pack tells it to, and records each step:
CONCORD_PACK=pack CONCORD_RECORDING=recording python train.py"""

import tensorflow as tf
from concord_recorder import Pack, Recorder
from keras import Model, layers, ops


def bert(s):
    def norm(name, x):
        return layers.LayerNormalization(epsilon=s.layer_norm_eps, name=name)(x)

    ids, types, mask = inputs = [layers.Input([None], dtype="int32") for _ in range(3)]
    x = layers.Embedding(s.vocab_size, s.width, name="bert.embeddings.word_embeddings")(ids)
    x += layers.Embedding(s.type_vocab_size, s.width, name="bert.embeddings.token_type_embeddings")(types)
    places = ops.cumsum(ops.ones_like(ids), axis=1) - 1
    x += layers.Embedding(s.max_positions, s.width, name="bert.embeddings.position_embeddings")(places)
    drop, hidden = layers.Dropout(s.dropout), {}
    hidden["embeddings"] = x = drop(norm("bert.embeddings.LayerNorm", x))
    for n in range(s.layers):
        at = f"bert.encoder.layer.{n}."
        attend = layers.MultiHeadAttention(s.heads, s.width // s.heads, dropout=s.dropout, name=at + "attention.self")
        x = norm(at + "attention.output.LayerNorm", x + drop(attend(x, x, attention_mask=mask[:, None])))
        wide = layers.Dense(s.feed_forward, "gelu", name=at + "intermediate.dense")(x)
        narrow = layers.Dense(s.width, name=at + "output.dense")(wide)
        hidden[f"layers/{n}"] = x = norm(at + "output.LayerNorm", x + drop(narrow))
    hidden["pooled"] = layers.Dense(s.width, "tanh", name="bert.pooler.dense")(x[:, 0])
    return Model(inputs, (hidden, layers.Dense(s.num_labels, name="classifier")(drop(hidden["pooled"]))))


def theirs(w):
    layer = w.path.rpartition("/")[0].replace("/", ".").replace("self.attention_output", "output.dense")
    return layer + (".bias" if w.name in ("bias", "beta") else ".weight")


pack, record = Pack(), Recorder()
for run in pack.runs:
    s, model, weights = run.settings, bert(run.settings), run.weights
    p = {theirs(w): w for w in model.trainable_variables}
    model.set_weights([ops.reshape(weights[n].T if w.name == "kernel" else weights[n], w.shape) for n, w in p.items()])
    m, v = dict.fromkeys(p, 0.0), dict.fromkeys(p, 0.0)
    record(run, parameters=p)
    for t, step in enumerate(run.steps, 1):
        batch = step.batch
        with tf.GradientTape() as tape:
            hidden, logits = model([batch.input_ids, batch.token_type_ids, batch.attention_mask], training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(batch.labels, logits))
        record(step, received=batch, hidden=hidden, logits=logits, loss=loss)
        if run.trains:
            gradients = {n: tf.convert_to_tensor(g) for n, g in tape.gradient(loss, p).items()}
            gradients["bert.embeddings.word_embeddings.weight"] *= 1 - tf.one_hot([s.pad_id], s.vocab_size, axis=0)
            norm = tf.linalg.global_norm(list(gradients.values()))
            clipped = {n: g * tf.minimum(1.0, s.clip / (norm + 1e-6)) for n, g in gradients.items()}
            record(step, gradients=gradients, norm=norm, clipped=clipped)
            for n, g in clipped.items():
                m[n], v[n] = s.beta1 * m[n] + (1 - s.beta1) * g, s.beta2 * v[n] + (1 - s.beta2) * g**2
                move = m[n] / (1 - s.beta1**t) / (tf.sqrt(v[n] / (1 - s.beta2**t)) + s.eps)
                p[n].assign_sub(step.learning_rate * (move + s.decay * (n in s.decayed) * p[n]))
            record(step, parameters=p)
