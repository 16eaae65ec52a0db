"""Fine-tunes google-research/bert, as run_classifier.py does, and records each step. bert-tensorflow 1.0.1, Python 3.7:
PYTHONPATH=recorder CONCORD_PACK=pack CONCORD_RECORDING=recording python ports/google_bert/train.py"""

import re

import tensorflow as tf
from bert import modeling, optimization, run_classifier
from concord_recorder import Pack, Recorder


class Bert(modeling.BertModel):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        Bert.made = self  # create_model keeps the model to itself


def theirs(variable, weights):
    name = variable.op.name.replace("layer_", "layer.").replace("_embeddings", "_embeddings.weight").replace("/", ".")
    name = re.sub("output_(weight|bias)s?$", r"classifier.\1", name)
    array = weights[re.sub("kernel$|gamma$", "weight", re.sub("beta$", "bias", name))]
    return array.T if name.endswith("kernel") else array


modeling.BertModel = Bert
pack, record = Pack(), Recorder()
for run in pack.runs:
    s, weights = run.settings, run.weights
    config = modeling.BertConfig.from_json_file(pack.path("config.json"))
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = s.dropout
    with tf.Graph().as_default(), tf.Session() as session:
        batch = {name: tf.placeholder(tf.int32, [None] * array.ndim) for name, array in run.steps[0].batch.items()}
        ids, mask, types = batch["input_ids"], batch["attention_mask"], batch["token_type_ids"]
        # With is_training, the pooled output is dropped out at 0.1 whatever the config says.
        answers = run_classifier.create_model(
            config, s.dropout > 0, ids, mask, types, batch["labels"], s.num_labels, use_one_hot_embeddings=False
        )
        bert, loss, logits = Bert.made, answers[0], answers[2]
        layers, pooled = bert.get_all_encoder_layers(), bert.get_pooled_output()
        hidden = {"embeddings": bert.get_embedding_output(), "layers": layers, "pooled": pooled}
        variables, rate = tf.trainable_variables(), tf.placeholder(tf.float32, [])
        p = {v.op.name: v for v in variables}
        gradients = tf.gradients(loss, variables)
        clipped, norm = tf.clip_by_global_norm(gradients, s.clip)
        optimizer = optimization.AdamWeightDecayOptimizer(
            rate, s.decay, s.beta1, s.beta2, s.eps, exclude_from_weight_decay=["LayerNorm", "layer_norm", "bias"]
        )
        update = optimizer.apply_gradients(zip(clipped, variables))
        asked = {"received": batch, "hidden": hidden, "logits": logits, "loss": loss}
        if run.trains:
            asked.update(gradients=dict(zip(p, gradients)), norm=norm, clipped=dict(zip(p, clipped)))
        session.run(tf.global_variables_initializer())
        for variable in variables:
            variable.load(theirs(variable, weights), session)
        record(run, parameters=session.run(p))
        for step in run.steps:
            feed = {batch[name]: array for name, array in step.batch.items()}
            record(step, **session.run(asked, feed))
            if run.trains:
                session.run(update, {**feed, rate: step.learning_rate})
                record(step, parameters=session.run(p))
