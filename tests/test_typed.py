"""Command lines that are made again of the options read from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cli.engine_options import OF_ENGINE
from benchmarks.cli.parser import Parser
from benchmarks.cli.typed import typed_options
from benchmarks.parity.__main__ import _parser as parity
from benchmarks.port.__main__ import main as port
from benchmarks.port.check_options import report_folders
from benchmarks.speed.__main__ import _parser as speed
from shared.errors import InputError


def again(parser: Parser, line: list[str]) -> tuple[object, object]:
    """The options of a line, and those of the line that is made of them."""
    options = parser.parse_args(line)
    made = [part for one in typed_options(parser, options, ()) for part in (one.option, *one.values)]
    return options, parser.parse_args(made)


@pytest.mark.parametrize(
    "line",
    [
        "--task cola --data-dir D --padding bucket longest --compile yes no --rerun --baselines no --scale 5 6",
        "--task a.csv --backend torch keras --python torch=/p --python keras=/q --engine ray --address H:1 --retries 0",
    ],
)
def test_a_line_of_speed_can_be_made_again(line: str) -> None:
    first, second = again(speed(), line.split())
    assert first == second


@pytest.mark.parametrize(
    "line",
    [
        "--task mrpc --model minilm --steps 5 --precision float32 float64 --learning-rate 1e-05",
        "--task mrpc --against stock --rerun --clip none --shuffle no --decay-exempt bias,LayerNorm",
    ],
)
def test_a_line_of_parity_can_be_made_again(line: str) -> None:
    first, second = again(parity(), line.split())
    assert first == second


def test_options_can_be_left_out() -> None:
    options = speed().parse_args(["--task", "cola", "--engine", "ray", "--address", "H:1", "--steps", "3"])
    assert [one.option for one in typed_options(speed(), options, OF_ENGINE)] == ["--task", "--steps"]


def test_each_recording_has_a_report_of_its_own() -> None:
    one, other = Path("a/one"), Path("b/other")
    assert report_folders([one, other], None) == {one: one, other: other}
    assert report_folders([one], Path("r")) == {one: Path("r")}
    assert report_folders([one, other], Path("r")) == {one: Path("r/one"), other: Path("r/other")}
    with pytest.raises(InputError, match=r"^two recordings would have their report in r/one; "):
        report_folders([one, Path("b/one")], Path("r"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("check a.csv b.csv", "a.csv is a file of losses; pass it by itself"),
        ("check a.csv --engine ray", "--engine ray is for recordings; leave it out"),
        ("check a --retries 1", "--retries is for --engine ray; pass that too"),
    ],
)
def test_what_a_check_cannot_take_is_refused(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        port(line.split())
    assert (ended.value.code, capsys.readouterr().err) == (2, f"benchmarks.port: error: {said}\n")
