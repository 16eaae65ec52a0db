"""Trains the reference with the differences that a check found and without, over seeds."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from msgspec import Struct, structs
from rich.console import Console

from benchmarks.cells.plan import Question, Request, plan_questions
from benchmarks.port.causes import Diagnosis
from benchmarks.port.effects import Cost, DifferenceCost, paired_effect
from benchmarks.port.reference import Reference
from benchmarks.workers.progress import RunProgress
from shared.answer import Fit
from shared.architecture import Architecture
from shared.checkpoint.config import read_architecture
from shared.checkpoint.sources import shown_model
from shared.checkpoint.tokenizer import tokenizer_files
from shared.checkpoint.weights import WEIGHTS, checkpoint_hash
from shared.errors import InputError
from shared.files import from_json, to_json, write_whole
from shared.pack import OF_RECIPE, Pack
from shared.recipe import Recipe
from shared.reference import Adopted, Train
from shared.splits import splits_hash
from shared.tasks import TASK_MODULES, get_task

TASK, MODEL = "acceptability", "minilm"
"""Trained on if the pack is of neither task nor checkpoint."""
LEARNING_RATE, BATCH_SIZE = 5e-5, 16
"""Peak rate of the stand-in: with the pack's usual 2e-5 it learns next to nothing in two epochs (docs/tasks.md)."""
SEEDS, EPOCHS = 5, 2
KEPT = "cost.json"

BY_RULES = ("gradients", "clipping", "optimizer", "loop")
"""Kinds of mistakes that torch's own clipping and optimizer cannot make."""
UNCOSTED = {"batches-swapped": "each seed draws another order of batches anyway"}


@dataclass(frozen=True)
class CostAsked:
    """Options of `--cost`."""

    seeds: int = SEEDS
    task: str | None = None
    model: str | None = None
    data_dir: Path | None = None
    rows: int | None = None
    """Training rows; None for all."""
    epochs: int = EPOCHS
    learning_rate: float | None = None
    """None for the pack's, or that of the stand-in."""

    def check(self) -> None:
        """Raises InputError for what can be refused before anything runs."""
        if self.seeds < 2:
            raise InputError(f"--seeds {self.seeds}: an interval needs 2 seeds or more")
        for name in ("rows", "epochs"):
            if (getattr(self, name) or 1) < 1 or getattr(self, name) == 0:
                raise InputError(f"--{name} {getattr(self, name)}: pass 1 or more")
        if self.learning_rate is not None and not 0 < self.learning_rate < float("inf"):
            raise InputError(f"--learning-rate {self.learning_rate:g}: pass a number above 0")
        if self.task is not None:
            get_task(self.task)


class Training(Struct, frozen=True, forbid_unknown_fields=True):
    """A training that is done."""

    train_loss: float
    """Mean over the last epoch, dropout on."""
    dev: dict[str, float]
    """Loss and metrics after it."""


class _Kept(Struct):
    """The file cost.json: trainings by the hash of their question."""

    trainings: dict[str, Training]


@dataclass(frozen=True)
class Chosen:
    """A checkpoint and a task to train on."""

    question: Question
    model: str
    trained: str
    """The pack's own model, or why another one."""


@dataclass
class Costing:
    """Differences that are being trained. What is done is kept in the folder."""

    chosen: Chosen
    asked: CostAsked
    differences: list[list[Adopted]]
    """Those that are trained: each difference, then all at once if there are several."""
    reference: Reference
    out: Path
    done: dict[tuple[int, int], Training] = field(default_factory=dict)
    """Trainings by variant, 0 for none of the differences, and seed."""

    def run(self, console: Console) -> None:
        """Trains what is not done yet, seed by seed. Raises ProcessFailed."""
        variants = [[], *self.differences]
        kept = self._read()
        with RunProgress(console, len(variants) * self.asked.seeds) as progress:
            for seed in range(1, self.asked.seeds + 1):
                for number, adopted in enumerate(variants):
                    names = " + ".join(one.term.id for one in adopted) or "the recipe"
                    progress.begin(f"{names}, seed {seed}")
                    question = self._question(adopted, seed)
                    name = self._name(question)
                    if name in kept:
                        progress.end("done before")
                    else:
                        kept[name] = self._train(question, progress)
                        write_whole(self.out / KEPT, to_json(_Kept(kept), indent=1))
                    self.done[number, seed] = kept[name]

    def _train(self, question: Train, progress: RunProgress) -> Training:
        fit = self.reference.ask(question, Fit, progress.event)
        dev = fit.epochs[-1].dev
        assert dev is not None
        progress.end(f"training loss {fit.epochs[-1].train_loss:.4f}, dev loss {dev['loss']:.4f}")
        return Training(fit.epochs[-1].train_loss, dev)

    def _question(self, adopted: list[Adopted], seed: int) -> Train:
        q = self.chosen.question
        return Train(
            checkpoint=str(q.checkpoint),
            data=str(q.data),
            labels=q.labels,
            metrics=q.task.metrics,
            recipe=replace(q.recipe, seed=seed),
            adopted=adopted,
            by_rules=any(one.term.hypothesis.kind in BY_RULES for each in self.differences for one in each),
            threads=self.reference.threads,
        )

    def _name(self, question: Train) -> str:
        """The name of a training: a hash of all that decides it."""
        q = self.chosen.question
        plain = structs.replace(question, checkpoint=checkpoint_hash(q.checkpoint), data=splits_hash(q.splits))
        asked = to_json(structs.replace(plain, threads=0)), sorted(self.reference.environment.versions.items())
        return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]

    def _read(self) -> dict[str, Training]:
        try:
            return from_json((self.out / KEPT).read_bytes(), _Kept).trainings
        except (OSError, ValueError):
            return {}

    def cost(self, left_out: list[str]) -> Cost:
        """The effects by the seeds of which all trainings are done."""
        count = len(self.differences) + 1
        seeds = sorted({seed for _, seed in self.done})
        seeds = [seed for seed in seeds if all((number, seed) in self.done for number in range(count))]
        q = self.chosen.question
        return Cost(
            task=q.task.name,
            model=self.chosen.model,
            rows={name: len(rows) for name, rows in q.splits.items() if name in ("train", "dev")},
            epochs=q.recipe.epochs,
            learning_rate=q.recipe.learning_rate,
            seeds=seeds,
            asked=self.asked.seeds,
            differences=[self._difference(number, seeds) for number in range(1, count)],
            left_out=left_out,
            trained=self.chosen.trained,
        )

    def _difference(self, number: int, seeds: list[int]) -> DifferenceCost:
        made = self.differences[number - 1]
        metrics = self.chosen.question.task.metrics
        both = [[self.done[variant, seed] for seed in seeds] for variant in (0, number)]
        effects = [paired_effect("training loss", *([one.train_loss for one in each] for each in both))]
        effects += [
            paired_effect(f"dev {name}", *([one.dev[name] for one in each] for each in both))
            for name in ("loss", *metrics)
        ]
        says = " and ".join(one.term.says() for one in made)
        return DifferenceCost(ids=[one.term.id for one in made], says=says, effects=effects)


