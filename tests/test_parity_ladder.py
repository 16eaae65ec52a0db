"""`benchmarks.parity` with one seed, on a small random network with real workers: exit codes, files, refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from backends import BACKENDS
from backends.parts import parts_of
from benchmarks.parity.__main__ import main
from benchmarks.parity.rungs import RUNGS
from benchmarks.port import reference
from benchmarks.workers import launcher
from shared.errors import ProcessFailed

SMALL = ["--task", "paraphrase", "--model", "random:bert-tiny", "--max-len", "16", "--batch-size", "4"]
FEW = [*SMALL, "--steps", "4", "--limit", "12", "--threads", "1", "--device", "cpu"]


def exit_code(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    code = ended.value.code
    assert isinstance(code, int)
    return code


def read(out: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((out / "parity.json").read_text())
    return values


def test_every_backend_climbs_the_whole_ladder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(*FEW, "--out", tmp_path) == 0
    found = read(tmp_path)
    assert found["holds"]
    assert found["asked"]["rows"] == {"train": 14, "dev": 12}
    assert list(found["climbers"]) == list(BACKENDS)
    for variant in found["climbers"].values():
        assert [rung["rung"] for rung in variant["rungs"]] == [rung.name for rung in RUNGS]
        assert variant["first_failure"] is None
    printed, page = capsys.readouterr().out, (tmp_path / "parity.md").read_text()
    for shown in (printed, page):
        assert all(f"{name}: every rung holds." in shown for name in found["climbers"])
        assert "equal" in shown
    assert (tmp_path / "parity.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"parity.json", "parity.md", "parity.png"}


def test_standard_parts_climb_together_and_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They fail, and the exit code says so."""
    document = tmp_path / "page.md"
    command = [*FEW, "--backend", "gluon", "--against", "stock", "--out", str(tmp_path), "--document", str(document)]
    assert exit_code(*command) == 1
    found = read(tmp_path)
    assert not found["holds"]
    assert found["climbers"]["gluon stock"]["first_failure"] == "dropout"
    assert "gluon stock parts at 'dropout', in embeddings" in capsys.readouterr().out
    page = document.read_text()
    for part in parts_of("gluon", "bert"):
        assert f"## gluon: {part.name}\n" in page
        assert part.check in page
    rows = {
        cells[2]: cells[3] for line in page.splitlines() if (cells := re.split(r"\s*\|\s*", line))[1:2] == ["gluon"]
    }
    assert list(rows) == [part.name for part in parts_of("gluon", "bert")]
    assert (rows["dropout"], rows["pad"]) == ("dropout", "none")
    assert rows["bertadam"].startswith("first step")
    assert f"python -m benchmarks.parity {' '.join(FEW)}" in page


def test_in_float64_errors_are_far_below_rounding(tmp_path: Path) -> None:
    assert exit_code(*FEW, "--backend", "torch", "gluon", "--precision", "float64", "--out", tmp_path) == 0
    found = read(tmp_path)["climbers"]
    assert list(found) == ["gluon float64"]
    errors = {rung["rung"]: rung["error"] for rung in found["gluon float64"]["rungs"]}
    assert errors["last step"] < 1e-9


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ProcessFailed("the worker was killed by SIGKILL", ("the last line",)), 1),
        (ProcessFailed("hidden_act is not known; pass another model", refused=True), 2),
    ],
)
@pytest.mark.parametrize(("module", "name"), [(reference, "the reference"), (launcher, "torch")])
def test_a_worker_that_fails_is_named_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: ProcessFailed,
    code: int,
    module: Any,
    name: str,
) -> None:
    def fail(*_: Any) -> None:
        raise failure

    monkeypatch.setattr(module, "run_worker", fail)
    assert exit_code(*FEW, "--out", tmp_path) == code
    tail = [f"  | {line}" for line in failure.tail]
    assert capsys.readouterr().err.splitlines() == [f"benchmarks.parity: {name}: {failure}", *tail]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "1"], "--steps 1: pass 2 or more"),
        (["--steps", "99999"], "--steps 99999: 99999 batches of 4 need 399994 training rows, there are 6000"),
        (["--limit", "0"], "--limit 0: pass 1 or more rows"),
        (["--max-len", "16", "32"], "one value of each recipe option"),
        (["--task", "paraphrase", "acceptability"], "one task"),
        (["--backend", "jax"], "unknown backend 'jax'"),
        (["--backend", "torch", "--precision", "float64"], "torch in float64 is the truth"),
        (["--python", "gluon=/no/such/python"], "/no/such/python"),
        (["--dev-split", "final"], "has no split 'final'"),
        (["--document", "page.md"], "--against stock"),
        (["--against", "stock", "--precision", "float64"], "leave --precision out"),
        (["--against", "stock", "--optimizer", "adam"], "leave --optimizer out"),
        (["--against", "stock", "--bias-correction", "no"], "leave --bias-correction out"),
        (["--against", "itself"], "invalid choice: 'itself'"),
    ],
)
def test_bad_input_gets_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert exit_code(*SMALL, "--out", tmp_path / "out", *arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("benchmarks.parity: error: ")
    assert message in line
    assert not (tmp_path / "out").exists()
