"""Fine-tunes BERT with pytorch-pretrained-bert 0.6.2 on torch 2.13.0, as its examples/run_classifier.py does, and
records each step: tox run -e ports -- pytorch_pretrained_bert

Its optimizer clips, each tensor by itself; so there is no norm to record."""

import torch
from concord_recorder import Pack, Recorder
from concord_torch import Watch
from pytorch_pretrained_bert import BertAdam, BertForSequenceClassification
from torch.nn import CrossEntropyLoss

NO_DECAY = ("bias", "LayerNorm.bias", "LayerNorm.weight")


def grouped(model, decay):
    named = list(model.named_parameters())
    return [
        {"params": [p for n, p in named if not n.endswith(NO_DECAY)], "weight_decay": decay},
        {"params": [p for n, p in named if n.endswith(NO_DECAY)], "weight_decay": 0.0},
    ]


pack, record = Pack(), Recorder()
for run in pack.runs:
    s, weights = run.settings, {name: torch.tensor(array) for name, array in run.weights.items()}
    model = BertForSequenceClassification.from_pretrained(pack.folder, state_dict=weights, num_labels=s.num_labels)
    model.train(s.dropout > 0)
    settings = {"b1": s.beta1, "b2": s.beta2, "e": s.eps, "max_grad_norm": s.clip, "schedule": None}
    optimizer = BertAdam(grouped(model, s.decay), s.learning_rate, **settings)
    watch = Watch(model)
    record(run, parameters=model)
    for step in run.steps:
        batch = {name: torch.tensor(array) for name, array in step.batch.items()}
        logits = model(batch["input_ids"], batch["token_type_ids"], batch["attention_mask"])
        loss = CrossEntropyLoss()(logits, batch["labels"])
        record(step, received=batch, hidden=watch.hidden, logits=logits, loss=loss)
        if run.trains:
            optimizer.zero_grad()
            loss.backward()
            record(step, gradients=model)
            for group in optimizer.param_groups:
                group["lr"] = step.learning_rate
            optimizer.step()
            record(step, clipped=model, parameters=model)
