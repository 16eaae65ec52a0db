"""Sound variants of one port: they compute the same function, and round in another order.

    python -m tests.backends.sound_variants --pack pack --count 200

in torch's environment records the pack with each variant, checks the recording, and prints the alarms. Each variant is
drawn from its number: threads, operators written out or torch's own, feed-forward neurons and rows of the batch in
another order, the batch in two halves whose gradients are added, one of torch's three AdamW. With --precision bfloat16
or float16 also autocast, or a copy of the weights in it beside float32 ones; with --weights the weights themselves.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import typing
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.nn import functional

from backends.torch.classifier import Classifier, as_numpy
from backends.torch.reference import record
from backends.torch.replaying import replay
from backends.torch.rounding import FLOAT32, FLOAT64, LOSS_SCALE, Arithmetic, arithmetic
from benchmarks.port.answers import Answers, noises_of
from benchmarks.port.check import Check
from benchmarks.port.mapping import Names
from benchmarks.port.own_values import OwnValues
from benchmarks.port.precision import PortPrecision, noises_in
from benchmarks.port.recording import Recording
from benchmarks.port.reference import Reference
from benchmarks.port.values import Values, write_values
from recorder.concord_recorder import Map
from shared.architecture import Weights
from shared.pack import PACK_WEIGHTS, VALUE, Arrays, Pack, PackRun, write_part
from shared.reference import Replay


def layer_norm(x: torch.Tensor, shape: Any, weight: Any, bias: Any, eps: float) -> torch.Tensor:
    """LayerNorm written out, with the variance as the mean of squares less the squared mean."""
    y = x.float()  # lower precisions keep this much
    mean = y.mean(-1, keepdim=True)
    variance = (y - mean).square().mean(-1, keepdim=True)
    return ((y - mean) * torch.rsqrt(variance + eps) * weight + bias).to(x.dtype)


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
    powers = torch.exp((x - x.max(dim, keepdim=True).values).float())
    return (powers / powers.sum(dim, keepdim=True)).to(x.dtype)


OPERATORS = {"layer_norm": layer_norm, "gelu": gelu, "linear": linear, "softmax": softmax}


class Variant:
    """One sound variant."""

    def __init__(self, number: int, precision: PortPrecision = "float32", weights: bool = False) -> None:
        random = np.random.RandomState(number)
        self.random = random
        self.threads = int(random.randint(1, 3))
        self.operators = [name for name in OPERATORS if random.rand() < 0.5]
        self.permuted, self.halves = bool(random.randint(2)), bool(random.randint(2))
        self.attention = ("eager", "sdpa")[random.randint(2)]
        self.step: dict[str, bool] = ({"fused": True}, {"foreach": True}, {"foreach": False})[random.randint(3)]
        self.arithmetic, self.stored = FLOAT32, torch.float32
        if precision == "tf32":
            self.arithmetic = arithmetic("tf32", "products", number)
        elif precision != "float32":
            lower, copied = getattr(torch, precision), bool(random.randint(2))
            cast, scale = partial(torch.autocast, "cpu", lower), LOSS_SCALE if precision == "float16" else 1.0
            autocast = Arithmetic(torch.float32, cast, loss=torch.float32, scale=scale)
            all_of_it = Arithmetic(lower, loss=torch.float32, scale=scale)
            self.arithmetic = all_of_it if weights or copied else autocast
            self.stored = lower if weights else torch.float32

    def record(self, pack: Pack, out: Path) -> None:
        """Records the pack with this variant."""
        torch.set_num_threads(self.threads)
        with ExitStack() as patches:
            for name in self.operators:
                patches.enter_context(mock.patch.object(functional, name, OPERATORS[name]))
            network = Classifier.build(pack.folder, self.arithmetic)
            network.model.set_attn_implementation(self.attention)
            kept = {PACK_WEIGHTS: pack.weights}
            for run in pack.contents.runs:
                if run.name != "dropout":
                    kept[run.name] = self._run(pack, run, network, kept[run.weights], out)

    def _run(self, pack: Pack, run: PackRun, network: Classifier, weights: Weights, out: Path) -> Weights:
        orders = {
            name: self.random.permutation(len(weight)) if self.permuted else np.arange(len(weight))
            for name, weight in weights.items()
            if name.endswith("intermediate.dense.weight")
        }
        inverse = {name: np.argsort(order) for name, order in orders.items()}
        parameters = {
            name: torch.nn.Parameter(torch.from_numpy(weight.copy()).to(self.stored))
            for name, weight in neurons(weights, orders).items()
        }
        settings = run.settings
        groups = [
            {"params": [p], "weight_decay": settings.decay * (name in settings.decayed)}
            for name, p in parameters.items()
        ]
        optimizer = torch.optim.AdamW(
            groups, lr=1.0, betas=(settings.beta1, settings.beta2), eps=settings.eps, **self.step
        )

        def written(step: str, part: str, tensors: dict[str, torch.Tensor]) -> None:
            arrays = {name: as_numpy(tensor).copy() for name, tensor in tensors.items()}
            write_part(out, run.name, step, part, neurons(arrays, inverse))

        written("0", "parameters", {**parameters})
        for step in run.steps:
            network.load({name: as_numpy(p) for name, p in parameters.items()})
            network.model.zero_grad()
            self._forward(pack.batch(step), network, run, out, step.name)
            if run.trains:
                for name, parameter in network.parameters.items():
                    parameters[name].grad = None if parameter.grad is None else parameter.grad.to(self.stored)
                written(step.name, "gradients", gradients_of(parameters))
                norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), settings.clip or float("inf"))
                write_part(out, run.name, step.name, "norm", {VALUE: as_numpy(norm)})
                written(step.name, "clipped", gradients_of(parameters))
                for group in optimizer.param_groups:
                    group["lr"] = step.learning_rate
                optimizer.step()
                written(step.name, "parameters", {**parameters})
        return neurons({name: as_numpy(p).copy() for name, p in parameters.items()}, inverse)

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
                network.backward(share)
            for name, state in forward.hidden.items():
                hidden.setdefault(name, np.zeros((rows, *state.shape[1:]), np.float32))[part] = as_numpy(state)
            logits[part], loss = as_numpy(forward.logits), loss + np.float32(as_numpy(share))
        write_part(out, run.name, step, "hidden", hidden)
        write_part(out, run.name, step, "logits", {VALUE: logits})
        write_part(out, run.name, step, "loss", {VALUE: np.asarray(loss)})


def gradients_of(parameters: dict[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
    """The gradients by name; zeros if there is none."""
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in parameters.items()}


def neurons(weights: Weights, orders: dict[str, np.ndarray]) -> Weights:
    """The weights with each feed-forward's neurons in another order: the same function."""
    moved = dict(weights)
    for name, order in orders.items():
        after = name.replace("intermediate.dense", "output.dense")
        bias = name.replace("weight", "bias")
        moved |= {name: weights[name][order], bias: weights[bias][order], after: weights[after][:, order]}
    return moved


