"""Gates for CI: what they may say, when they fail, and what has no value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from benchmarks.report import main
from benchmarks.reporting.gates import LONGEST, Gate, NoValue, Quantity
from benchmarks.reporting.gating import Outcome, cells_of, measure, outcomes
from benchmarks.reporting.rows import Rows, Speed
from benchmarks.statistics.intervals import bounds_of, score_interval
from shared.errors import InputError
from shared.recipe import Recipe
from shared.records import Record, write_record
from tests.factories import answer, epoch, record

SLOW = "gluon.epoch_s > 1.1 * torch.epoch_s"


def seeds(backend: str, seconds: float, scores: tuple[float, ...] = (0.7,), **recipe: Any) -> list[Record]:
    """A record for each seed, of two epochs that took about so long. The first step is as quick as the others."""
    return [
        record(
            Recipe(seed=n, **recipe),
            backend,
            test=score,
            epochs=[epoch(seconds), epoch(seconds + 1)],
            first_step=seconds / 10,
        )
        for n, score in enumerate(scores, 1)
    ]


def hold(text: str, records: list[Record]) -> list[Outcome]:
    return list(outcomes(Gate.parse(text), Rows.of(records), cells_of(records)))


def states(text: str, records: list[Record]) -> list[str]:
    return [one.state for one in hold(text, records)]


def write(out: Path, records: list[Record]) -> None:
    for each in records:
        write_record(out, each, {"dev": np.zeros((1, 2))})


# --- what a gate may say


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torch.epoch_s > 2", True),
        ("torch.epoch_s < 2", False),
        ("keras-jax.epoch_s == 5", True),
        ("keras-jax.epoch_s-torch.epoch_s == 2", True),
        ("1 + 2 * torch.epoch_s >= 7 and not torch.epoch_s != 3", True),
        ("(1 + 2) * torch.epoch_s < 9 or torch.epoch_s / 2 < 1.5", False),
        ("-torch.epoch_s < +torch.epoch_s - 5", True),
        ("2 < torch.epoch_s <= 3", True),
        ("2 < torch.epoch_s < 3", False),
        ("abs(torch.epoch_s - keras-jax.epoch_s) <= 2", True),
        ("min(torch.epoch_s, keras-jax.epoch_s, 1e1) == 3", True),
        ("max(torch.epoch_s, keras-jax.epoch_s) == 5", True),
    ],
)
def test_a_gate_computes_as_python_does(text: str, expected: bool) -> None:
    values = {Quantity("torch", "epoch_s"): 3.0, Quantity("keras-jax", "epoch_s"): 5.0}
    assert Gate.parse(text).holds(values) is expected


numbers = st.floats(-1e6, 1e6)


@given(numbers, numbers, st.sampled_from("+-*"), st.sampled_from(["<", "<=", ">", ">=", "=="]))
def test_arithmetic_is_that_of_floats(left: float, right: float, sign: str, compared: str) -> None:
    text = f"torch.epoch_s {sign} gluon.epoch_s {compared} 2 * torch.epoch_s"
    values = {Quantity("torch", "epoch_s"): left, Quantity("gluon", "epoch_s"): right}
    assert Gate.parse(text).holds(values) is eval(f"a {sign} b {compared} 2 * a", {"a": left, "b": right})


@pytest.mark.parametrize(
    ("text", "column", "told"),
    [
        ("__import__('os').system('true') == 0", 1, "is no number"),
        ("torch.epoch_s > __import__('os')", 17, "is no number"),
        ("torch.epoch_s.real > 1", 1, "is no number"),
        ("torch.epoch_s > (lambda: 1)()", 17, "is no number"),
        ("torch.epoch_s > [1][0]", 17, "is no number"),
        ("torch.epoch_s > 2 ** 9999", 17, "is no number"),
        ("torch.epoch_s > 1j", 17, "is no number"),
        ("torch.epoch_s > True", 17, "is no number"),
        ("torch.epoch_s > 1e999", 17, "is no number"),
        ("torch.epoch_s > 'a'", 17, "is no number"),
        ("torch.epoch_s > nan", 17, "is no number"),
        ("torch.epoch_s > float('nan')", 17, "is no number"),
        ("torch.epoch_s > (x := 1)", 18, "is no number"),
        ("(torch.epoch_s > 1) if 1 else 0", 1, "is no comparison"),
        ("torch.epoch_s > abs(1, 2)", 17, "has 2 values; one fit"),
        ("torch.epoch_s > min(1)", 17, "has 1 values; two or more fit"),
        ("torch.epoch_s > sum(1, 2)", 17, "is no number"),
        ("torch.epoch_s in (1, 2)", 1, "is no comparison"),
        ("torch.epoch_s", 1, "is no comparison"),
        ("torch.epoch_s > 1 and 1", 23, "is no comparison"),
        ("torch.epoch_s >", 16, "invalid syntax"),
        ("", 1, "invalid syntax"),
        ("(torch.epoch_s > 1", 1, "never closed"),
        ("torch.epoch_s = 1", 15, "invalid syntax"),
        ("torch.epoch_s > 1; import os", 18, "invalid syntax"),
        ("1 > 2", 1, "names no number of a backend"),
        ("mxnet.epoch_s > 1", 1, "is of no backend; there are torch, gluon, keras, keras-jax"),
        ("torch.epoch_sec > 1", 1, "there are epoch_s"),
        ("torch.machine > 1", 1, "is no number of a cell"),
        ("torch.qqqq > 1", 1, "there are dev_mcc, test_accuracy, epoch_s, peak_mib and others"),
        ("torch.epoch_s > 1 \n", 19, "has no place in a gate"),
        ("torch.epoch_s ＞ 1", 15, "has no place in a gate"),
        ("torch.epoch_s > 1\0", 18, "has no place in a gate"),
    ],
)
def test_what_is_no_gate_is_refused_at_its_column(text: str, column: int, told: str) -> None:
    with pytest.raises(InputError) as refused:
        Gate.parse(text)
    assert f", column {column}: " in str(refused.value)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("-" * 400 + "torch.epoch_s > 1", "is nested too deeply"),
        ("not " * 60 + "torch.epoch_s > 1", "is nested too deeply"),
        ("(" * 240 + "torch.epoch_s" + ")" * 240 + " > 1", "too many nested parentheses"),
        ("torch.epoch_s > " + "1" * LONGEST, "is too long; pass 500 at most"),
    ],
)
def test_a_gate_that_is_too_deep_or_long_is_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Gate.parse(text)


def test_a_gate_may_be_nested() -> None:
    gate = Gate.parse("-" * 40 + "torch.epoch_s > 1")
    assert gate.holds({Quantity("torch", "epoch_s"): 2.0})


@pytest.mark.parametrize("call", ["open('made', 'w')", "__import__('pathlib').Path('made').touch()"])
def test_nothing_of_a_gate_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"{call} != 1 or torch.epoch_s > 1"
    assert eval(text, {"torch": Epochs}), "Python would run it"
    assert (tmp_path / "made").exists()
    (tmp_path / "made").unlink()
    with pytest.raises(InputError, match="column 1: "):
        Gate.parse(text)
    assert not (tmp_path / "made").exists()


class Epochs:
    """Stands for a backend, to Python's own `eval`."""

    epoch_s = 2.0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 / torch.epoch_s > 1", "1 / torch.epoch_s divides by zero"),
        ("torch.epoch_s < 1 or 1 / torch.epoch_s > 1", "divides by zero"),
        ("1e299 * 1e299 > torch.epoch_s", "1e299 \\* 1e299 is inf"),
    ],
)
def test_what_computes_no_number_has_no_value(text: str, told: str) -> None:
    with pytest.raises(NoValue, match=told):
        Gate.parse(text).holds({Quantity("torch", "epoch_s"): 0.0})


