"""Fine-tunes BERT with google-research/bert (bert-tensorflow 1.0.1) on TensorFlow 1.15.5, as its run_classifier.py
does on a CPU or GPU, and records each step: tox run -e ports -- google_bert"""

import re

import tensorflow as tf
from bert import modeling, optimization, run_classifier
from concord_recorder import Pack, Recorder


class Bert(modeling.BertModel):
    """Remembers the model, which create_model does not return."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        Bert.made = self


def theirs(variable, weights):
    """The variable's value, out of HuggingFace's."""
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
        names = ("input_ids", "attention_mask", "token_type_ids", "labels")
        training = s.dropout > 0  # drops out of the pooled output at 0.1, whatever the config says
        made = run_classifier.create_model(config, training, *map(batch.get, names), s.num_labels, False)
        (loss, _, logits, _), bert = made, Bert.made
        layers, pooled = bert.get_all_encoder_layers(), bert.get_pooled_output()
        hidden = {"embeddings": bert.get_embedding_output(), "layers": layers, "pooled": pooled}
        variables, rate = tf.trainable_variables(), tf.placeholder(tf.float32, [])
        p = {v.op.name: v for v in variables}
        gradients = tf.gradients(loss, variables)
        clipped, norm = tf.clip_by_global_norm(gradients, s.clip)
        settings = (rate, s.decay, s.beta1, s.beta2, s.eps, ["LayerNorm", "layer_norm", "bias"])
        update = optimization.AdamWeightDecayOptimizer(*settings).apply_gradients(zip(clipped, variables))
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
