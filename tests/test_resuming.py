"""Checkpoints of the training loop, with a softmax regression that is killed at any step."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.answer import Event, Fit, Remarked
from shared.batching import Batch
from shared.errors import InputError
from shared.finetune import finetune
from shared.job import Every
from shared.resuming import Checkpoints
from tests.test_finetune import RECIPE, Compiling, SoftmaxRegression, data

BEST = replace(RECIPE, keep="best", eval_before=True, learning_rate=1.0)
METRICS = ("accuracy", "mcc")


class KilledError(BaseException):
    """Ends a training as abruptly as a process can without ending itself."""


class Mortal(SoftmaxRegression):
    """Draws noise from a stream that it owns, and is killed in its step of this number."""

    def __init__(self, kill: int | None = None) -> None:
        super().__init__()
        self.kill, self.noise = kill, np.random.RandomState(5)

    def train_step(self, batch: Batch, learning_rate: float) -> Callable[[], tuple[float, int]]:
        if len(self.batches) + 1 == self.kill:
            raise KilledError
        read = super().train_step(batch, learning_rate)
        self.kernel += learning_rate * self.noise.normal(size=self.kernel.shape)
        return read

    def state(self) -> Iterator[tuple[str, np.ndarray]]:
        yield from super().state()
        _, words, position, *_ = self.noise.get_state()
        yield "noise", np.array([*words, position])

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        super().restore(state)
        *words, position = state["noise"]
        self.noise.set_state(("MT19937", np.array(words, np.uint32), int(position), 0, 0.0))


def train(
    checkpoints: Checkpoints | None, kill: int | None = None, model: SoftmaxRegression | None = None, train: int = 10
) -> tuple[Fit, dict[str, Any], list[str]]:
    """The answer, what must be the same of it bit by bit, and the remarks."""
    events: list[Event] = []
    model = model or Mortal(kill)
    run = finetune(model, data(train), BEST, METRICS, events.append, checkpoints=checkpoints)
    fit = run.fit
    same = {name: getattr(fit, name) for name in ("received", "step_loss", "step_accuracy", "kept_epoch", "test")}
    same |= {"before": fit.dev_before, "by_epoch": [epoch.dev for epoch in fit.epochs]}
    same |= {"counts": [(e.steps, e.rows, e.tokens, e.padded_tokens, e.train_loss) for e in fit.epochs]}
    same |= {name: array.tobytes() for name, array in {**run.logits, **model.weights()}.items()}
    return fit, same, [event.line for event in events if isinstance(event, Remarked)]


WHOLE = train(None)[1]
"""A recipe of nine steps, three in each epoch."""


@pytest.mark.parametrize("every", ["epoch", 1, 2, 3, 4, 100])
def test_a_training_killed_at_any_step_ends_as_one_that_was_not(tmp_path: Path, every: Every) -> None:
    for kill in range(1, 10):
        checkpoints = Checkpoints(tmp_path / str(kill), b"job", every)
        with pytest.raises(KilledError):
            train(checkpoints, kill)
        fit, same, remarks = train(checkpoints)
        size = 3 if every == "epoch" else every
        kept = (kill - 1) // size * size
        assert same == WHOLE
        assert fit.interruptions == (kept > 0)
        assert remarks == ([f"goes on after step {kept} of 9"] if kept else [])


def test_interruptions_are_counted(tmp_path: Path) -> None:
    """Those before the first checkpoint, of which nothing is left, are not."""
    checkpoints = Checkpoints(tmp_path / "checkpoint", b"job", 2)
    for kill in (1, 4, 1, 3, 2):  # after steps 0, 2, 2, 4, 4
        with pytest.raises(KilledError):
            train(checkpoints, kill)
    fit, same, _ = train(checkpoints)
    assert (fit.interruptions, same) == (4, WHOLE)


def test_a_training_that_was_over_is_only_tested_again(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoint", b"job", "epoch")
    assert train(checkpoints)[1] == WHOLE
    model = Mortal(kill=1)
    fit, same, _ = train(checkpoints, model=model)
    assert (same, model.calls.count("train_step")) == (WHOLE, 0)
    assert fit.first_step_seconds > 0


def test_one_checkpoint_is_kept(tmp_path: Path) -> None:
    """A part that a killed process left of the next is none."""
    folder = tmp_path / "checkpoint"
    checkpoints = Checkpoints(folder, b"job", 2)
    with pytest.raises(KilledError):
        train(checkpoints, kill=8)
    assert [path.name.split("-")[0] for path in folder.iterdir()] == ["000000006"]
    (folder / "partial").write_bytes(b"PK")
    fit, same, remarks = train(checkpoints)
    assert (fit.interruptions, same, remarks) == (1, WHOLE, ["goes on after step 6 of 9"])
    assert sorted(path.name.split("-")[0] for path in folder.iterdir()) == ["000000008", "interruptions"]


@pytest.fixture
def killed(tmp_path: Path) -> Checkpoints:
    """Checkpoints of a training that was killed in its eighth step."""
    checkpoints = Checkpoints(tmp_path / "checkpoint", b"job", 2)
    with pytest.raises(KilledError):
        train(checkpoints, kill=8)
    return checkpoints


def test_a_checkpoint_that_is_damaged_or_foreign_is_not_used(killed: Checkpoints) -> None:
    """Wherever a byte is flipped or the file is cut; the training ends as it should."""
    (file,) = killed.folder.glob("*.npz")
    content, saved = file.read_bytes(), killed.folder.with_name("saved")
    shutil.copytree(killed.folder, saved)

    def refused(checkpoints: Checkpoints) -> None:
        fit, same, remarks = train(checkpoints)
        assert (fit.interruptions, same) == (0, WHOLE)
        assert remarks == [f"{file} is damaged, or of another training, and is not used"]
        shutil.rmtree(killed.folder)
        shutil.copytree(saved, killed.folder)

    for place in range(0, len(content), len(content) // 20):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        for damaged in (bytes(flipped), content[:place]):
            file.write_bytes(damaged)
            refused(killed)
    file.write_bytes(content)
    refused(replace(killed, job=b"another job"))
    assert train(killed)[0].interruptions == 1


def test_a_checkpoint_of_other_rows_is_not_used(killed: Checkpoints) -> None:
    fit, _, remarks = train(killed, train=9)
    assert (fit.interruptions, len(fit.step_loss)) == (0, 9)
    assert remarks == [f"{killed.folder} is damaged, or of another training, and is not used"]


def test_a_checkpoint_that_the_model_does_not_know_is_refused_once(killed: Checkpoints) -> None:
    """As an earlier version of an adapter may have left it."""

    class Other(Mortal):
        def restore(self, state: Mapping[str, np.ndarray]) -> None:
            self.kernel = state["matrix"]

    with pytest.raises(InputError, match="is another adapter's; the same command starts anew"):
        train(killed, model=Other())
    fit, same, _ = train(killed, model=Other())
    assert (fit.interruptions, same) == (0, WHOLE)


def test_a_disk_that_takes_no_checkpoint_ends_no_training(killed: Checkpoints) -> None:
    """The one before stays."""
    before = list(killed.folder.glob("*.npz"))
    (killed.folder / "partial").symlink_to("/dev/full")
    (killed.folder / "interruptions").symlink_to("/dev/full")
    fit, same, remarks = train(killed)
    assert (fit.interruptions, same) == (1, WHOLE)
    assert remarks[1:] == [f"{killed.folder} takes no checkpoint: No space left on device; make room"]
    assert list(killed.folder.glob("*.npz")) == before


def test_the_first_step_of_each_process_is_told_apart(tmp_path: Path) -> None:
    """Also of the first process, and if nothing is compiled. No time between is counted."""
    checkpoints = Checkpoints(tmp_path / "checkpoint", b"job", 2)
    with pytest.raises(KilledError):
        train(checkpoints, kill=6)
    kept = checkpoints.read()[0]
    assert kept is not None
    fit, _, _ = train(checkpoints)
    assert [epoch.first_tokens for epoch in fit.epochs] == [4 * 8, 4 * 8, 0]
    assert fit.first_step_seconds == kept.progress.first_step_seconds == fit.epochs[0].first_seconds
    assert 0 < fit.epochs[1].first_seconds < fit.epochs[1].seconds - kept.progress.current.seconds
    assert fit.epochs[0].seconds == kept.progress.epochs[0].seconds
    steady, measured = fit.steady_epoch_seconds(), [epoch.seconds for epoch in fit.epochs]
    pace = (sum(measured) - sum(epoch.first_seconds for epoch in fit.epochs)) / (3 * 10 * 8 - 2 * 4 * 8)
    assert steady == pytest.approx([e.seconds - e.first_seconds + pace * e.first_tokens for e in fit.epochs])


def test_times_on_programs_add_up_over_processes(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoint", b"job", 2)
    model: Any = Compiling()
    step, numbers = model.train_step, itertools.count(1)

    def dying(batch: Batch, rate: float) -> Callable[[], tuple[float, int]]:
        if next(numbers) == 6:
            raise KilledError
        result: Callable[[], tuple[float, int]] = step(batch, rate)
        return result

    model.train_step = dying
    with pytest.raises(KilledError):
        train(checkpoints, model=model)
    fit, _, _ = train(checkpoints, model=Compiling())
    # A full batch and a short one are two shapes. The second process takes steps 5 and 6, and the third epoch.
    assert [epoch.program_seconds for epoch in fit.epochs] == [1.0, 1.0, 0.0]
    assert [epoch.first_tokens for epoch in fit.epochs] == [(4 + 2) * 8, (4 + 2) * 8, 0]
