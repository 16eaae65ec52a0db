"""`benchmarks.port check LOSSES.csv`: training losses alone. The search itself is tested in torch's environment
(tests/backends/test_losses.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.port.answers import Answers
from benchmarks.port.csv_files import half_digits, read_table
from benchmarks.port.losses import bounds, read_losses
from benchmarks.port.reference import Reference
from shared.pack import Pack
from shared.reference import ExplainLosses, LossesExplained, Ranked
from shared.search import Term
from tests.recordings import float32, run_port

USUAL = [1.1, 0.8, 1.4, 0.9, 1.3, 1.7]


def write_csv(folder: Path, text: str) -> Path:
    file = folder / "losses.csv"
    file.write_text(text, encoding="utf-8")
    return file


def rows(losses: list[float], start: int = 1) -> str:
    return "".join(f"{n},{loss!r}\n" for n, loss in enumerate(losses, start))


@pytest.fixture(scope="module")
def recorded(default_pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """Losses of the reference's own float32, by run."""
    folder = float32(default_pack, tmp_path_factory.mktemp("sound"))
    found = {}
    for run in ("train", "steep"):
        files = [folder / run / str(n) / "loss.npz" for n in range(1, 7)]
        found[run] = [float(np.load(file)["value"]) for file in files]
    return found


@pytest.mark.parametrize(
    "text",
    [
        "step,loss\n" + rows(USUAL),
        rows(USUAL),
        rows(USUAL, 0),
        "loss\n" + "".join(f"{loss}\n" for loss in USUAL),
        "".join(f"{loss}\n" for loss in USUAL),
        "Loss; Step ;rate\n" + "".join(f"{loss};{n};0.1\n" for n, loss in reversed(list(enumerate(USUAL, 1)))),
        "\ufeffstep\tloss\r\n" + rows(USUAL).replace(",", "\t").replace("\n", "\r\n"),
        "run,step,loss\n" + "".join(f"train,{line}\n" for line in rows(USUAL).splitlines()),
    ],
)
def test_losses_are_read_by_step(default_pack: Pack, tmp_path: Path, text: str) -> None:
    assert {run: course.losses for run, course in read_losses(write_csv(tmp_path, text), default_pack).items()} == {
        "train": USUAL
    }


def test_both_runs_are_read(default_pack: Pack, tmp_path: Path) -> None:
    lines = [f"{run},{line}" for run in ("steep", "train") for line in rows(USUAL).splitlines()]
    found = read_losses(write_csv(tmp_path, "\n".join(["run,step,loss", *lines])), default_pack)
    assert list(found) == ["train", "steep"]


@pytest.mark.parametrize(
    ("cells", "halves"),
    [
        (["1.0986", "0.9871", "0.5"], [5e-5, 5e-5, 5e-5]),  # four decimals, zeros left out
        (["1.099", "0.9871", "12.35"], [5e-4, 5e-5, 5e-3]),  # four digits
        (["1.5e+00", "2.25e-01"], [5e-3, 5e-4]),  # three digits, zeros left out
        (["0", "0.25"], [5e-3, 5e-3]),
    ],
)
def test_half_a_unit_of_the_last_digit(cells: list[str], halves: list[float]) -> None:
    assert half_digits(cells) == pytest.approx(halves)


def test_all_digits_of_a_float_bound_nothing() -> None:
    assert max(half_digits([repr(1 / 3), repr(2 / 3), "0.5"])) < 1e-15


def test_digits_widen_the_bound(default_pack: Pack) -> None:
    answers = Answers.to(default_pack, Reference.find({}, 1))
    exact = bounds(answers, default_pack, "train", [0.0] * 6)
    noises = answers.noises.from_pack["losses"]
    assert exact == [max(10 * noises[str(n)], 5e-6) for n in range(1, 7)]
    assert bounds(answers, default_pack, "train", [5e-4] * 6) == pytest.approx([bound + 5e-4 for bound in exact])


