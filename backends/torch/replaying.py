"""Computes what should follow from a port's recorded values, with mistakes that explain the port or without."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backends.torch.classifier import Classifier, Forward, as_numpy
from backends.torch.network_changes import CHANGES as NETWORK
from backends.torch.network_changes import changed
from backends.torch.rounding import FLOAT64
from shared.architecture import Weights
from shared.pack import BY_PARAMETER, PACK_WEIGHTS, VALUE, Arrays, Pack, PackRun, PackStep, part_file, write_part
from shared.reference import Adopted, Replay
from shared.rules.gradients import CHANGES as GRADIENTS
from shared.rules.gradients import Gradients, Kept
from shared.rules.loss import CHANGES as LOSS
from shared.rules.loss import Loss
from shared.sketches import sketches_of, unsketched

TABLES = ("word_embeddings.weight", "token_type_embeddings.weight", "position_embeddings.weight")


@dataclass(frozen=True)
class Rules:
    """Loss and gradients as they follow from the network's logits."""

    loss: Loss
    slope: Loss
    """The loss whose slope gradients follow from."""
    gradients: Gradients


@dataclass
class Replaying:
    """A pack, a recording, the network, and mistakes."""

    pack: Pack
    recording: Path
    network: Classifier
    adopted: list[Adopted] = field(default_factory=list)
    loaded: tuple[str, int] | None = None
    """Run and number of the step whose weights the network has."""

    @contextmanager
    def mistaken(self, adopted: list[Adopted]) -> Iterator[Rules]:
        """The network with these mistakes, and their other rules."""
        loss, slope, gradients, network = Loss(), Loss(), Gradients(), []
        for one in adopted:
            name, places = one.term.id, None if one.places is None else frozenset(one.places)
            if name in NETWORK:
                network.append((name, one.term.number, places))
            elif name in LOSS:
                if places is None or "loss" in places:
                    loss = LOSS[name](loss, one.term.numbers)
                if places is None or "gradients" in places:
                    slope = LOSS[name](slope, one.term.numbers)
            elif name in GRADIENTS:
                gradients = GRADIENTS[name](gradients, one.term.number)
        with changed(self.network, network):
            yield Rules(loss, slope, gradients)

    def load(self, run: PackRun, number: int) -> bool:
        """Loads the port's parameters before a step of the run, counted from 0, in place of the pack's. False if it did
        not record them."""
        if self.loaded != (run.name, number):
            weights = self._weights_before(run, number)
            if weights is None:
                return False
            self.network.load(weights)
            self.network.find_places(self.pack.batch(run.steps[number]))
            self.loaded = run.name, number
        return True

    def step(
        self, run: PackRun, number: int, adopted: list[Adopted], apart: bool = False
    ) -> tuple[Forward, float, Arrays]:
        """Forward pass, loss and gradients of a step from the port's parameters, which are loaded; none for a run that
        does not train."""
        batch = self.batch(run, number, adopted)
        with self.mistaken(adopted) as rules, ExitStack() as hooks:
            kept: dict[str, torch.Tensor] = {}
            if apart:
                keep_words(self.network, kept, hooks)
            for parameter in self.network.parameters.values():  # a mistake may hide some from the model's own list
                parameter.grad = None
            forward = self.network.forward(batch)
            given = forward.logits.detach().double().numpy(), batch["labels"]
            loss = rules.loss(*given)[0]
            if not run.trains:
                return forward, loss, {}
            slope = torch.from_numpy(rules.slope(*given)[1]).to(forward.logits.dtype)
            forward.logits.backward(slope)
            made = rules.gradients(self.network.gradients(), self.kept(run, number, rules.gradients))
            return forward, loss, made | (squares_apart(self.network, kept["words"], batch) if apart else {})

    def batch(self, run: PackRun, number: int, adopted: list[Adopted]) -> Arrays:
        """The batch of a step; another one's if the order is mistaken."""
        for one in adopted:
            if one.term.id == "batches-swapped" and run.trains:
                number = int(one.term.numbers[number])
        return self.pack.batch(run.steps[number])

    def part(self, run: PackRun, step: str, part: str) -> Weights | None:
        """A part that the port recorded; None if it did not."""
        file = part_file(self.recording, run.name, step, part)
        if not file.is_file():
            return None
        with np.load(file) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def write(self, out: Path, apart: bool) -> None:
        """Writes the values that follow from the recording's own, for each step that it makes possible: states of each
        layer from those below it, and loss, logits and gradients from the parameters before the step."""
        for run in self.pack.contents.runs:
            for number, step in enumerate(run.steps):
                if not self.load(run, number):
                    continue
                forward, loss, gradients = self.step(run, number, self.adopted, apart)
                write_forward(self.pack, out, run, step, forward, loss)
                if run.trains:
                    squares = {name: array for name, array in gradients.items() if name.startswith("apart/")}
                    made = {name: array for name, array in gradients.items() if name not in squares}
                    whole = unsketched(self.part(run, step.name, "gradients") or {})
                    write_wanted(self.pack, out, run.name, step.name, "gradients", partial(dict, made), whole)
                    if apart:
                        named = {name.removeprefix("apart/"): array for name, array in squares.items()}
                        write_part(out, run.name, step.name, "apart", named)
                elif run.name != "dropout" and (own := self.part(run, step.name, "hidden")):
                    with torch.no_grad(), self.mistaken(self.adopted):
                        forward = self.network.forward(self.pack.batch(step), own)
                        write_forward(self.pack, out, run, step, forward, loss)

    def kept(self, run: PackRun, number: int, rule: Gradients) -> Kept:
        """The port's gradients of the step before, if the rule adds them."""
        if number == 0 or rule.adds == "nothing":
            return Kept({}, {})
        before = run.steps[number - 1].name
        parts = (self.part(run, before, part) or {} for part in ("gradients", "clipped"))
        return Kept(*parts)

    def _weights_before(self, run: PackRun, number: int) -> Weights | None:
        """The port's parameters in place of the pack's; None if it did not record all of them."""
        if run.weights != PACK_WEIGHTS:
            before = self.pack.run(run.weights)
            own, first = self.part(before, before.steps[-1].name, "parameters"), False
        else:
            own = self.part(run, str(number) if run.trains else "0", "parameters")
            first = number == 0 or not run.trains
        own = unsketched(own or {})
        return self.pack.weights | own if first or own.keys() >= self.pack.weights.keys() else None