def alarms(
    pack: Pack, folder: Path, numbers: list[int], precision: PortPrecision = "float32", weights: bool = False
) -> dict[int, list[str]]:
    """Rungs that do not hold, by the variant's number. `folder` gets the reference's recordings."""
    torch.set_num_threads(1)
    exact, single, replayed = (Values(folder / name, pack) for name in ("float64", "float32", "replayed"))
    for values, way in ((exact, FLOAT64), (single, FLOAT32)):
        record(pack, values.folder, way)
    _replay(pack, single.folder, replayed.folder)
    answers, found = Answers(exact, noises_of(exact, single, replayed)), {}
    if precision != "float32":
        noises = noises_in(precision, weights, pack, answers, Reference.find({"torch": Path(sys.executable)}, 2))
        answers = replace(answers, noises=noises)
    for number in numbers:
        with tempfile.TemporaryDirectory() as scratch:
            Variant(number, precision, weights).record(pack, Path(scratch) / "recording")
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
    replay(pack, Replay(pack=str(pack.folder), recording=str(recording), out=str(out), threads=1))


def main() -> int:
    """Prints the alarms of many variants. Returns 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True, help="folder of the pack")
    parser.add_argument(
        "--precision", choices=typing.get_args(PortPrecision), default="float32", help="of the arithmetic (float32)"
    )
    parser.add_argument("--weights", action="store_true", help="weights and moments are of it too")
    parser.add_argument("--count", type=int, default=200, help="variants (200)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = alarms(
            Pack.read(options.pack), Path(scratch), list(range(options.count)), options.precision, options.weights
        )
    print(f"{options.count} sound variants, {len(found)} with an alarm")
    for number, rungs in found.items():
        print(f"  variant {number}: {', '.join(rungs)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
