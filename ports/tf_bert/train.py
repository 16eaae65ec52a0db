"""Fine-tunes BERT with TFBert of transformers 4.57.6 on TensorFlow 2.21.0, with the optimizer and the clipping of its
create_optimizer, and records each step: tox run -e ports -- tf_bert"""

import tensorflow as tf
from concord_recorder import Pack, Recorder
from transformers import AdamWeightDecay, BertConfig, TFBertForSequenceClassification
from transformers.modeling_tf_pytorch_utils import load_pytorch_state_dict_in_tf2_model

pack, record = Pack(), Recorder()
for run in pack.runs:
    s = run.settings
    dropout = {"hidden_dropout_prob": s.dropout, "attention_probs_dropout_prob": s.dropout}
    model = TFBertForSequenceClassification(BertConfig.from_pretrained(pack.folder, **dropout))
    load_pytorch_state_dict_in_tf2_model(model, run.weights)
    optimizer = AdamWeightDecay(
        beta_1=s.beta1,
        beta_2=s.beta2,
        epsilon=s.eps,
        weight_decay_rate=s.decay,
        exclude_from_weight_decay=["LayerNorm", "layer_norm", "bias"],
        global_clipnorm=s.clip,
    )
    record(run, parameters=model)
    for step in run.steps:
        batch = {name: tf.constant(array) for name, array in step.batch.items()}
        inputs = {name: array for name, array in batch.items() if name != "labels"}
        with tf.GradientTape() as tape:
            output = model(batch, training=True)
            loss = tf.reduce_mean(output.loss)
        record(step, received=batch, logits=output.logits, loss=loss)
        record(step, hidden=model.bert(inputs, output_hidden_states=True, training=True))
        if run.trains:
            pairs = list(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True))
            norm = tf.linalg.global_norm([gradient for gradient, _ in pairs])
            record(step, gradients=pairs, norm=norm, clipped=optimizer._transform_gradients(pairs))
            optimizer.learning_rate = step.learning_rate
            optimizer.apply_gradients(pairs)
            record(step, parameters=model)
