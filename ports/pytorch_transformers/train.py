"""Fine-tunes BERT with pytorch-transformers 1.2.0 on torch 2.13.0, as its README and examples do, and records
each step: tox run -e ports -- pytorch_transformers"""

import torch
from concord_recorder import Pack, Recorder
from concord_torch import Watch
from pytorch_transformers import AdamW, BertConfig, BertForSequenceClassification

NO_DECAY = ("bias", "LayerNorm.weight")

pack, record = Pack(), Recorder()
torch.manual_seed(1)
for run in pack.runs:
    s = run.settings
    model = BertForSequenceClassification(BertConfig.from_pretrained(pack.folder, num_labels=s.num_labels))
    model.load_state_dict({name: torch.tensor(array) for name, array in run.weights.items()})
    model.train(s.dropout > 0)
    decay = {name: s.decay * (not name.endswith(NO_DECAY)) for name, _ in model.named_parameters()}
    groups = [{"params": [w], "weight_decay": decay[name]} for name, w in model.named_parameters()]
    optimizer = AdamW(groups, s.learning_rate, (s.beta1, s.beta2), s.eps)
    watch = Watch(model)
    record(run, parameters=model)
    for step in run.steps:
        batch = {name: torch.tensor(array) for name, array in step.batch.items()}
        loss, logits = model(**batch)
        record(step, received=batch, hidden=watch.hidden, logits=logits, loss=loss)
        if run.trains:
            optimizer.zero_grad()
            loss.backward()
            record(step, gradients=model)
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), s.clip)
            record(step, norm=norm, clipped=model)
            for group in optimizer.param_groups:
                group["lr"] = step.learning_rate
            optimizer.step()
            record(step, parameters=model)
