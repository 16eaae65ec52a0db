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
from benchmarks.port import answers, reference
from benchmarks.port.answers import basis
from benchmarks.port.reference import PROGRAM, Reference
from benchmarks.workers import beside
from benchmarks.workers.environments import Environment
from benchmarks.workers.launcher import Turns
from shared.answer import OneRecorded
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


def test_an_update_by_rows_climbs_as_a_variant_of_its_own(tmp_path: Path) -> None:
    """In float64 it is the dense one to rounding."""
    options = "--backend", "torch", "--precision", "float64", "--embedding-update", "rows"
    assert exit_code(*FEW, *options, "--out", tmp_path) == 0
    found = read(tmp_path)["climbers"]
    assert list(found) == ["torch float64 rows"]
    errors = {rung["rung"]: rung["error"] for rung in found["torch float64 rows"]["rungs"]}
    assert max(errors["gradients"], errors["last step"], errors["dev"]) < 1e-12


def test_rows_without_padding_climb_the_whole_ladder(tmp_path: Path) -> None:
    """States come back as rows."""
    assert exit_code(*FEW, "--backend", "torch", "--padding", "none", "--out", tmp_path) == 0
    (variant,) = read(tmp_path)["climbers"].values()
    assert [rung["rung"] for rung in variant["rungs"]] == [rung.name for rung in RUNGS]
    assert variant["first_failure"] is None


def test_what_pads_is_refused_without_padding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["--backend", "torch", "gluon"], "gluon does not compute without padding; pass --padding longest"),
        (["--backend", "torch", "--against", "stock"], "--against stock compares with each framework's own padded"),
    ):
        assert exit_code(*FEW, *arguments, "--padding", "none", "--out", tmp_path) == 2
        assert words in capsys.readouterr().err


def test_in_float64_errors_are_far_below_rounding(tmp_path: Path) -> None:
    assert exit_code(*FEW, "--backend", "torch", "gluon", "--precision", "float64", "--out", tmp_path) == 0
    found = read(tmp_path)["climbers"]
    assert list(found) == ["gluon float64"]
    errors = {rung["rung"]: rung["error"] for rung in found["gluon float64"]["rungs"]}
    assert errors["last step"] < 1e-9


def test_the_truth_is_kept_until_it_is_changed_or_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    """The second verdict is the first."""
    command = [*FEW, "--backend", "gluon", "--out", str(tmp_path)]
    assert exit_code(*command) == 0
    before = (tmp_path / "parity.json").read_bytes()

    def without_reference(python: Path, folder: Path, *others: Any, **named: Any) -> Turns[Any]:
        if PROGRAM in others:
            raise ProcessFailed("it is asked")
        return (yield from working(python, folder, *others, **named))

    working = beside.working
    monkeypatch.setattr(beside, "working", without_reference)
    assert exit_code(*command) == 0
    assert (tmp_path / "parity.json").read_bytes() == before
    described = max(
        (cache / "references").glob("described-*/described.json"), key=lambda file: file.parent.stat().st_mtime
    )
    described.write_bytes(described.read_bytes() + b" ")
    assert exit_code(*command) == 1
    damaged, asked = capsys.readouterr().err.splitlines()
    assert damaged == f"{described.parent} is not as it was written: it is made again"
    assert asked == "benchmarks.parity: the reference: it is asked"
    for more in (["--rerun"], ["--threads", "2"]):
        assert exit_code(*command, *more) == 1
        assert capsys.readouterr().err == "benchmarks.parity: the reference: it is asked\n"


@pytest.mark.parametrize(
    ("recorded", "name", "message"),
    [
        (0, "gluon stock", "the worker was killed by SIGKILL"),
        (2, "gluon stock clipping", "the worker was killed by SIGKILL"),
        (9, "gluon stock adam", "the worker records more than it was asked to"),
    ],
)
def test_a_process_of_several_parts_names_the_one_that_it_failed_at(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    recorded: int,
    name: str,
    message: str,
) -> None:
    def dies(python: Path, folder: Path, threads: int, on_event: Any, *others: Any, **named: Any) -> Turns[Any]:
        if folder.name == "gluon-stock":
            for _ in range(recorded):
                on_event(OneRecorded(dev={}))
            raise ProcessFailed("the worker was killed by SIGKILL")
        return (yield from working(python, folder, threads, on_event, *others, **named))

    working = beside.working
    monkeypatch.setattr(beside, "working", dies)
    assert exit_code(*FEW, "--backend", "gluon", "--against", "stock", "--out", tmp_path) == 1
    assert capsys.readouterr().err == f"benchmarks.parity: {name}: {message}\n"
    assert list(tmp_path.iterdir()) == []


def basis_of(version: str = "2", threads: int = 1) -> str:
    return basis(Reference(Environment(Path("python"), {}, {"torch": version}, "3.11"), threads)).hexdigest()


def test_another_version_thread_or_processor_has_another_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [basis_of(), basis_of("3"), basis_of(threads=2)]
    monkeypatch.setattr(reference, "cpu_name", lambda: "another")
    found.append(basis_of())
    monkeypatch.setattr(answers, "CODE", answers.CODE[1:])
    assert len({*found, basis_of()}) == 5


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ProcessFailed("the worker was killed by SIGKILL", ("the last line",)), 1),
        (ProcessFailed("hidden_act is not known; pass another model", refused=True), 2),
    ],
)
@pytest.mark.parametrize("name", ["the reference", "gluon"])
def test_a_worker_that_fails_is_named_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: ProcessFailed,
    code: int,
    name: str,
) -> None:
    """Whatever runs beside it."""

    def fail(python: Path, folder: Path, *others: Any, **named: Any) -> Turns[Any]:
        if name == ("the reference" if PROGRAM in others else folder.name):
            raise failure
        return (yield from working(python, folder, *others, **named))

    working = beside.working
    monkeypatch.setattr(beside, "working", fail)
    assert exit_code(*FEW, "--rerun", "--out", tmp_path) == code
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
        (["--against", "stock", "--embedding-update", "rows"], "leave --embedding-update out"),
        (["--embedding-update", "rows", "--optimizer", "adam", "--backend", "torch"], "decay 0.01 is a part of every"),
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