def differences_of(diagnosis: Diagnosis) -> tuple[list[Adopted], list[str]]:
    """The differences that can be trained, and the others with the reason."""
    kept, left_out = [], []
    for one in diagnosis.made:
        if one.term.id in UNCOSTED:
            left_out.append(f"{one.term.says()}: {UNCOSTED[one.term.id]}")
        elif one.places == ["loss"]:
            left_out.append(f"{one.term.says()}: the gradients are those of the usual loss, so that it costs nothing")
        else:
            kept.append(one)
    return kept, left_out


def widened(one: Adopted, pack: Pack, architecture: Architecture) -> Adopted:
    """The same mistake on another network: in all of its layers if it is in all of the pack's."""
    layers = pack.run("train").settings.layers or 0
    mine = {f"layers/{n}" for n in range(layers)}
    if one.places is None or not mine or not mine <= set(one.places):
        return one
    others = [place for place in one.places if place not in mine]
    return Adopted(one.term, [*others, *(f"layers/{n}" for n in range(architecture.layers))])


@contextmanager
def chosen_for(pack: Pack, asked: CostAsked, pythons: dict[str, Path], threads: int) -> Iterator[Chosen]:
    """The checkpoint and the task: as asked, else the pack's own, else MODEL and TASK. Raises InputError."""
    own = any((pack.folder / name).is_file() for name in ("tokenizer.json", "vocab.txt"))
    about = pack.contents.about.rpartition(" on ")
    task = asked.task or (about[2] if about[2] in TASK_MODULES else TASK)
    with tempfile.TemporaryDirectory() as scratch:
        if asked.model is not None:
            source, model, trained = asked.model, shown_model(asked.model), "as asked"
        elif own:
            source, model = str(_own_checkpoint(pack, Path(scratch))), about[0] or pack.contents.about
            model, trained = model.removesuffix(" with generated ids"), "the pack's own model, with a new head"
        else:
            source = model = MODEL
            trained = "the pack's own network has no tokenizer, so that no text can train it"
        request = Request(
            backends=["torch"],
            tasks=[task],
            models=[source],
            recipes=[_recipe(pack, asked, stand_in=asked.model is None and not own)],
            device="cpu",
            threads=threads,
            limit=None,
            data_dir=asked.data_dir,
            pythons=pythons,
        )
        (question,) = plan_questions(request)
        if question.splits["dev"].labels is None:
            raise InputError(f"{task} has no labels on dev, so that nothing can be scored; pass another --task")
        yield Chosen(question, model, trained)


def _own_checkpoint(pack: Pack, folder: Path) -> Path:
    """The pack's own model as a checkpoint."""
    shutil.copy(pack.folder / "config.json", folder)
    shutil.copy(pack.folder / "weights.safetensors", folder / WEIGHTS)
    for file in tokenizer_files(pack.folder):
        shutil.copy(file, folder)
    return folder


def _recipe(pack: Pack, asked: CostAsked, stand_in: bool) -> Recipe:
    """The pack's optimizer, for some epochs over the first rows."""
    settings = pack.run("train").settings
    recipe = Recipe(
        padding="longest",
        epochs=asked.epochs,
        train_rows=asked.rows,
        schedule="constant" if settings.schedule == "constant" else "linear",
        **{name: getattr(settings, name) for name in OF_RECIPE},
    )
    if stand_in:
        recipe = replace(recipe, learning_rate=LEARNING_RATE, batch_size=BATCH_SIZE)
    return recipe if asked.learning_rate is None else replace(recipe, learning_rate=asked.learning_rate)


def architecture_of(question: Question) -> Architecture:
    """The architecture that is trained."""
    return read_architecture(question.checkpoint, question.recipe, len(question.labels))
