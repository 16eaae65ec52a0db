"""Sound variants of one port: they compute the same function, and round in another order.

    python -m tests.backends.sound_variants --pack pack --count 200

in torch's environment records the pack with each variant, checks the recording, and prints the alarms. Each variant is
drawn from its number: threads, operators written out or torch's own, feed-forward neurons and rows of the batch in
another order, the batch in two halves whose gradients are added, one of torch's three AdamW.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.nn import functional

from backends.torch.classifier import Classifier
from backends.torch.reference import record, replay
from benchmarks.port.answers import Answers, noises_of
from benchmarks.port.check import Check
from benchmarks.port.mapping import Names
from benchmarks.port.own_values import OwnValues
from benchmarks.port.recording import Recording
from benchmarks.port.values import Values, write_values
from recorder.concord_recorder import Map
from shared.architecture import Weights
from shared.pack import PACK_WEIGHTS, VALUE, Arrays, Pack, PackRun, write_part
from shared.reference import Replay


def layer_norm(x: torch.Tensor, shape: Any, weight: Any, bias: Any, eps: float) -> torch.Tensor:
    """LayerNorm written out, with the variance as the mean of squares less the squared mean."""
    mean = x.mean(-1, keepdim=True)
    variance = (x - mean).square().mean(-1, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + eps) * weight + bias


def gelu(x: torch.Tensor, approximate: str = "none") -> torch.Tensor:
    """GELU written out."""
    return x * 0.5 * (1.0 + torch.erf(x * 0.7071067811865476))


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """A linear layer as two halves of its sum."""
    half = weight.shape[1] // 2
    y = x[..., :half] @ weight[:, :half].T + x[..., half:] @ weight[:, half:].T
    return y if bias is None else y + bias


def softmax(x: torch.Tensor, dim: int = -1, **_: Any) -> torch.Tensor:
    """Softmax written out."""
    powers = torch.exp(x - x.max(dim, keepdim=True).values)
    return powers / powers.sum(dim, keepdim=True)


OPERATORS = {"layer_norm": layer_norm, "gelu": gelu, "linear": linear, "softmax": softmax}


class Variant:
    """One sound variant."""

    def __init__(self, number: int) -> None:
        random = np.random.RandomState(number)
        self.random = random
        self.threads = int(random.randint(1, 3))
        self.operators = [name for name in OPERATORS if random.rand() < 0.5]
        self.permuted, self.halves = bool(random.randint(2)), bool(random.randint(2))
        self.attention = ("eager", "sdpa")[random.randint(2)]
        self.step: dict[str, bool] = ({"fused": True}, {"foreach": True}, {"foreach": False})[random.randint(3)]

    def record(self, pack: Pack, out: Path) -> None:
        """Records the pack with this variant."""
        torch.set_num_threads(self.threads)
        with ExitStack() as patches:
            for name in self.operators:
                patches.enter_context(mock.patch.object(functional, name, OPERATORS[name]))
            network = Classifier.build(pack.folder, "float32")
            network.model.set_attn_implementation(self.attention)
            kept = {PACK_WEIGHTS: pack.weights}
            for run in pack.contents.runs:
                if run.name != "dropout":
                    kept[run.name] = self._run(pack, run, network, kept[run.weights], out)

    def _run(self, pack: Pack, run: PackRun, network: Classifier, weights: Weights, out: Path) -> Weights:
        network.load(weights)
        orders = {
            name: self.random.permutation(len(weight)) if self.permuted else np.arange(len(weight))
            for name, weight in weights.items()
            if name.endswith("intermediate.dense.weight")
        }
        network.load(neurons(network.weights(), orders))
        inverse = {name: np.argsort(order) for name, order in orders.items()}
        settings, parameters = run.settings, network.parameters
        groups = [
            {"params": [p], "weight_decay": settings.decay * (name in settings.decayed)}
            for name, p in parameters.items()
        ]
        optimizer = torch.optim.AdamW(
            groups, lr=1.0, betas=(settings.beta1, settings.beta2), eps=settings.eps, **self.step
        )
        write_part(out, run.name, "0", "parameters", neurons(network.weights(), inverse))
        for step in run.steps:
            optimizer.zero_grad()
            self._forward(pack.batch(step), network, run, out, step.name)
            if run.trains:
                write_part(out, run.name, step.name, "gradients", neurons(network.gradients(), inverse))
                norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), settings.clip or float("inf"))
                write_part(out, run.name, step.name, "norm", {VALUE: norm.detach().numpy()})
                write_part(out, run.name, step.name, "clipped", neurons(network.gradients(), inverse))
                for group in optimizer.param_groups:
                    group["lr"] = step.learning_rate
                optimizer.step()
                write_part(out, run.name, step.name, "parameters", neurons(network.weights(), inverse))
        return neurons(network.weights(), inverse)

    def _forward(self, batch: Arrays, network: Classifier, run: PackRun, out: Path, step: str) -> None:
        """Records states and loss, and leaves the gradients. Rows come in another order, perhaps in two halves."""
        rows = len(batch["labels"])
        order = self.random.permutation(rows)
        parts = np.array_split(order, 2) if self.halves else [order]
        hidden: dict[str, np.ndarray] = {}
        logits, loss = np.zeros((rows, run.settings.num_labels), np.float32), np.float32(0)
        for part in parts:
            forward = network.forward({name: array[part] for name, array in batch.items()})
            share = forward.loss * (len(part) / rows)
            if run.trains:
                share.backward()
            for name, state in forward.hidden.items():
                hidden.setdefault(name, np.zeros((rows, *state.shape[1:]), np.float32))[part] = state.detach()
            logits[part], loss = forward.logits.detach(), loss + share.detach().numpy()
        write_part(out, run.name, step, "hidden", hidden)
        write_part(out, run.name, step, "logits", {VALUE: logits})
        write_part(out, run.name, step, "loss", {VALUE: np.asarray(loss)})


def neurons(weights: Weights, orders: dict[str, np.ndarray]) -> Weights:
    """The weights with each feed-forward's neurons in another order: the same function."""
    moved = dict(weights)
    for name, order in orders.items():
        after = name.replace("intermediate.dense", "output.dense")
        bias = name.replace("weight", "bias")
        moved |= {name: weights[name][order], bias: weights[bias][order], after: weights[after][:, order]}
    return moved