# --- when it fails


def test_a_gate_is_held_to_each_question() -> None:
    records = [
        *seeds("torch", 10.0, max_len=64),
        *seeds("gluon", 10.5, max_len=64),
        *seeds("torch", 20.0, max_len=128),
        *seeds("gluon", 30.0, max_len=128),
        *seeds("torch", 1.0, max_len=256),
    ]
    found = hold(SLOW, records)
    assert [(one.title, one.state) for one in found] == [
        ("cola max_len 64 batch 32", "passes"),
        ("cola max_len 128 batch 32", "fails"),
    ]
    assert found[1].words == "gluon.epoch_s 30.5 (30.2 – 30.8), torch.epoch_s 20.5 (20.2 – 20.8) (1 seed)"


def test_a_setting_limits_a_gate() -> None:
    records = [one for n in (64, 128) for one in seeds("torch", 10.0, max_len=n)]
    assert states("torch.epoch_s > 5 and torch.max_len >= 100", records) == ["passes", "fails"]


def test_seeds_that_one_lacks_are_left_out() -> None:
    records = [*seeds("torch", 1.0, (0.9, 0.5, 0.4)), *seeds("gluon", 1.0, (0.8, 0.5))]
    (found,) = hold("torch.test_accuracy < gluon.test_accuracy", records)
    low, high = score_interval(np.array([0.9, 0.5]), bounds_of("accuracy")) or (0.0, 0.0)
    assert found.state == "passes"
    assert f"torch.test_accuracy 0.7 [{low:.1f}, {high:.1f}]" in found.words
    assert found.words.endswith("(2 seeds)")


