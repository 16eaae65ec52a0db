"""The reference that ports are compared with: transformers' own classifier, of any architecture, on the CPU.

    python -m backends.torch.reference FOLDER

answers the question in the folder (shared/reference.py). Dropout is off everywhere.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from backends.torch.changes import record_changed
from backends.torch.classifier import SEED, Classifier, as_numpy
from backends.torch.explain import explain
from backends.torch.losses import explain_losses
from backends.torch.mistaken import train
from backends.torch.optimizer import Optimizer
from backends.torch.replaying import replay, write_forward, write_wanted
from backends.torch.rounding import FLOAT32, FLOAT64, Arithmetic, arithmetic
from backends.worker import end_with_the_launcher
from shared.answer import Event, Fit
from shared.architecture import Weights
from shared.errors import InputError
from shared.files import from_json, to_json, write_whole
from shared.job import ANSWER, ERROR, EVENTS, JOB
from shared.pack import PACK_WEIGHTS, VALUE, Arrays, Pack, PackRun
from shared.reference import (
    Describe,
    Described,
    Done,
    Explain,
    Explained,
    ExplainLosses,
    LossesExplained,
    Question,
    Record,
    RecordChanged,
    RecordRounded,
    Replay,
    Train,
)

Answer = Described | Done | Explained | LossesExplained | Fit


def record(pack: Pack, out: Path, arithmetic: Arithmetic, whole: Collection[str] = (), ladder: bool = False) -> None:
    """Answers every run of the pack, as far as it is wanted; if it wants sketches, with the whole arrays of these
    parameters beside them. `ladder`: see `shared.reference.Record`."""
    network = Classifier.build(pack.folder, arithmetic)
    kept = {PACK_WEIGHTS: pack.weights}
    needed = {run.weights for run in pack.contents.runs}
    for run in pack.contents.runs:
        if run.name == "dropout":  # its shares follow from the rate
            continue
        network.load(kept[run.weights])
        _record_run(pack, run, network, out, whole, ladder)
        if run.name in needed:
            kept[run.name] = {name: array.copy() for name, array in network.weights().items()}


def _record_run(pack: Pack, run: PackRun, network: Classifier, out: Path, whole: Collection[str], ladder: bool) -> None:
    """Records one run. The network then has the run's last weights."""
    write = partial(write_wanted, pack, out, run.name, whole=whole)
    write("0", "parameters", network.weights)
    recipe = run.settings.recipe(list(network.parameters))
    optimizer = Optimizer(network.parameters, recipe, torch.amp.GradScaler("cpu", enabled=False))
    for step in run.steps:
        network.model.zero_grad(set_to_none=True)
        trims = ladder and pack.wanted.shapes(run.name, step.name, "hidden") is None
        forward = network.forward(trimmed(pack.batch(step)) if trims else pack.batch(step))
        write_forward(pack, out, run, step, forward, as_numpy(forward.loss))
        if not run.trains:
            continue
        network.backward(forward.loss)
        write(step.name, "gradients", network.gradients)
        clip = recipe.clip if recipe.clip is not None else float("inf")
        norm = torch.nn.utils.clip_grad_norm_(list(network.parameters.values()), clip)
        write(step.name, "norm", partial(dict, {VALUE: as_numpy(norm)}))
        write(step.name, "clipped", network.gradients)
        optimizer.step(step.learning_rate)
        write(step.name, "parameters", network.weights)


def trimmed(batch: Arrays) -> Arrays:
    """The batch without the last columns that are padding in every row."""
    width = int(np.flatnonzero(batch["attention_mask"].any(0))[-1]) + 1
    return {name: np.ascontiguousarray(array[:, :width]) if array.ndim == 2 else array for name, array in batch.items()}


def _moved(weights: Weights, by: float) -> Weights:
    random = np.random.RandomState(SEED)
    return {
        name: weight + np.float32(by) * random.standard_normal(weight.shape).astype(np.float32)
        for name, weight in weights.items()
    }