@pytest.mark.parametrize("digits", [None, 4])
def test_the_references_own_losses_hold(
    default_pack: Pack, recorded: dict[str, list[float]], tmp_path: Path, capsys: Any, digits: int | None
) -> None:
    """In both runs, with all digits or few."""
    shown = "{!r}" if digits is None else f"{{:.{digits}f}}"
    lines = [f"{run},{n},{shown.format(x)}" for run, xs in recorded.items() for n, x in enumerate(xs, 1)]
    file = write_csv(tmp_path, "\n".join(["run,step,loss", *lines]))
    assert run_port("check", file, "--pack", default_pack.folder, "--report", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "Every loss holds (12)." in printed
    assert ("few digits" in printed) == (digits is not None)
    found = json.loads((tmp_path / "check.json").read_text())
    assert found["holds"]
    assert max(one["share"] for one in found["losses"]) <= 1
    assert "Every loss holds" in (tmp_path / "check.md").read_text()


EXPLAINED = LossesExplained(
    within=[Ranked((Term("gelu-tanh"),), 0.2, 6), Ranked((Term("eps-other", (1e-5,)),), 0.9, 6, confirmed=False)],
    nearest=[Ranked((Term("gelu-relu"),), 80.0, 2)],
    unmoved=["decay-all"],
    tried=9,
)


def answering(found: LossesExplained, asked: list[Any]) -> Any:
    """`Reference.ask` with this answer to a search; other questions go on to the reference."""
    ask = Reference.ask

    def answer(self: Reference, question: Any, kind: Any, on_event: Any = lambda _: None) -> Any:
        if not isinstance(question, ExplainLosses):
            return ask(self, question, kind, on_event)
        asked.append(question)
        return found

    return answer


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            EXPLAINED,
            [
                "The losses part at step 3 of run train",
                "Explained by: GELU is its tanh approximation, which leaves 0.20 of a bound. Also explained by: the "
                "optimizer's epsilon is 1e-05 (0.90). Losses cannot tell these apart",
                "1 known mistakes move no loss by more than 3 bounds, and may be there too: decay-all.",
            ],
        ),
        (LossesExplained(EXPLAINED.within[:1], [], [], 9), ["No other of ", "known mistakes explains every loss."]),
        (LossesExplained(EXPLAINED.within[1:], [], [], 9), ["is fitted, and no further loss confirms it"]),
        (
            LossesExplained([], EXPLAINED.nearest, [], 9),
            ["No known mistake explains them", "GELU is a ReLU, which explains the first 2 and leaves 80.0 bounds"],
        ),
        (LossesExplained([], [], [], 9), ["No known mistake explains them."]),
    ],
)
def test_a_wrong_curve_fails_and_says_how_sure_it_is(
    default_pack: Pack,
    recorded: dict[str, list[float]],
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
    found: LossesExplained,
    said: list[str],
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(Reference, "ask", answering(found, asked))
    mine = [*recorded["train"][:2], *(loss + 0.01 for loss in recorded["train"][2:])]
    file = write_csv(tmp_path, rows(mine))
    assert run_port("check", file, "--pack", default_pack.folder, "--report", tmp_path) == 1
    printed = capsys.readouterr().out
    for words in said:
        assert words in printed
        assert words in (tmp_path / "check.md").read_text()
    assert asked[0].losses == {"train": mine}
    assert json.loads((tmp_path / "check.json").read_text())["explained"]["tried"] == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "losses.csv is empty"),
        ("step,loss\n", "has no values below"),
        ("step,value\n" + rows(USUAL), "has no column loss; its columns are step, value"),
        ("a,b,c\n1,2,3\n", "has no column loss"),
        ("1,2,3\n" * 6, "has 3 columns and no names"),
        (rows(USUAL[:4]), "has 4 losses of run train, and the pack's has 6 steps"),
        (rows([*USUAL, 1.0]), "has 7 losses of run train"),
        (rows(USUAL, 3), "the steps of run train are not 1 to 6, each once"),
        (rows(USUAL).replace("4,", "3,"), "are not 1 to 6, each once"),
        (rows(USUAL).replace("0.9", "nan"), "losses.csv, line 4: loss is nan"),
        (rows(USUAL).replace("0.9", "inf"), "line 4: loss is inf"),
        (rows(USUAL).replace("0.9", "x"), "line 4: loss is 'x', which is no number"),
        (rows(USUAL).replace("4,0.9", "4"), "line 4: 1 cells, not 2"),
        ("run,step,loss\n" + f"dev,{rows(USUAL)}".replace("\n", "\ndev,")[:-4], "line 2: run is 'dev'"),
    ],
)
def test_bad_losses_are_refused(default_pack: Pack, tmp_path: Path, capsys: Any, text: str, message: str) -> None:
    assert run_port("check", write_csv(tmp_path, text), "--pack", default_pack.folder) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_file_that_is_no_text_is_refused(default_pack: Pack, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "losses.csv").write_bytes(b"\xff\xfe\x00")
    assert run_port("check", tmp_path / "losses.csv", "--pack", default_pack.folder) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert run_port("check", tmp_path / "none.csv", "--pack", default_pack.folder) == 2
    assert "none.csv is missing; pass a CSV file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to check; pass a recording's folder"),
        (["losses.csv", "--cost"], "--cost is not for a file of losses"),
        (["losses.csv", "--map", "google"], "--map is not for a file of losses"),
        (["losses.csv", "--precision", "tf32"], "--precision is for a recording"),
        (["losses.csv", "--scores", "mine.csv"], "pass losses.csv or --scores, one at a time"),
        (["--scores", "mine.csv", "--seeds", "3"], "--seeds is not for --scores"),
        (["recording", "--margin", "0.1"], "--margin is not for a recording"),
        (["recording", "--seeds", "3"], "--seeds is not for a recording without --cost"),
        (["recording", "--cost", "--split", "test"], "--split is not for a recording"),
        (["recording", "--cost", "--seeds", "1"], "--seeds 1: an interval needs 2 seeds or more"),
        (["recording", "--cost", "--rows", "0"], "--rows 0: pass 1 or more"),
        (["recording", "--cost", "--learning-rate", "0"], "--learning-rate 0: pass a number above 0"),
        (["recording", "--cost", "--task", "chess"], "unknown task 'chess'"),
    ],
)
def test_options_of_another_form_are_refused(capsys: Any, arguments: list[str], message: str) -> None:
    assert run_port("check", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_table_says_the_line_of_a_bad_cell(tmp_path: Path) -> None:
    table = read_table(write_csv(tmp_path, "step,loss\n\n1,2\n2,3\n"), ("step", "loss"))
    assert table.lines == [3, 4]
    assert table.counts("step") == [1, 2]
