"""Pictures of records (loss by step and epoch, accuracy by epoch, confusion matrices), of lengths and of speed. Each is
drawn as PNG and SVG."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.reporting.colours import COLOURS, colour_of
from benchmarks.reporting.numbers import as_file_name, place_of
from benchmarks.reporting.pairs import BACKEND
from benchmarks.reporting.record_tables import FOLDER
from shared.errors import one_line, visible
from shared.limits import PICTURED_LABELS, PICTURES
from shared.records import SPLITS, Record, Split

matplotlib.rcParams["text.parse_math"] = False  # a dollar sign in a name is one

SMOOTHED = 25
"""Windows of a run over which losses are averaged: the loss of a single batch is mostly noise."""


@dataclass(frozen=True)
class Drawn:
    """Pictures that were drawn of records."""

    names: list[str]
    """The PNG files, relative to the folder; an SVG of the same name is beside each."""
    comparisons: int
    """Sets of records that differ in backend and seed alone."""
    left_out: int
    """How many of them are not drawn, because of their number."""
    failed: list[str]
    """A line for each picture that could not be drawn."""


def draw_pictures(out: Path, records: Sequence[Record], most: int = PICTURES) -> Drawn:
    """Draws into `out`/pictures, for records that differ in backend and seed alone one picture of each kind. Of more
    than `most` comparisons those of the most runs are drawn."""
    comparisons = _comparisons(records)
    chosen = sorted(comparisons, key=lambda name: -len(comparisons[name]))[:most]
    names, failed = [], []
    for name in sorted(chosen):
        group = sorted((records[n] for n in comparisons[name]), key=_order)
        for kind, draw in KINDS.items():
            try:
                if figure := draw(group):
                    figure.suptitle(_title(group[0]), x=0.01, ha="left", fontsize=10)
                    names.append(_save(figure, out, f"{name}-{kind}"))
            except OSError:
                raise
            except Exception as error:  # a library's own, of whatever a record holds
                failed.append(one_line(f"{name}-{kind} is not drawn ({type(error).__name__}: {error})"))
    return Drawn(names, len(comparisons), len(comparisons) - len(chosen), failed)


def draw_lengths(out: Path, task: str, model: str, lengths: np.ndarray, max_lens: list[int]) -> str:
    """Draws a histogram of the tokens of a task's training rows, `lengths` int64 [n], with each max_len and the share
    of rows that it cuts. Returns the PNG file's name, relative to `out`; an SVG is beside it."""
    figure, axes = _figure(1)
    axes[0].hist(lengths, bins=np.arange(lengths.min(), lengths.max() + 2) - 0.5, color="0.6")
    for max_len, colour in zip(max_lens, COLOURS.values(), strict=False):
        label = f"max_len {max_len}: {(lengths > max_len).mean():.1%} of rows cut"
        axes[0].axvline(max_len, color=colour, linewidth=1.2, label=label)
    axes[0].set(xlabel="tokens, special ones included", ylabel="training rows")
    if max_lens:
        axes[0].legend(fontsize=8)
    figure.suptitle(f"{task}, by the tokenizer of {model}: {len(lengths):,} rows", x=0.01, ha="left", fontsize=10)
    return _save(figure, out, f"{task}-lengths")


@dataclass(frozen=True)
class Bar:
    """A bar of the picture of speed."""

    label: str
    backend: str
    seconds: np.ndarray
    """Seconds of a step by round: float [n]."""
    floor: float | None
    """The least seconds of a step."""
    hatched: bool


def draw_speed(out: Path, bars: Sequence[Bar], title: str) -> str:
    """Draws each bar with the median and quartiles of its seconds, and a line at its floor. Returns the PNG file's
    name, relative to `out`; an SVG is beside it."""
    figure, (axes,) = _figure(1, (8, 1.5 + 0.25 * len(bars)))
    places = np.arange(len(bars))
    low, medians, high = np.transpose([np.percentile(bar.seconds, (25, 50, 75)) for bar in bars])
    axes.barh(
        places,
        medians,
        xerr=[medians - low, high - medians],
        color=[COLOURS[bar.backend] for bar in bars],
        alpha=0.6,
        hatch=["//" if bar.hatched else "" for bar in bars],
        error_kw={"linewidth": 0.8},
    )
    floors = np.array([bar.floor for bar in bars], float)
    axes.vlines(floors, places - 0.4, places + 0.4, color="black", linewidth=1.5, label="floor")
    axes.set_yticks(places, [bar.label for bar in bars], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="seconds a step, median and quartiles; hatched: the library's own trainer")
    axes.grid(alpha=0.3, axis="x")
    axes.legend(fontsize=8)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    return _save(figure, out, "speed")


def _save(figure: Figure, out: Path, name: str) -> str:
    path = out / FOLDER / f"{as_file_name(name)}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of a script that the font lacks
        for file in (path, path.with_suffix(".svg")):
            figure.savefig(file, dpi=110)
    return f"{FOLDER}/{path.name}"


def _order(record: Record) -> tuple[int, int]:
    """The registry's order, then by seed."""
    return place_of(record.asked.backend), record.recipe.seed


