"""Fine-tunes BERT in numpy, as a pack tells it to, and writes the arrays of each step as files, without a recorder:
CONCORD_PACK=pack CONCORD_RECORDING=recording python train.py"""

import json
import math
import os
from pathlib import Path

import numpy as np
from network import Bert, ours

PACK, RECORDING = Path(os.environ["CONCORD_PACK"]), Path(os.environ["CONCORD_RECORDING"])
FLOAT = np.float32


def write(at, **parts):
    for part, arrays in parts.items():
        named = {f"{part}/{name}": a for name, a in arrays.items()} if isinstance(arrays, dict) else {part: arrays}
        for name, array in named.items():
            file = RECORDING / at / f"{name}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, array)


left = {}
for run in json.loads((PACK / "pack.json").read_text())["runs"]:
    s = run["settings"]
    if run["weights"] in left:
        w = left[run["weights"]]
    else:
        weights = {name: array.astype(FLOAT) for name, array in np.load(PACK / run["weights"]).items()}
        w = ours(weights, s["layers"])
        decay = {name: np.full_like(array, s["decay"] * (name in s["decayed"])) for name, array in weights.items()}
        decay = ours(decay, s["layers"])
    m, v, model = dict.fromkeys(w, 0.0), dict.fromkeys(w, 0.0), Bert(w, s, seed=1)
    write(f"{run['name']}/0", parameters=w)
    for t, step in enumerate(run["steps"], 1):
        at, batch = f"{run['name']}/{step['name']}", dict(np.load(PACK / step["batch"]))
        hidden, logits, loss = model.forward(batch)
        write(at, received=batch, hidden=hidden, logits=logits, loss=loss)
        if run["trains"]:
            gradients = model.backward()
            norm = math.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
            clipped = {n: g * min(1.0, s["clip"] / (norm + 1e-6)) for n, g in gradients.items()}
            write(at, gradients=gradients, norm=norm, clipped=clipped)
            for n, g in clipped.items():
                m[n] = s["beta1"] * m[n] + (1 - s["beta1"]) * g
                v[n] = s["beta2"] * v[n] + (1 - s["beta2"]) * g**2
                move = m[n] / (1 - s["beta1"] ** t) / (np.sqrt(v[n] / (1 - s["beta2"] ** t)) + s["eps"])
                w[n] = w[n] - step["learning_rate"] * (move + decay[n] * w[n])
            np.savez(RECORDING / at / "parameters.npz", **w)
    left[run["name"]] = w
