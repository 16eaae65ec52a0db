"""Fine-tunes BERT with pytorch-pretrained-bert 0.6.2 on torch 2.13.0, as the tutorials of 2019 do, and
records each step: tox run -e ports -- pytorch_pretrained_bert

The optimizer clips, each tensor by itself, so that there is no global norm to record."""

import torch
from concord_recorder import Pack, Recorder
from concord_torch import Watch
from pytorch_pretrained_bert import BertAdam, BertConfig, BertForSequenceClassification
from torch.nn import CrossEntropyLoss

NO_DECAY = ("bias", "LayerNorm.bias", "LayerNorm.weight")


pack, record = Pack(), Recorder()
torch.manual_seed(1)
for run in pack.runs:
    s = run.settings
    model = BertForSequenceClassification(BertConfig.from_json_file(pack.path("config.json")), s.num_labels)
    model.load_state_dict({name: torch.tensor(array) for name, array in run.weights.items()})
    model.train(s.dropout > 0)
    decay = {name: s.decay * (not name.endswith(NO_DECAY)) for name, _ in model.named_parameters()}
    groups = [{"params": [w], "weight_decay": decay[name]} for name, w in model.named_parameters()]
    settings = {"b1": s.beta1, "b2": s.beta2, "e": s.eps, "max_grad_norm": s.clip, "schedule": None}
    optimizer = BertAdam(groups, s.learning_rate, **settings)
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