def _comparisons(records: Sequence[Record]) -> dict[str, list[int]]:
    """Places of the records that differ in backend and seed alone, by a name for files."""
    groups: dict[str, list[int]] = {}
    for number, record in enumerate(records):
        alike = record.asked.without(*BACKEND, "seed")
        digest = hashlib.sha256(alike.encode()).hexdigest()[:6]
        recipe = record.recipe
        name = f"{record.asked.task}-len{recipe.max_len}-batch{recipe.batch_size}-{digest}"
        groups.setdefault(name, []).append(number)
    return dict(sorted(groups.items()))


def _title(record: Record) -> str:
    recipe = record.recipe
    return visible(
        f"{record.model} on {record.asked.task}: length {recipe.max_len}, batch {recipe.batch_size}, "
        f"rate {recipe.learning_rate:g}, {recipe.epochs} epochs, {record.rows['train']:,} rows"
    )


def _loss(group: Sequence[Record]) -> Figure:
    """Training loss by step, smoothed, a line a run; dev loss after each epoch."""
    figure, axes = _figure(1)
    for record in group:
        answer, colour = record.answer, colour_of(record.asked.backend)
        losses, steps = np.array(answer.step_loss), np.cumsum([epoch.steps for epoch in answer.epochs])
        if not len(losses):
            continue
        window = max(1, len(losses) // SMOOTHED)
        smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
        axes[0].plot(np.arange(len(smooth)) + (window + 1) / 2, smooth, color=colour, linewidth=1, alpha=0.8)
        dev = [(step, epoch.dev["loss"]) for step, epoch in zip(steps, answer.epochs, strict=True) if epoch.dev]
        if dev:
            axes[0].plot(*zip(*dev, strict=True), "D", color=colour, markersize=4)
    axes[0].set(xlabel="step", ylabel="loss (nats)")
    _legend(axes[0], group, [("-", "training, smoothed"), ("D", "dev, after an epoch")])
    return figure


def _accuracy(group: Sequence[Record]) -> Figure:
    """Training and dev accuracy by epoch, a line a run, and the majority's share of dev."""
    figure, axes = _figure(1)
    for record in group:
        epochs, colour = record.answer.epochs, colour_of(record.asked.backend)
        numbers = range(1, len(epochs) + 1)
        training = [epoch.train_accuracy for epoch in epochs]
        axes[0].plot(numbers, training, "--o", color=colour, markersize=3, linewidth=1)
        dev = [epoch.dev["accuracy"] for epoch in epochs if epoch.dev]
        if len(dev) == len(epochs):
            axes[0].plot(numbers, dev, "-D", color=colour, markersize=4, linewidth=1)
    if "dev" in group[0].majority:
        axes[0].axhline(group[0].majority["dev"], color="0.5", linewidth=0.8, linestyle=":")
    axes[0].set(xlabel="epoch", ylabel="accuracy")
    axes[0].xaxis.get_major_locator().set_params(integer=True)
    _legend(axes[0], group, [("--o", "training"), ("-D", "dev"), (":", "majority of dev")])
    return figure


def _confusion(split: Split, group: Sequence[Record]) -> Figure | None:
    """Confusion matrices of the split; None if the records hold none, or of more labels than can be read."""
    matrices: dict[str, np.ndarray] = {}
    names: list[str] = []
    for record in group:
        found = record.answer.details.get(split)
        if found and len(found.confusion) <= PICTURED_LABELS:
            backend = record.asked.backend
            matrices[backend] = matrices.get(backend, 0) + np.array(found.confusion)
            names = [visible(name) for name in list(found.report)[: len(found.confusion)]]  # averages follow the labels
    return _matrices(matrices, names, split) if matrices else None


KINDS: dict[str, Callable[[Sequence[Record]], Figure | None]] = {
    "loss": _loss,
    "accuracy": _accuracy,
    **{f"confusion-{split}": partial(_confusion, split) for split in SPLITS},
}
"""The pictures of a comparison."""


def _matrices(matrices: dict[str, np.ndarray], names: list[str], split: str) -> Figure:
    """A confusion matrix for each backend, summed over seeds, shaded by the share of the label's rows."""
    side = 0.34 * len(names)
    figure, axes = _figure(len(matrices), (0.8 + len(matrices) * (1.2 + side), 2.1 + side))
    for axis, (backend, matrix) in zip(axes, matrices.items(), strict=True):
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (i, j), count in np.ndenumerate(matrix):
            axis.text(j, i, count, ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")
        axis.set_title(backend, fontsize=9)
        axis.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set(xlabel=f"predicted, {split}")
    axes[0].set_ylabel("label")
    return figure


def _figure(columns: int, size: tuple[float, float] = (8, 4.5)) -> tuple[Figure, Any]:
    """An empty figure and its axes; `size` in inches."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _legend(axes: Any, group: Sequence[Record], styles: list[tuple[str, str]]) -> None:
    for backend in dict.fromkeys(record.asked.backend for record in group):
        axes.plot([], [], color=colour_of(backend), label=visible(backend))
    for style, label in styles:
        axes.plot([], [], style, color="0.4", label=label, markersize=4, linewidth=1)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=2)
