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

from backends.torch.changes import CHANGES
from backends.torch.classifier import SEED, Classifier, Forward, as_numpy
from backends.torch.optimizer import Optimizer
from backends.torch.rounding import Arithmetic, arithmetic
from backends.worker import end_with_the_launcher
from shared.architecture import Weights
from shared.errors import InputError
from shared.files import from_json, to_json, write_whole
from shared.job import ANSWER, ERROR, JOB
from shared.pack import BY_PARAMETER, PACK_WEIGHTS, VALUE, Arrays, Pack, PackRun, PackStep, part_file, write_part
from shared.reference import Describe, Described, Done, Question, Record, RecordRounded, Replay
from shared.sketches import sketches_of, unsketched

FLOAT64, FLOAT32 = Arithmetic(torch.float64), Arithmetic(torch.float32)


def record(
    pack: Pack, out: Path, arithmetic: Arithmetic, change: str | None = None, whole: Collection[str] = ()
) -> None:
    """Answers every run of the pack, as far as it is wanted; if it wants sketches, with the whole arrays of these
    parameters beside them."""
    network = Classifier.build(pack.folder, arithmetic, change)
    kept = {PACK_WEIGHTS: pack.weights}
    for run in pack.contents.runs:
        if run.name == "dropout":  # its shares follow from the rate
            continue
        network.load(kept[run.weights])
        kept[run.name] = _record_run(pack, run, network, out, whole)


def _record_run(pack: Pack, run: PackRun, network: Classifier, out: Path, whole: Collection[str]) -> Weights:
    """Records one run, and returns its last weights."""
    write = partial(_write, pack, out, run.name, whole=whole)
    write("0", "parameters", network.weights)
    recipe = run.settings.recipe(list(network.parameters))
    if network.change and network.change.recipe:
        recipe = network.change.recipe(recipe)
    optimizer = Optimizer(network.parameters, recipe, torch.amp.GradScaler("cpu", enabled=False))
    for step in run.steps:
        network.model.zero_grad(set_to_none=True)
        forward = network.forward(pack.batch(step))
        _write_forward(pack, out, run, step, forward)
        if not run.trains:
            continue
        network.backward(forward.loss)
        write(step.name, "gradients", network.gradients)
        clip = recipe.clip if recipe.clip is not None else float("inf")
        each = network.change.clip if network.change and network.change.clip else torch.nn.utils.clip_grad_norm_
        norm = each(list(network.parameters.values()), clip)
        write(step.name, "norm", partial(_value, norm))
        write(step.name, "clipped", network.gradients)
        optimizer.step(step.learning_rate)
        write(step.name, "parameters", network.weights)
    return network.weights()


def _write_forward(pack: Pack, out: Path, run: PackRun, step: PackStep, forward: Forward) -> None:
    write = partial(_write, pack, out, run.name, step.name)
    write("hidden", lambda: {name: as_numpy(state) for name, state in forward.hidden.items()})
    write("logits", partial(_value, forward.logits))
    write("loss", partial(_value, forward.loss))


def _value(tensor: torch.Tensor) -> Arrays:
    return {VALUE: as_numpy(tensor)}


def _write(
    pack: Pack, out: Path, run: str, step: str, part: str, arrays: Callable[[], Arrays], whole: Collection[str] = ()
) -> None:
    """Writes the part if the pack wants it."""
    if pack.wanted.shapes(run, step, part) is not None:
        sketches = pack.wanted.sketches and part in BY_PARAMETER
        write_part(out, run, step, part, sketches_of(arrays(), whole) if sketches else arrays())


def replay(pack: Pack, recording: Path, out: Path) -> None:
    """Writes the values that follow from a recording's own, for each step that it makes possible: states of each layer
    from those below it, and loss, logits and gradients from the parameters before the step."""
    network = Classifier.build(pack.folder, FLOAT64)
    for run in pack.contents.runs:
        if run.name == "dropout":
            continue
        for number, step in enumerate(run.steps):
            weights = _weights_before(pack, recording, run, number)
            if weights is None:
                continue
            network.load(weights)
            network.model.zero_grad(set_to_none=True)
            forward = network.forward(pack.batch(step))
            _write_forward(pack, out, run, step, forward)
            if run.trains:
                if pack.wanted.shapes(run.name, step.name, "gradients") is not None:
                    network.backward(forward.loss)
                    whole = unsketched(_read(part_file(recording, run.name, step.name, "gradients")) or {})
                    _write(pack, out, run.name, step.name, "gradients", network.gradients, whole)
            else:
                own = _read(part_file(recording, run.name, step.name, "hidden"))
                if own:
                    with torch.no_grad():
                        _write_forward(pack, out, run, step, network.forward(pack.batch(step), own))


def _weights_before(pack: Pack, recording: Path, run: PackRun, number: int) -> Weights | None:
    """The port's parameters before a step of the run, counted from 0, in place of the pack's; None if it did not record
    all of them."""
    if run.weights != PACK_WEIGHTS:
        before = pack.run(run.weights)
        run_of, step, first = before.name, before.steps[-1].name, False
    else:
        run_of, step, first = run.name, str(number) if run.trains else "0", number == 0 or not run.trains
    own = unsketched(_read(part_file(recording, run_of, step, "parameters")) or {})
    if not first and own.keys() < pack.weights.keys():
        return None
    return pack.weights | own


def _read(file: Path) -> Weights | None:
    if not file.is_file():
        return None
    with np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files}


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


def _answer(question: Question) -> Described | Done:
    torch.set_num_threads(question.threads)
    if isinstance(question, Describe):
        return describe(question)
    pack = Pack.read(Path(question.pack))
    if isinstance(question, Replay):
        replay(pack, Path(question.recording), Path(question.out))
        return Done()
    if isinstance(question, Record):
        out = Path(question.out)
        record(pack, out / "float64", FLOAT64, whole=question.whole)
        _record_and_replay(pack, out / "float32", out / "replayed", FLOAT32, question.whole)
        return Done()
    if isinstance(question, RecordRounded):
        for number, one in enumerate(question.trainings):
            out = Path(question.out) / str(number)
            rounding = arithmetic(question.precision, one.policy, one.seed)
            _record_and_replay(pack, out / "recorded", out / "replayed", rounding, question.whole)
        return Done()
    for number, change in enumerate(CHANGES):
        record(pack, Path(question.out) / str(number), FLOAT64, change)
    return Done(list(CHANGES))


def _record_and_replay(pack: Pack, recording: Path, out: Path, arithmetic: Arithmetic, whole: Collection[str]) -> None:
    record(pack, recording, arithmetic, whole=whole)
    replay(pack, recording, out)


def main() -> int:
    """Answers the question in the folder that the command line names, and returns the exit code."""
    folder = Path(sys.argv[1])
    end_with_the_launcher()
    try:
        answer = _answer(from_json((folder / JOB).read_bytes(), Question))  # type: ignore[arg-type]
    except InputError as refusal:
        write_whole(folder / ERROR, str(refusal))
        return 2
    except Exception:
        traceback.print_exc()
        return 1
    write_whole(folder / ANSWER, to_json(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
