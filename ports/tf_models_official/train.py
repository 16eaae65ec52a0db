"""Fine-tunes BERT with tf-models-official 2.20.0 on TensorFlow 2.20.0, with the optimizer and the clipping of its
create_optimizer, and records each step: tox run -e ports -- tf_models_official"""

import tensorflow as tf
import tf_keras
from concord_recorder import Pack, Recorder
from official.nlp.configs.encoders import EncoderConfig, build_encoder
from official.nlp.modeling.models import BertClassifier
from official.nlp.optimization import AdamWeightDecay

pack, record = Pack(), Recorder()
for run in pack.runs:
    s = run.settings
    sizes = {"num_layers": s.layers, "num_attention_heads": s.heads, "intermediate_size": s.feed_forward}
    sizes.update(vocab_size=s.vocab_size, hidden_size=s.width, type_vocab_size=s.type_vocab_size)
    sizes.update(max_position_embeddings=s.max_positions, hidden_activation=s.activation)
    sizes.update(dropout_rate=s.dropout, attention_dropout_rate=s.dropout, return_word_embeddings=True)
    encoder = build_encoder(EncoderConfig({"type": "bert", "bert": sizes}))
    model = BertClassifier(encoder, s.num_labels, dropout_rate=s.dropout)
    variables = model.trainable_variables  # in the order of HuggingFace's
    for variable, array in zip(variables, run.weights.values(), strict=True):
        array = array.T if "kernel" in variable.name else array
        variable.assign(array.reshape(variable.shape))
    optimizer = AdamWeightDecay(
        beta_1=s.beta1,
        beta_2=s.beta2,
        epsilon=s.eps,
        weight_decay_rate=s.decay,
        exclude_from_weight_decay=["LayerNorm", "layer_norm", "bias"],
        gradient_clip_norm=s.clip,
    )
    losses = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    record(run, parameters=model)
    for step in run.steps:
        batch = {name: tf.constant(array, tf.int32) for name, array in step.batch.items()}
        ids, mask, types = batch["input_ids"], batch["attention_mask"], batch["token_type_ids"]
        inputs = {"input_word_ids": ids, "input_mask": mask, "input_type_ids": types}
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            loss = losses(batch["labels"], logits)
        record(step, received=batch, logits=logits, loss=loss)
        found = encoder(inputs, training=True)
        layers, pooled = found["encoder_outputs"], found["pooled_output"]
        record(step, hidden={"embeddings": found["word_embeddings"], "layers": layers, "pooled": pooled})
        if run.trains:
            gradients = tape.gradient(loss, variables)
            clipped, norm = tf.clip_by_global_norm(gradients, s.clip)  # as apply_gradients does
            record(step, gradients=gradients, norm=norm, clipped=clipped)
            optimizer.learning_rate = step.learning_rate
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
            record(step, parameters=model)
