"""Makes records and their parts for tests."""

from __future__ import annotations

from typing import Any

from shared.answer import Epoch, Scores, Trained
from shared.recipe import Recipe
from shared.records import Asked, Circumstances, Machine, PresetUse, Record, cell_id

MACHINE = Machine(cpu="Toy CPU", cores=4, memory_bytes=2**34, system="Linux", gpus=["Toy GPU"])
VERSIONS = {"torch": "2.0", "gluon": "1.9", "keras": "3.0", "keras-jax": "0.10"}
ROWS = {"train": 100, "dev": 50, "test": 40}


def scores(accuracy: float) -> Scores:
    """Scores that follow from one number."""
    return {"loss": 0.5, "accuracy": accuracy, "mcc": accuracy - 0.1, "f1": accuracy + 0.1}


def epoch(
    seconds: float, dev: float | None = 0.8, steps: int = 10, rows: int = 100, padded_tokens: int = 2000
) -> Epoch:
    """An epoch that took so many seconds, with this accuracy on dev (None for no labels)."""
    return Epoch(
        seconds=seconds,
        steps=steps,
        rows=rows,
        tokens=1500,
        padded_tokens=padded_tokens,
        train_loss=0.4,
        train_accuracy=0.9,
        dev=None if dev is None else scores(dev),
        dev_seconds=1.0,
    )


def asked(
    recipe: Recipe | None = None,
    backend: str = "torch",
    task: str = "cola",
    rows: dict[str, int] | None = None,
    model: str = "minilm",
    device: str = "cpu",
    threads: int = 2,
    versions: str | None = None,
    **modes: Any,
) -> Asked:
    """The question of a cell."""
    return Asked(
        kind="train",
        backend=backend,
        revision=1,
        versions={backend: versions or VERSIONS[backend]},
        task=task,
        data=str(rows or ROWS),
        checkpoint=model,
        recipe=(recipe or Recipe()).asked(),
        device=device,
        threads=threads,
        **modes,
    )


def answer(
    epochs: list[Epoch] | None = None,
    test: float | None = 0.7,
    first_step: float = 1.0,
    kept_epoch: int | None = None,
    **changed: Any,
) -> Trained:
    """A worker's answer."""
    epochs = epochs or [epoch(10.0)]
    steps = sum(one.steps for one in epochs)
    fields: dict[str, Any] = {
        "total_steps": steps,
        "received": "0" * 64,
        "first_step_seconds": first_step,
        "step_loss": [0.5] * steps,
        "step_accuracy": [0.75] * steps,
        "dev_before": None,
        "epochs": epochs,
        "kept_epoch": kept_epoch or len(epochs),
        "test": None if test is None else scores(test),
        "test_seconds": 1.0,
        "peak_memory_bytes": 512 * 2**20,
        "import_seconds": 1.0,
        "load_seconds": 1.0,
        "start_seconds": 3.0,
        "predictions": {},
    }
    return Trained(**(fields | changed))


def circumstances(busy: float = 0.0, machine: Machine = MACHINE, **changed: Any) -> Circumstances:
    """The circumstances of a cell, while other processes kept so many cores busy."""
    fields: dict[str, Any] = {
        "started": "2026-01-01T00:00:00+00:00",
        "interpreter": "python",
        "python": "3.11.0",
        "packages": {},
        "machine": machine,
        "matrix_product_flops_before": 1e11,
        "worker_seconds": 20.0,
        "cores_busy_with_others": busy,
        "matrix_product_flops_after": 1e11,
    }
    return Circumstances(**(fields | changed))


def record(
    recipe: Recipe | None = None,
    backend: str = "torch",
    task: str = "cola",
    test: float | None = 0.7,
    epochs: list[Epoch] | None = None,
    first_step: float = 1.0,
    rows: dict[str, int] | None = None,
    device: str = "cpu",
    kept_epoch: int | None = None,
    model: str = "minilm",
    threads: int = 2,
    versions: str | None = None,
    busy: float = 0.0,
    preset: PresetUse | None = None,
    **modes: Any,
) -> Record:
    """A record whose question, answer and circumstances fit together."""
    recipe, rows = recipe or Recipe(), rows or ROWS
    question = asked(recipe, backend, task, rows, model, device, threads, versions, **modes)
    return Record(
        id=cell_id(question),
        asked=question,
        model=model,
        preset=preset,
        recipe=recipe,
        rows=rows,
        majority={"train": 0.6, "dev": 0.65, **({"test": 0.68} if test is not None else {})},
        answer=answer(epochs, test, first_step, kept_epoch),
        circumstances=circumstances(busy),
    )