def _pretrained(source: Path, checkpoint: str) -> Weights:
    """The checkpoint's weights. Raises InputError if transformers does not read them."""
    torch.manual_seed(SEED)
    config = AutoConfig.from_pretrained(source)
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            checkpoint, config=config, dtype=torch.float32, ignore_mismatched_sizes=True
        )
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"transformers does not read {checkpoint} ({str(error).strip().splitlines()[0]})") from None
    return {name: p.detach().numpy() for name, p in model.named_parameters()}


def describe(question: Describe) -> Described:
    """Builds the source's model and tells its shapes, and the norm of its first gradients."""
    source = Path(question.source)
    network = Classifier.build(source, FLOAT32)
    if question.perturb is not None:
        np.savez(source / PACK_WEIGHTS, **_moved(network.weights(), question.perturb))  # type: ignore[arg-type]
    if question.checkpoint is not None:
        np.savez(source / PACK_WEIGHTS, **_pretrained(source, question.checkpoint))  # type: ignore[arg-type]
    with np.load(source / PACK_WEIGHTS) as file:
        network.load({name: file[name] for name in file.files})
    with np.load(source / question.batch) as file:
        forward = network.forward({name: file[name] for name in file.files})
    forward.loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(list(network.parameters.values()), float("inf"))
    return Described(
        parameters={name: list(p.shape) for name, p in network.parameters.items()},
        layers=sum(name.startswith("layers/") for name in network.places),
        pooled="pooled" in forward.hidden,
        width=forward.hidden["embeddings"].shape[-1],
        num_labels=forward.logits.shape[-1],
        norm=float(norm),
        loss=float(forward.loss),
    )


def answer(question: Question, on_event: Callable[[Event], None] = lambda _: None) -> Answer:
    """The answer to a question; `on_event` receives the progress."""
    torch.set_num_threads(question.threads)
    if isinstance(question, Describe):
        return describe(question)
    if isinstance(question, Explain):
        return explain(question)
    if isinstance(question, ExplainLosses):
        return explain_losses(question, on_event)
    if isinstance(question, Train):
        return train(question, on_event)
    pack = Pack.read(Path(question.pack))
    if isinstance(question, Replay):
        replay(pack, question)
        return Done()
    out = Path(question.out)
    if isinstance(question, RecordChanged):
        return Done(record_changed(pack, out))
    if isinstance(question, RecordRounded):
        for number, one in enumerate(question.trainings):
            rounding = arithmetic(question.precision, one.policy, one.seed)
            _record_and_replay(question, pack, out / str(number) / "recorded", rounding)
        return Done()
    record(pack, out / "float64", FLOAT64, question.whole, question.ladder)
    if question.ladder:
        record(pack, out / "float32", FLOAT32, question.whole, question.ladder)
        return Done()
    _record_and_replay(question, pack, out / "float32", FLOAT32)
    return Done()


def _record_and_replay(question: Record | RecordRounded, pack: Pack, recording: Path, arithmetic: Arithmetic) -> None:
    """Leaves the recording, and beside it what follows from it."""
    record(pack, recording, arithmetic, question.whole)
    out = str(recording.parent / "replayed")
    replay(pack, Replay(pack=question.pack, recording=str(recording), out=out, threads=question.threads))


def main() -> int:
    """Answers the question in the folder that the command line names, and returns the exit code."""
    folder = Path(sys.argv[1])
    end_with_the_launcher()
    try:
        with (folder / EVENTS).open("a", encoding="utf-8", buffering=1) as events:

            def on_event(event: Event) -> None:
                events.write(to_json(event) + "\n")

            answered = answer(from_json((folder / JOB).read_bytes(), Question), on_event)  # type: ignore[arg-type]
    except InputError as refusal:
        write_whole(folder / ERROR, str(refusal))
        return 2
    except Exception:
        traceback.print_exc()
        return 1
    write_whole(folder / ANSWER, to_json(answered))
    return 0


if __name__ == "__main__":
    sys.exit(main())
