"""Holds a port's values to those that should follow from its own values below them.

So one recording shows several faults: a rung that fails because of what came before holds by its own values.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from benchmarks.parity.ladder import Differences
from benchmarks.port.own import Adam, clipped, cross_entropy, global_norm
from benchmarks.port.values import HIDDEN, Values, first_moving
from shared.architecture import Weights
from shared.pack import PackRun
from shared.sketches import unsketched


@dataclass(frozen=True)
class OwnValues:
    """A recording, and what the reference computed from it in float64."""

    values: Values
    replayed: Values

    def of_rung(self, rung: str) -> Differences | None:
        """Differences at a rung; None if what is needed was not recorded, or if nothing lies below the rung."""
        pack = self.values.pack
        run = pack.run("steep" if rung.endswith("steep") else "train")
        name = rung.removesuffix(", steep")
        if name in HIDDEN and name != "embeddings":
            return self._above_recorded(self.values.hidden(name), self.replayed.hidden(name))
        if name == "logits":
            mine, right = (values.part("eval", "1", name) for values in (self.values, self.replayed))
            return _between(mine, right) if "pooled" in (self.values.part("eval", "1", "hidden") or {}) else None
        if name == "loss":
            return self._loss()
        if name in ("gradients", "norm", "clipped"):
            return self._gradients(run, name)
        if name in ("first step", "last step"):
            return self._steps(run, first=name == "first step")
        if name == "losses":
            return _between(self.values.each(run.name, "loss"), self.replayed.each(run.name, "loss"))
        if name == "dev":
            return _between(self.values.each("dev", "logits"), self.replayed.each("dev", "logits"))
        return None

    def _above_recorded(self, mine: Weights | None, right: Weights | None) -> Differences | None:
        """Differences of the states right above one that was recorded."""
        order = list(self.values.pack.wanted.shapes("eval", "1", "hidden") or {})
        recorded = (self.values.part("eval", "1", "hidden") or {}).keys()
        above = {name for below, name in pairwise(order) if below in recorded}
        return _between({name: state for name, state in (mine or {}).items() if name in above}, right)

    def _loss(self) -> Differences | None:
        loss, logits = self.values.each("eval", "loss"), self.values.each("eval", "logits")
        if loss is None or logits is None:
            return None
        pack = self.values.pack
        labels = pack.batch(pack.run("eval").steps[0])["labels"]
        found = Differences()
        found.add("value", loss["1"], cross_entropy(logits["1"], labels))
        return found

    def _gradients(self, run: PackRun, name: str) -> Differences | None:
        """Every step: gradients from the parameters before it, and norm and clipped gradients from the gradients."""
        found = Differences()
        for step in run.steps:
            mine = self.values.part(run.name, step.name, name)
            if name == "gradients":
                right = self.replayed.part(run.name, step.name, name)
            else:
                below = self.values.part(run.name, step.name, "gradients")
                count = len(self.values.pack.wanted.parts["gradients"])
                if below is not None and len(unsketched(below)) < count > len(below) - len(unsketched(below)):
                    return None
                right = below and (
                    {"value": global_norm(below)} if name == "norm" else clipped(below, run.settings.clip)
                )
            _add(found, mine, right)
        return found if found.errors else None

    def _steps(self, run: PackRun, first: bool) -> Differences | None:
        """The update of each step, up to the first that moves the weights or after it, from the parameters before it
        and the gradients so far, as far as they are whole."""
        adam, found, begun = Adam(run.settings), Differences(), False
        before = self._parameters(run, "0")
        for step in run.steps:
            gradients = self.clipped(run, step.name)
            if gradients is None:
                break
            after = self._parameters(run, step.name)
            if before is None:  # the moments go on
                adam.step(dict.fromkeys(gradients, 0.0), gradients, step.learning_rate)  # type: ignore[arg-type]
            else:
                right = adam.step(before, gradients, step.learning_rate)
                if begun != first:
                    _add(found, after, right)
            before, begun = after, begun or step.name == first_moving(run)
        return found if found.errors else None

    def clipped(self, run: PackRun, step: str) -> Weights | None:
        """The port's clipped gradients; if it did not record these, what its gradients give."""
        own = self.values.part(run.name, step, "clipped")
        if own is not None:
            return unsketched(own)
        gradients = self.values.part(run.name, step, "gradients")
        return None if gradients is None else unsketched(clipped(gradients, run.settings.clip))

    def _parameters(self, run: PackRun, step: str) -> Weights | None:
        found = self.values.part(run.name, step, "parameters")
        return None if found is None else unsketched(found)


def _between(mine: Weights | None, right: Weights | None) -> Differences | None:
    found = Differences()
    _add(found, mine, right)
    return found if found.errors else None


def _add(found: Differences, mine: Weights | None, right: Weights | None) -> None:
    """Adds the arrays that both have; of an array that the port has cut, its part."""
    if mine is None or right is None:
        return
    for name, array in mine.items():
        if name in right:
            found.add(name, array, right[name][tuple(slice(size) for size in array.shape)])
