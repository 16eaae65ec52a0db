"""The operators of a step by each framework's own profiler: they are counted, and bad input is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from backends import BACKENDS
from benchmarks.profile import main
from tests.processes import broken_python

TENSORS = 41
"""Parameters of random:bert-tiny: 3 tables of embeddings, their LayerNorm's 2, 16 in each of 2 layers, 2 of the pooler,
2 of the classifier."""
LINEARS = 14
"""Six in each layer, the pooler and the classifier."""
NORMS = ("concord_layer_norm::LayerNorm", "_backward_concord_layer_norm::LayerNorm")
"""MXNet's operator inside this project's, whose backward pass computes the normalized numbers again."""

COUNTED = {
    "torch": {"aten::_fused_adamw_": 2, "mkldnn::_linear_pointwise": 3 * LINEARS, "aten::random_": 8, "aten::gelu": 2},
    "gluon": {"_mp_adamw_update": TENSORS, **dict.fromkeys(NORMS, 5)},
    "keras": {"ResourceApplyAdam": TENSORS, "Erfc": 2},
    "keras-jax": {"divide_subtract_fusion": TENSORS, "while": 8, "wrapped_scatter": 3},
}
"""Calls a step of some operators, by backend. torch's optimizer has a group with decay and one without, its linear
layers one product forwards and one for each of two gradients, its eight layers of dropout one draw each. XLA ends
Adam's step in a fusion of its own for each tensor, draws in a loop for each layer of dropout, and adds up the gradient
of each table of embeddings in a scatter."""


def profile(*arguments: str) -> int | str | None:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    return ended.value.code


@pytest.mark.parametrize("backend", COUNTED)
def test_each_framework_counts_the_operators_of_a_step(
    backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = profile(
        *("--backend", backend, "--model", "random:bert-tiny", "--width", "8", "--batch-size", "2", "--steps", "2"),
        *("--top", "500", "--threads", "1", "--out", str(tmp_path)),
    )
    printed = capsys.readouterr()
    assert code == 0, printed.err
    table = pd.read_csv(tmp_path / "profile.csv").set_index("operator")
    assert {name: table["calls"][name] for name in COUNTED[backend]} == COUNTED[backend]
    assert table["share"].sum() == pytest.approx(1)
    assert (table["seconds"] >= 0).all()
    assert f"{backend}: a step of 2 rows of 8 tokens" in printed.out
    assert all(name in printed.out for name in COUNTED[backend])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tokens", "70"], "--tokens 70: pass 2 to the width, 64"),
        (["--steps", "0"], "--steps 0: pass 1 or more"),
        (["--backend", "gluon", "--precision", "bfloat16"], "gluon does not compute in bfloat16 on cpu"),
        (["--backend", "gluon", "--padding", "none"], "gluon does not compute without padding; pass --padding longest"),
        (["--backend", "jax"], "unknown backend 'jax'"),
        (["--model", "nix"], "unknown model 'nix'"),
        (["--model", "random:bert-tiny", "--width", "1000"], "512 positions"),
    ],
    ids=" ".join,
)
def test_bad_input_is_refused_in_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert profile(*arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_every_profiler_is_tested() -> None:
    assert set(COUNTED) == {name for name, backend in BACKENDS.items() if "probes" not in backend.lacks}


def test_a_room_without_probes_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(BACKENDS, "gluon", replace(BACKENDS["gluon"], lacks={"probes": "nobody wrote them"}))
    assert profile("--model", "random:bert-tiny") == 2
    error = capsys.readouterr().err
    assert error == "benchmarks.profile: error: gluon has no probes: nobody wrote them; leave gluon out\n"


def test_a_profiler_that_fails_keeps_no_other_from_running(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named with its last lines; the other's operators are written; the exit code is 1."""
    python = broken_python(tmp_path / "python", "torch", "backends.operators", "no such profiler")
    code = profile(
        *("--backend", "torch", "gluon", "--model", "random:bert-tiny", "--width", "8", "--batch-size", "2"),
        *("--steps", "1", "--threads", "1", "--python", f"torch={python}", "--out", str(tmp_path)),
    )
    assert code == 1
    assert capsys.readouterr().err == (
        "benchmarks.profile: torch failed: backends.operators ended with exit code 3\n  | no such profiler\n"
    )
    assert set(pd.read_csv(tmp_path / "profile.csv")["backend"]) == {"gluon"}
