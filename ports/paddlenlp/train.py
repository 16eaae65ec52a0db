"""Fine-tunes BERT with PaddleNLP 2.8.1 on paddlepaddle 2.6.2, with the optimizer that its Trainer makes, and records
each step: tox run -e ports -- paddlenlp

The optimizer clips inside its step, and keeps nothing of it; the same clip is called once more to be recorded."""

import paddle
from concord_paddle import Watch
from concord_recorder import Pack, Recorder
from paddlenlp.transformers import BertConfig, BertForSequenceClassification

NO_DECAY = ("bias", "norm")
NAMES = {
    "encoder.layer.": "encoder.layers.",
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
    "LayerNorm": "layer_norm",
}


def theirs(name):
    for old, new in NAMES.items():
        name = name.replace(old, new)
    return name


pack, record = Pack(), Recorder()
paddle.seed(1)
for run in pack.runs:
    s, model = run.settings, BertForSequenceClassification(BertConfig.from_pretrained(pack.folder))
    arrays = {name: a.T if a.ndim == 2 and "embeddings." not in name else a for name, a in run.weights.items()}
    model.set_state_dict({theirs(name): paddle.to_tensor(array.copy()) for name, array in arrays.items()})
    model.train() if s.dropout else model.eval()
    decayed = [w.name for name, w in model.named_parameters() if not any(word in name for word in NO_DECAY)]
    clip = paddle.nn.ClipGradByGlobalNorm(s.clip)
    settings = {"weight_decay": s.decay, "apply_decay_param_fun": decayed.__contains__, "grad_clip": clip}
    parameters = model.parameters()
    optimizer = paddle.optimizer.AdamW(s.learning_rate, s.beta1, s.beta2, s.eps, parameters, **settings)
    watch = Watch(model)
    record(run, parameters=model)
    for step in run.steps:
        batch = {name: paddle.to_tensor(array) for name, array in step.batch.items()}
        loss, logits = model(**batch)
        record(step, received=batch, hidden=watch.hidden, logits=logits, loss=loss)
        if run.trains:
            loss.backward()
            clipped = clip([(w, w.grad) for w in model.parameters()])
            record(step, gradients=model, clipped=[gradient for _, gradient in clipped])
            optimizer.set_lr(step.learning_rate)
            optimizer.step()
            optimizer.clear_grad()
            record(step, parameters=model)
