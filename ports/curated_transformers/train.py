"""Fine-tunes BERT with curated-transformers 2.0.1 on torch 2.13.0, and records each step:
tox run -e ports -- curated_transformers

The library has the encoder, and reads HuggingFace's names. Pooler, head, loss, clipping and optimizer are torch's."""

import json
from pathlib import Path

import torch
from concord_recorder import Pack, Recorder
from curated_transformers.layers import AttentionMask
from curated_transformers.models import BERTEncoder
from torch import nn
from torch.nn.functional import cross_entropy

NO_DECAY = ("bias", "norm.weight")


class Classifier(BERTEncoder):
    def __init__(self, config, s):
        super().__init__(config)
        self.pooler = nn.ModuleDict({"dense": nn.Linear(s.width, s.width)})
        self.dropout, self.classifier = nn.Dropout(s.dropout), nn.Linear(s.width, s.num_labels)

    def forward(self, batch):
        mask = AttentionMask(batch["attention_mask"] == 1)
        states = super().forward(batch["input_ids"], mask, type_ids=batch["token_type_ids"]).all_outputs
        pooled = torch.tanh(self.pooler["dense"](states[-1][:, 0]))
        hidden = {"embeddings": states[0], "layers": states[1:], "pooled": pooled}
        return hidden, self.classifier(self.dropout(pooled))


pack, record = Pack(), Recorder()
torch.manual_seed(1)
config = BERTEncoder.config_from_hf(json.loads(Path(pack.path("config.json")).read_text()))
for run in pack.runs:
    s, model = run.settings, Classifier(config, run.settings)
    weights = {name: torch.tensor(array) for name, array in run.weights.items()}
    model.load_state_dict(BERTEncoder.state_dict_from_hf(weights))
    model.train(s.dropout > 0)
    decay = {name: s.decay * (not name.endswith(NO_DECAY)) for name, _ in model.named_parameters()}
    groups = [{"params": [w], "weight_decay": decay[name]} for name, w in model.named_parameters()]
    optimizer = torch.optim.AdamW(groups, betas=(s.beta1, s.beta2), eps=s.eps)
    record(run, parameters=model)
    for step in run.steps:
        batch = {name: torch.tensor(array) for name, array in step.batch.items()}
        hidden, logits = model(batch)
        loss = cross_entropy(logits, batch["labels"])
        record(step, received=batch, hidden=hidden, logits=logits, loss=loss)
        if run.trains:
            optimizer.zero_grad()
            loss.backward()
            record(step, gradients=model)
            norm = nn.utils.clip_grad_norm_(model.parameters(), s.clip)
            record(step, norm=norm, clipped=model)
            for group in optimizer.param_groups:
                group["lr"] = step.learning_rate
            optimizer.step()
            record(step, parameters=model)
