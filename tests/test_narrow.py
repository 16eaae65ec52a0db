"""Output at 60, 80 and 100 columns: every score is there whole, whatever is wrapped, dropped or stacked."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from benchmarks.parity.ladder import Climb, Finding
from benchmarks.parity.ladder_report import LadderAsked, LadderReport, ladder_page
from benchmarks.parity.rungs import RUNGS
from benchmarks.port.causes import Cause, Diagnosis
from benchmarks.port.check import Checked, RungFound
from benchmarks.port.report import check_page
from benchmarks.predict import output
from benchmarks.predict.output import Shown, predictions
from benchmarks.reporting.page import Page, Table
from benchmarks.reporting.record_tables import print_tables, quality
from benchmarks.speed.report import tables
from benchmarks.speed.summary import summarize
from shared.recipe import Recipe
from shared.records import Record
from shared.tasks import Rows
from tests.checkpoints import TOY
from tests.factories import record, scores
from tests.speed_factories import BUCKETED, PADDED, TRAINER, results, samples

WIDTHS = (60, 80, 100)


def shown(print_on: Callable[[Console], None], width: int, **settings: str) -> str:
    console = Console(file=io.StringIO(), width=width, **settings)  # type: ignore[arg-type]
    print_on(console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "…" not in text
    lines = [line for line in text.splitlines() if not line.startswith("- ")]  # notes are wrapped by the terminal
    assert max(map(len, lines)) <= width
    return text


def grid() -> list[Record]:
    return [
        record(Recipe(seed=seed, max_len=length), backend=backend, task=task, test=0.7131 + seed / 1000)
        for seed in (1, 2)
        for length in (64, 128)
        for backend in ("torch", "keras-jax")
        for task in ("acceptability", "google-play-unique")
    ]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("several", [False, True], ids=["one seed", "a grid of two seeds"])
def test_every_score_of_a_run_is_whole(width: int, several: bool) -> None:
    records = grid() if several else [record(test=0.7131)]
    text = shown(lambda console: print_tables(console, records), width)
    words = text.split()
    for row in quality(records).itertuples(index=False):
        for cell in row:
            assert all(word in words or f"{word}," in words for word in str(cell).split()), cell
    for name in ("accuracy", "MCC", "F1", "majority", "epoch", "tokens/s"):
        assert name in words


def wide(rows: int, columns: int) -> pd.DataFrame:
    numbers = np.random.default_rng(0).random((rows, columns))
    table = pd.DataFrame({f"metric number {n}": [f"{x:.4f}" for x in numbers[:, n]] for n in range(columns)})
    table.insert(0, "backend", [f"backend-{n}" for n in range(rows)])
    table["same"] = "alike"
    table["note"] = "some words that may be wrapped wherever there is a space between two of them"
    return table


@pytest.mark.parametrize("names", [None, 1, 2])
@pytest.mark.parametrize("width", [30, *WIDTHS])
def test_a_table_too_wide_loses_no_cell(width: int, names: int | None) -> None:
    table = wide(3, 20)
    text = shown(lambda console: Page([Table(table, "Wide", names=names)]).print(console), width)
    for cell in table.to_numpy().ravel():
        assert all(word in text for word in cell.split())
    if width >= 60:
        assert "in every row: same alike, note some words" in re.sub(r"\s+", " ", text)
        assert text.count("backend-1") == text.count("Wide (") > 1


def test_a_table_that_fits_is_as_it_was() -> None:
    text = shown(lambda console: Page([Table(wide(2, 2), "Narrow")]).print(console), 200)
    assert text.count("alike") == 2
    assert "in every row" not in text
    assert text.count("backend-1") == 1


def test_a_row_that_fits_no_part_is_shown_as_lines() -> None:
    table = pd.DataFrame({"name": ["1" * 20], "other name": ["2" * 20], "score": ["0.785"]})
    text = shown(lambda console: Page([Table(table, "Long", names=2)]).print(console), 40)
    assert re.search(r"score +0\.785 *\n", text)


@pytest.mark.parametrize("width", [40, *WIDTHS])
@pytest.mark.parametrize("every", [False, True])
def test_every_probability_is_whole(monkeypatch: pytest.MonkeyPatch, width: int, every: bool) -> None:
    labels = tuple(f"label number {n}" for n in range(9))
    of_rows = np.random.default_rng(0).dirichlet(np.ones(9), 2)
    found = {"torch": of_rows, "keras-jax": of_rows}
    made = list(predictions(Rows(["A goose.", "b" * 300], None, None), labels, found))
    console = Console(file=io.StringIO(), width=width)
    monkeypatch.setattr(output, "terminal", lambda: console)
    output.print_table(made, Shown(backend=True, every_label=every))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for one in made:
        assert f"{one.probability:.6f}" in text
        assert not every or all(f"{number:.6f}" in text for number in one.probabilities.values())


def test_a_terminal_that_can_do_nothing_gets_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("COLUMNS", raising=False)
    console = Console(file=io.StringIO(), force_terminal=True)
    print_tables(console, grid())
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "\x1b" not in text
    assert "…" not in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("- ")) <= 80


# --- the other commands' pages


def finding(n: int) -> Finding:
    return Finding(RUNGS[n].name, n % 3 != 0, 1.234e-5 * (n + 1), 1e-7, 25.5 * n, "classifier.weight")


def port_page() -> Page:
    rungs = [
        RungFound(rung=r.name, compared="a", state="wrong", from_pack=finding(n), by_itself=finding(n))
        for n, r in enumerate(RUNGS)
    ]
    causes = [Cause(rungs=[r.name], ids=[["gelu-tanh", "decay-all"]], says=["x"], share=0.1) for r in RUNGS[:3]]
    checked = Checked(
        pack="p", about="a", holds=False, rungs=rungs, mapped=1, parameters=1, unmatched=[], ambiguous=[],
        missing_rungs=[], diagnosis=Diagnosis(causes=causes),
    )  # fmt: skip
    return check_page(checked)


def parity_page() -> Page:
    asked = LadderAsked("cola", "minilm", {"train": 8}, 4, Recipe(), "cpu", 1)
    climb = Climb(tuple(finding(n) for n in range(len(RUNGS))), scores(0.8))
    names = ("torch", "gluon", "keras", "keras-jax", "torch bucket", "keras bfloat16")
    return ladder_page(LadderReport(asked, {}, dict.fromkeys(names, climb)))


def speed_page(folder: Path) -> Page:
    variants = [PADDED, BUCKETED, TRAINER]
    time, around = tables(summarize(results(), variants, samples(folder), TOY))
    return Page([Table(time, "Time", names=1), Table(around, "Around", names=1)])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", ["port", "parity", "speed"])
def test_every_number_of_a_report_is_whole(tmp_path: Path, command: str, width: int) -> None:
    page = port_page() if command == "port" else parity_page() if command == "parity" else speed_page(tmp_path)
    found = [block for block in page.blocks if isinstance(block, Table)]
    words = {word.rstrip(",") for word in shown(Page(found).print, width).split()}
    for block in found:
        cells = [str(cell) for cell in block.frame.to_numpy().ravel()]
        assert {word for cell in cells for word in cell.split() if word[0].isdigit()} <= words