def test_several_versions_are_compared_each() -> None:
    records = [record(backend="torch"), record(backend="torch", versions="3.0"), record(backend="gluon")]
    found = hold("torch.test_accuracy < gluon.test_accuracy", records)
    assert [one.title.partition(" (")[2] for one in found] == [
        "torch 2.0; gluon 1.9)",
        "torch 3.0; gluon 1.9)",
    ]


def test_a_training_that_diverged_fails_its_gates() -> None:
    records = [record(Recipe(seed=n)) for n in (1, 2)]
    end = replace(answer(), epochs=[], step_loss=[], kept_epoch=0, test=None, diverged=3)
    records[1] = replace(records[1], answer=end)
    (found,) = hold("torch.test_accuracy < 0.1", records)
    assert (found.state, found.words) == ("fails", "torch seed 2 diverged at step 3")


def test_a_score_that_is_not_there_has_no_value() -> None:
    (found,) = hold("torch.test_accuracy < 0.9", [record(test=None)])
    assert (found.state, found.words) == ("no value", "torch.test_accuracy is not there")


def test_without_a_common_seed_nothing_is_compared() -> None:
    records = [record(Recipe(seed=1)), record(Recipe(seed=2), "gluon")]
    (found,) = hold(SLOW, records)
    assert (found.state, found.words) == ("no value", "gluon and torch have no seed in common")


def test_a_disturbed_run_is_marked() -> None:
    (found,) = hold("torch.epoch_s > 1", [record(busy=0.5)])
    assert found.words.endswith(" !")


def test_numbers_are_those_of_the_tables() -> None:
    records = [
        record(Recipe(seed=n), test=0.7 + n / 100, epochs=[epoch(n * seconds) for seconds in (1.0, 2.0, 4.0)])
        for n in (1, 2, 3)
    ]
    records[1] = replace(records[1], answer=replace(records[1].answer, peak_memory_bytes=2**30))
    (row,) = Rows.of(records).rows
    found, speed, cells = row.scores("test", "mcc"), Speed.of(row.records), cells_of(records)
    assert found is not None
    mcc, seconds = measure(row.records, "test_mcc", cells), measure(row.records, "epoch_s", cells)
    assert (mcc.number, mcc.low, mcc.high) == pytest.approx((found.mean, found.low, found.high))
    assert (seconds.low, seconds.number, seconds.high) == (
        speed.epoch_seconds_q1,
        speed.epoch_seconds,
        speed.epoch_seconds_q3,
    )
    assert records[0].answer.peak_memory_bytes < speed.peak_memory_bytes
    assert measure(row.records, "peak_mib", cells).number == speed.peak_memory_bytes / 2**20


# --- on the command line


def run(*arguments: object) -> int:
    """The command's exit code."""
    try:
        main([*map(str, arguments), "--pictures", "0"])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_a_gate_that_fails_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, [*seeds("torch", 10.0), *seeds("gluon", 12.0)])
    assert run(tmp_path, "--fail-if", SLOW, "--fail-if", "torch.epoch_s > 99") == 1
    printed = capsys.readouterr()
    (line,) = [line for line in printed.err.splitlines() if "FAILS" in line]
    assert "cola max_len 128 batch 32: gluon.epoch_s > 1.1 * torch.epoch_s: gluon.epoch_s 12.5" in line
    assert "torch.epoch_s > 99: passes in 1, fails in 0, no value in 0 comparisons" in printed.out
    assert (tmp_path / "table.md").is_file()


def test_gates_that_pass_end_with_0(tmp_path: Path) -> None:
    write(tmp_path, [*seeds("torch", 10.0), *seeds("gluon", 10.0)])
    assert run(tmp_path, "--fail-if", SLOW) == 0


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ("keras.epoch_s > 1", "has no value in any comparison: no cell is of keras"),
        ("torch.epoch_s / (torch.max_len - 128) > 1", "divides by zero"),
        ("torch.dev_macro_f1 < 0.5", "torch.dev_macro_f1 is not there"),
        ("torch.epoch_s >", "column 16: invalid syntax"),
    ],
)
def test_a_gate_without_a_value_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], gate: str, told: str
) -> None:
    write(tmp_path, seeds("torch", 10.0))
    assert run(tmp_path, "--fail-if", gate) == 2
    assert told in capsys.readouterr().err


def test_a_gate_is_read_before_any_work(tmp_path: Path) -> None:
    write(tmp_path, seeds("torch", 10.0))
    assert run(tmp_path, "--fail-if", "torch.epoch > 1") == 2
    assert not (tmp_path / "table.md").exists()
