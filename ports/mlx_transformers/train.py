"""Fine-tunes BERT with mlx-transformers 0.3.0 on mlx 0.32.4, as mlx's documentation trains, and records
each step: tox run -e ports -- mlx_transformers

The model's own loss does not run: mlx has no `mx.long`. mlx's optimizer decays every parameter."""

import mlx.core as mx
import mlx.nn as nn
from concord_recorder import Pack, Recorder
from mlx.optimizers import AdamW, clip_grad_norm
from mlx_transformers.models import BertForSequenceClassification
from transformers import BertConfig


def mean_loss(model, batch):
    inputs = {name: array for name, array in batch.items() if name != "labels"}
    output = model(**inputs, output_hidden_states=True)
    hidden = {"embeddings": output.hidden_states[0], "layers": output.hidden_states[1:]}
    hidden["pooled"] = model.bert.pooler(output.hidden_states[-1])
    return nn.losses.cross_entropy(output.logits, batch["labels"], reduction="mean"), (hidden, output.logits)


pack, record = Pack(), Recorder()
mx.random.seed(1)
for run in pack.runs:
    s = run.settings
    model = BertForSequenceClassification(BertConfig.from_pretrained(pack.folder))
    model.load_weights([(name, mx.array(array)) for name, array in run.weights.items()])
    model.train(s.dropout > 0)
    optimizer = AdamW(s.learning_rate, (s.beta1, s.beta2), s.eps, s.decay)
    differentiate = nn.value_and_grad(model, lambda batch, model=model: mean_loss(model, batch))
    record(run, parameters=model)
    for step in run.steps:
        batch = {name: mx.array(array) for name, array in step.batch.items()}
        (loss, (hidden, logits)), gradients = differentiate(batch)
        record(step, received=batch, hidden=hidden, logits=logits, loss=loss)
        if run.trains:
            clipped, norm = clip_grad_norm(gradients, s.clip)
            record(step, gradients=gradients, norm=norm, clipped=clipped)
            optimizer.learning_rate = step.learning_rate
            optimizer.update(model, clipped)
            record(step, parameters=model)
