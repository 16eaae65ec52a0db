"""Fine-tunes BERT with bert4keras 0.11.5 on Keras 2.3.1 and TensorFlow 1.15.5, as its examples for sentence pairs do,
and records each step: tox run -e ports -- bert4keras

It takes no mask, but makes one of the ids. Keras clips inside the optimizer, so that there is no norm to record."""

import re

import numpy as np
from bert4keras.backend import K, keras
from bert4keras.models import build_transformer_model
from bert4keras.optimizers import Adam, extend_with_weight_decay
from concord_recorder import Pack, Recorder

AdamW = extend_with_weight_decay(Adam)


def googles(weights):
    """The weights as a checkpoint of Google's has them."""
    checkpoint = {}
    for name, array in weights.items():
        name = name.replace(".", "/").replace("layer/", "layer_").replace("embeddings/weight", "embeddings")
        name = name.replace("LayerNorm/weight", "LayerNorm/gamma").replace("LayerNorm/bias", "LayerNorm/beta")
        checkpoint[re.sub("weight$", "kernel", name)] = array.T if name.endswith("weight") else array
    return checkpoint


pack, record = Pack(), Recorder()
for run in pack.runs:
    K.clear_session()
    s, checkpoint, session = run.settings, googles(run.weights), K.get_session()
    dropout = {"hidden_dropout_prob": s.dropout, "attention_probs_dropout_prob": s.dropout}
    bert = build_transformer_model(pack.path("config.json"), with_pool=True, return_keras_model=False, **dropout)
    output = keras.layers.Dropout(s.dropout)(bert.model.output)
    output = keras.layers.Dense(s.num_labels, activation="softmax", kernel_initializer=bert.initializer)(output)
    model = keras.models.Model(bert.model.input, output)
    bert.load_weights_from_checkpoint(checkpoint)
    model.layers[-1].set_weights([checkpoint["classifier/kernel"], checkpoint["classifier/bias"]])
    settings = {"beta_1": s.beta1, "beta_2": s.beta2, "epsilon": s.eps, "clipnorm": s.clip}
    optimizer = AdamW(weight_decay_rate=s.decay, exclude_from_weight_decay=["Norm", "bias"], **settings)
    model.compile(loss="sparse_categorical_crossentropy", optimizer=optimizer)
    embeddings = bert.layers["Embedding-Dropout" if s.dropout else "Embedding-Norm"].output
    layers = [bert.layers[f"Transformer-{n}-FeedForward-Norm"].output for n in range(s.layers)]
    hidden = {"embeddings": embeddings, "layers": layers, "pooled": bert.model.output}
    asked = {"hidden": hidden, "logits": output.op.inputs[0], "loss": model.total_loss}
    p = {w.op.name: w for w in model.trainable_weights}
    if run.trains:
        asked["gradients"] = dict(zip(p, K.gradients(model.total_loss, list(p.values()))))
        asked["clipped"] = dict(zip(p, optimizer.get_gradients(model.total_loss, list(p.values()))))
    record(run, parameters=session.run(p))
    for step in run.steps:
        batch = step.batch
        given = [batch.input_ids, batch.token_type_ids, batch.labels[:, None], np.ones(len(batch.labels)), 1]
        places = [*model.inputs, *model.targets, *model.sample_weights, K.learning_phase()]
        record(step, received={"input_ids": given[0], "token_type_ids": given[1]})
        record(step, **session.run(asked, dict(zip(places, given))))
        if run.trains:
            K.set_value(optimizer.lr, step.learning_rate)
            model.train_on_batch(given[:2], batch.labels)
            record(step, parameters=session.run(p))