def alarms(pack: Pack, folder: Path, numbers: list[int]) -> dict[int, list[str]]:
    """Rungs that do not hold, by the variant's number. `folder` gets the reference's recordings."""
    torch.set_num_threads(1)
    exact, single, replayed = (Values(folder / name, pack) for name in ("float64", "float32", "replayed"))
    for values, precision in ((exact, "float64"), (single, "float32")):
        record(pack, values.folder, precision)
    _replay(pack, single.folder, replayed.folder)
    answers, found = Answers(exact, noises_of(exact, single, replayed)), {}
    for number in numbers:
        with tempfile.TemporaryDirectory() as scratch:
            Variant(number).record(pack, Path(scratch) / "recording")
            wrong = failing(pack, Path(scratch) / "recording", Path(scratch), answers)
        if wrong:
            found[number] = wrong
    return found


def failing(pack: Pack, folder: Path, scratch: Path, answers: Answers) -> list[str]:
    """Rungs of a recording under the pack's names that do not hold, each with its verdict."""
    shapes = pack.wanted.parts["parameters"]
    names = Names(Map({name: {"from": name, "shape": shape} for name, shape in shapes.items()}), [])
    recording = Recording.read(folder, pack)
    mine = write_values(recording, names, pack, scratch / "mine")
    _replay(pack, mine.folder, scratch / "replayed")
    own = OwnValues(mine, Values(scratch / "replayed", pack))
    check = Check(pack, names, recording, mine, own, answers)
    return [f"{found.rung} {found.state}" for found in check.found() if found.state not in ("holds", "not seen")]


def _replay(pack: Pack, recording: Path, out: Path) -> None:
    replay(Replay(pack=str(pack.folder), recording=str(recording), out=str(out), threads=1))


def main() -> int:
    """Prints the alarms of many variants. Returns 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True, help="folder of the pack")
    parser.add_argument("--count", type=int, default=200, help="variants (200)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = alarms(Pack.read(options.pack), Path(scratch), list(range(options.count)))
    print(f"{options.count} sound variants, {len(found)} with an alarm")
    for number, rungs in found.items():
        print(f"  variant {number}: {', '.join(rungs)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