def replay(pack: Pack, question: Replay) -> None:
    """Writes the values that follow from a recording's own, in float64."""
    network = Classifier.build(pack.folder, FLOAT64)
    Replaying(pack, Path(question.recording), network, question.adopted).write(Path(question.out), question.apart)


def write_forward(pack: Pack, out: Path, run: PackRun, step: PackStep, forward: Forward, loss: Any) -> None:
    """Writes states, logits and loss, as far as the pack wants them."""
    write = partial(write_wanted, pack, out, run.name, step.name)
    write("hidden", lambda: {name: as_numpy(state) for name, state in forward.hidden.items()})
    write("logits", lambda: {VALUE: as_numpy(forward.logits)})
    write("loss", lambda: {VALUE: np.asarray(loss)})


def write_wanted(
    pack: Pack, out: Path, run: str, step: str, part: str, arrays: Callable[[], Arrays], whole: Collection[str] = ()
) -> None:
    """Writes the part if the pack wants it; if it wants sketches, with the whole arrays of these names."""
    if pack.wanted.shapes(run, step, part) is not None:
        sketches = pack.wanted.sketches and part in BY_PARAMETER
        write_part(out, run, step, part, sketches_of(arrays(), whole) if sketches else arrays())


def keep_words(network: Classifier, kept: dict[str, torch.Tensor], hooks: ExitStack) -> None:
    """Keeps the word embeddings of the batch, with their gradient."""
    for name, module in network.model.named_modules():
        if name.endswith("word_embeddings"):

            def keep(_: Any, __: Any, output: torch.Tensor) -> None:
                output.retain_grad()
                kept["words"] = output

            hooks.enter_context(module.register_forward_hook(keep))


def squares_apart(network: Classifier, words: torch.Tensor, batch: Arrays) -> Arrays:
    """For each table of embeddings, squares of the gradients of its rows, [rows, width], each look-up squared apart.
    What flows back into a word, its type and its position is the same."""
    assert words.grad is not None
    squares = words.grad.square().numpy()
    places = np.broadcast_to(np.arange(squares.shape[1]), squares.shape[:2])
    ids = {TABLES[0]: batch["input_ids"], TABLES[1]: batch["token_type_ids"], TABLES[2]: places}
    found: Arrays = {}
    for name, parameter in network.parameters.items():
        table = next((table for table in TABLES if name.endswith(table)), None)
        if table and parameter.shape[1] == squares.shape[2]:
            found[f"apart/{name}"] = np.zeros(tuple(parameter.shape))
            np.add.at(found[f"apart/{name}"], ids[table].ravel(), squares.reshape(-1, squares.shape[2]))
            found[f"apart/{name}"][~parameter.grad.numpy().any(1)] = 0.0  # the pad token's row, if it is not trained
    return found
