"""Where a step's time goes, by each framework's own profiler: operators are counted, and bad input is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from backends import BACKENDS
from benchmarks.profile import main

TENSORS = 41
"""Parameters of random:bert-tiny: 3 tables of embeddings, their LayerNorm's 2, 16 in each of 2 layers, 2 of the pooler,
2 of the classifier."""
LINEARS = 14
"""Six in each layer, the pooler and the classifier."""

COUNTED = {
    "torch": {"aten::_fused_adamw_": 2, "mkldnn::_linear_pointwise": 2 * LINEARS, "aten::random_": 8, "aten::gelu": 2},
    "gluon": {"_adamw_update": TENSORS, "LayerNorm": 5, "_backward_LayerNorm": 5},
    "keras": {"ResourceApplyAdam": TENSORS, "Erfc": 2},
}
"""By backend, how often a step runs some of the operators: torch's optimizer has a group with decay and one without,
its linear layers one product forwards and one to the input's gradient, its eight layers of dropout one draw each."""


def profile(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    return ended.value.code


@pytest.mark.parametrize("backend", BACKENDS)
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
        (["--backend", "jax"], "unknown backend 'jax'"),
        (["--model", "nix"], "unknown model 'nix'"),
        (["--model", "random:bert-tiny", "--width", "1000"], "512 positions"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_profiled_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert profile(*arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_backend_that_fails_is_named_and_the_exit_code_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its interpreter answers what it has, and ends when it is to measure."""
    broken = tmp_path / "python"
    broken.write_text(
        '#!/bin/sh\ncase "$*" in *backends.operators*) echo no such profiler; exit 3;; esac\n'
        f'exec "{Path(".tox/torch/bin/python").absolute()}" "$@"\n'
    )
    broken.chmod(0o755)
    code = profile(
        "--backend", "torch", "--model", "random:bert-tiny", "--python", f"torch={broken}", "--out", str(tmp_path)
    )
    error = capsys.readouterr().err
    assert code == 1
    assert "torch failed" in error
    assert "no such profiler" in error
