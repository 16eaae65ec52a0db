"""Fine-tunes BERT in plain torch, as a pack tells it to, and records each step:
CONCORD_PACK=pack CONCORD_RECORDING=recording python train.py"""

import torch
import torch.nn.functional as F
from concord_recorder import Pack, Recorder


def bert(p, batch, s):
    def dense(name, x):
        return F.linear(x, p[name + ".weight"], p[name + ".bias"])

    def norm(name, x):
        return F.layer_norm(x, [s.width], p[name + ".weight"], p[name + ".bias"], s.layer_norm_eps)

    words, places, types = (p[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type"))
    x = F.embedding(batch["input_ids"], words, padding_idx=s.pad_id)
    x = x + places[: x.shape[1]] + types[batch["token_type_ids"]]
    x = F.dropout(norm("embeddings.LayerNorm", x), s.dropout)
    hidden = {"embeddings": x}
    mask = (1.0 - batch["attention_mask"][:, None, None]) * torch.finfo(torch.float32).min
    for n in range(s.layers):
        at = f"encoder.layer.{n}."
        parts = (dense(f"{at}attention.self.{part}", x) for part in ("query", "key", "value"))
        q, k, v = (part.unflatten(2, (s.heads, -1)).transpose(1, 2) for part in parts)
        attention = F.dropout((q @ k.mT / q.shape[3] ** 0.5 + mask).softmax(3), s.dropout)
        mixed = dense(at + "attention.output.dense", (attention @ v).transpose(1, 2).flatten(2))
        x = norm(at + "attention.output.LayerNorm", x + F.dropout(mixed, s.dropout))
        wide = F.gelu(dense(at + "intermediate.dense", x))
        narrow = F.dropout(dense(at + "output.dense", wide), s.dropout)
        hidden[f"layers/{n}"] = x = norm(at + "output.LayerNorm", x + narrow)
    hidden["pooled"] = torch.tanh(dense("pooler.dense", x[:, 0]))
    return hidden, dense("classifier", F.dropout(hidden["pooled"], s.dropout))


pack, record = Pack(), Recorder()
for run in pack.runs:
    s, decayed = run.settings, {name.replace("bert.", "") for name in run.settings.decayed}
    p = {name.replace("bert.", ""): torch.tensor(a, requires_grad=True) for name, a in run.weights.items()}
    groups = [{"params": [w], "weight_decay": s.decay * (name in decayed)} for name, w in p.items()]
    optimizer = torch.optim.AdamW(groups, betas=(s.beta1, s.beta2), eps=s.eps)
    record(run, parameters=p)
    for step in run.steps:
        batch = {name: torch.tensor(array) for name, array in step.batch.items()}
        hidden, logits = bert(p, batch, s)
        loss = F.cross_entropy(logits, batch["labels"])
        record(step, received=batch, hidden=hidden, logits=logits, loss=loss)
        if run.trains:
            optimizer.zero_grad()
            loss.backward()
            gradients = {name: w.grad for name, w in p.items()}
            record(step, gradients=gradients)
            norm = torch.nn.utils.clip_grad_norm_(p.values(), s.clip)
            record(step, norm=norm, clipped=gradients)
            for group in optimizer.param_groups:
                group["lr"] = step.learning_rate
            optimizer.step()
            record(step, parameters=p)
