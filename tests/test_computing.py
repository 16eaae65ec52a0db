"""How backends compute: which have which precision, and precision and compilation in options, cells and jobs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import to_builtins

from backends import BACKENDS, check_padding, check_precision
from backends.devices import check_capability
from backends.parts import check_mode
from benchmarks.cells import embedding_update
from benchmarks.cells.plan import Cell, Request, plan_cells
from benchmarks.cli.options import add_computing_options
from benchmarks.cli.parser import Parser
from shared.architecture import Architecture, Dropout
from shared.contract import Build
from shared.encoding import read_encoded, trained_ids
from shared.errors import InputError
from shared.job import TRAINED, EmbeddingUpdate, Job, Precision, stored
from shared.recipe import Recipe
from shared.records import cell_id

REQUEST = Request(
    backends=["torch", "keras"],
    tasks=["acceptability"],
    models=["random:bert-tiny"],
    recipes=[Recipe(max_len=16, batch_size=8)],
    device="cpu",
    threads=1,
    limit=30,
    data_dir=None,
    pythons={},
)


@pytest.fixture(scope="module")
def grid() -> list[Cell]:
    return plan_cells(replace(REQUEST, precisions=("float32", "bfloat16"), compile=(False, True)))


def computing(*arguments: str) -> tuple[list[str], list[bool]]:
    """The values of `--precision` and `--compile`."""
    parser = Parser(prog="toy")
    add_computing_options(parser)
    options = parser.parse_args(arguments)
    return options.precision, options.compile


# --- precisions


@pytest.mark.parametrize(
    ("backend", "device", "has"),
    [
        ("torch", "cpu", {"float32", "float64", "bfloat16"}),
        ("torch", "cuda:0", {"float32", "float64", "bfloat16", "float16", "tf32"}),
        ("gluon", "cpu", {"float32", "float64"}),
        ("gluon", "cuda:1", {"float32", "float64"}),
        ("keras", "cpu", {"float32", "float64", "bfloat16"}),
        ("keras", "cuda:0", {"float32", "float64", "bfloat16", "tf32"}),
    ],
)
def test_a_precision_that_a_backend_lacks_is_refused(backend: str, device: str, has: set[str]) -> None:
    for precision in (*TRAINED, "float64"):
        if precision in has:
            check_precision(backend, device, precision)
            continue
        with pytest.raises(InputError) as refusal:
            check_precision(backend, device, precision)
        others = ", ".join(name for name in TRAINED if name in has)
        assert str(refusal.value) == (
            f"{backend} does not compute in {precision} on {device}; pass --precision {others}, or leave {backend} out"
        )


def test_a_backend_without_packed_rows_refuses_by_name() -> None:
    """MXNet has none."""
    check_padding("gluon", Recipe(padding="longest"))
    with pytest.raises(InputError) as refusal:
        check_padding("gluon", Recipe(padding="none"))
    assert str(refusal.value) == (
        "gluon does not compute without padding; pass --padding longest or bucket, or leave gluon out"
    )


def test_compiled_keras_without_padding_is_refused() -> None:
    check_padding("keras", Recipe(padding="none"))
    with pytest.raises(InputError) as refusal:
        check_padding("keras", Recipe(padding="none"), compile=True)
    assert str(refusal.value) == (
        "keras would compile for nearly every batch without padding; pass --compile no or --padding longest"
    )


def test_every_backend_has_float32_and_float64() -> None:
    for backend in BACKENDS.values():
        assert {"float32", "float64"} <= {*backend.cpu} & {*backend.gpu}


@pytest.mark.parametrize("precision", ["bfloat16", "tf32"])
def test_a_gpu_older_than_ampere_lacks_bfloat16_and_tf32(precision: Precision) -> None:
    with pytest.raises(InputError) as refusal:
        check_capability("cuda:0", precision, (7, 5))
    assert str(refusal.value) == (
        f"cuda:0 has compute capability 7.5, and {precision} needs 8.0; pass --precision float32"
    )
    check_capability("cuda:0", precision, (8, 0))
    check_capability("cuda:0", precision, (10, 0))
    for older in ("float32", "float64", "float16"):
        check_capability("cuda:0", older, (6, 0))


def test_a_frameworks_own_parts_run_plain_or_in_float64() -> None:
    """They are refused any other precision, and compilation."""
    build = Build(Architecture("bert", 8, 4, 1, 1, 4, 8, 2, "gelu", 1e-12, Dropout(), 2), {}, Recipe())
    check_mode(build)
    check_mode(replace(build, precision="float64"))
    others: list[dict[str, Any]] = [{"precision": "bfloat16"}, {"precision": "tf32"}, {"compile": True}]
    others += [{"touched": np.arange(3)}, {"recipe": Recipe(padding="none")}]
    for other in (replace(build, **fields) for fields in others):
        with pytest.raises(InputError, match="float32, not compiled"):
            check_mode(other)


def test_only_float64_is_stored_as_such() -> None:
    assert {precision: stored(precision) for precision in (*TRAINED, "float64")} == {
        **dict.fromkeys(TRAINED, "float32"),
        "float64": "float64",
    }


# --- the options


def test_float32_without_compilation_is_the_default() -> None:
    assert computing() == (["float32"], [False])


def test_precision_and_compile_take_several_values() -> None:
    asked = ("--precision", "bfloat16", "float32", "--compile", "yes", "no")
    assert computing(*asked) == (["bfloat16", "float32"], [True, False])


def test_float64_is_for_parity_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        computing("--precision", "float64")
    assert "'float64' is not one of float32, bfloat16, float16, tf32" in capsys.readouterr().err


# --- cells


def test_cells_span_a_grid_whose_backends_run_close_together(grid: list[Cell]) -> None:
    assert [(cell.precision, cell.compile, cell.backend) for cell in grid] == [
        (precision, compile, backend)
        for precision in ("float32", "bfloat16")
        for compile in (False, True)
        for backend in ("torch", "keras")
    ]


def test_precision_and_compile_leave_old_cells_as_they_were(grid: list[Cell]) -> None:
    """A cell at both defaults is known as it was before there were any, if its update is dense."""
    (cell,) = plan_cells(replace(REQUEST, backends=["torch"], embedding_updates=("dense",)))
    asked = {
        "kind": "train",
        "backend": "torch",
        "revision": BACKENDS["torch"].revision,
        "versions": cell.environment.versions,
        "task": "acceptability",
        "data": cell.asked.data,
        "checkpoint": cell.asked.checkpoint,
        "recipe": {"max_len": 16, "batch_size": 8},
        "device": "cpu",
        "threads": 1,
    }
    assert to_builtins(cell.asked) == asked
    assert cell.id == cell_id(asked)


def test_precision_and_compile_are_part_of_a_cells_id(grid: list[Cell]) -> None:
    assert len({cell.id for cell in grid}) == len(grid)
    asked = [to_builtins(cell.asked) for cell in grid if cell.backend == "torch"]
    plain = asked[0]
    assert [{name: each[name] for name in each if name not in plain} for each in asked] == [
        {},
        {"compile": True},
        {"precision": "bfloat16"},
        {"precision": "bfloat16", "compile": True},
    ]


def test_an_update_by_rows_is_part_of_a_cells_id_title_and_job(tmp_path: Path) -> None:
    dense, rows = plan_cells(replace(REQUEST, backends=["torch"], embedding_updates=("dense", "rows")))
    assert to_builtins(rows.asked) == to_builtins(dense.asked) | {"embedding_update": "rows"}
    assert [cell.title.rsplit(maxsplit=1)[1] for cell in (dense, rows)] == ["dense", "rows"]
    rows.job(save=None).write(tmp_path)
    assert Job.read(tmp_path).embedding_update == "rows"


@pytest.mark.parametrize("text", ["dense", "".join(["den", "se"])])
def test_a_dense_update_leaves_a_cell_as_it_was(text: EmbeddingUpdate) -> None:
    """A word of a command line is another object than the default."""
    (cell,) = plan_cells(replace(REQUEST, backends=["torch"], embedding_updates=(text,)))
    assert "embedding_update" not in to_builtins(cell.asked)


def test_rows_are_refused_with_decay_in_the_gradient() -> None:
    recipe = replace(REQUEST.recipes[0], optimizer="adam")
    request = replace(REQUEST, backends=["torch"], embedding_updates=("rows",))
    with pytest.raises(InputError, match=r"^--embedding-update rows: with optimizer adam, decay 0\.01 is a part of"):
        plan_cells(replace(request, recipes=[recipe]))
    for other in (replace(recipe, decay=0.0), replace(recipe, decay_exempt=("embeddings",))):
        assert plan_cells(replace(request, recipes=[other]))


def test_the_quicker_update_is_taken_if_none_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, if they are few of the table, on a CPU, where that was measured."""
    quicker, adam = replace(REQUEST, backends=["torch"]), replace(REQUEST.recipes[0], optimizer="adam")
    (cell,) = plan_cells(quicker)
    assert (cell.embedding_update, cell.asked.embedding_update) == ("rows", "rows")
    assert not cell.title.endswith("rows")
    (decayed,) = plan_cells(replace(quicker, recipes=[adam]))
    assert decayed.embedding_update == "dense"
    words = len(trained_ids(read_encoded(cell.question.data), cell.question.architecture.vocab_size))
    monkeypatch.setattr(embedding_update, "_on_cpu", embedding_update._on_cpu.__wrapped__)
    monkeypatch.setattr(embedding_update, "MOST_TOUCHED", (words - 0.5) / cell.question.architecture.vocab_size)
    (most,) = plan_cells(quicker)
    assert most.embedding_update == "dense"
    assert embedding_update.quicker_update(cell.question, "cuda:0") == "dense"


def test_a_cells_title_names_precision_and_compile(grid: list[Cell]) -> None:
    begin = "acceptability torch len 16 batch 8 seed 1"
    titles = [cell.title for cell in grid if cell.backend == "torch"]
    assert titles == [begin, f"{begin} compiled", f"{begin} bfloat16", f"{begin} bfloat16 compiled"]


def test_a_job_has_its_cells_precision_and_compile(grid: list[Cell], tmp_path: Path) -> None:
    for cell in grid:
        cell.job(save=None).write(tmp_path)
        job = Job.read(tmp_path)
        assert (job.precision, job.compile) == (cell.precision, cell.compile)


def test_a_precision_is_refused_before_anything_is_read() -> None:
    request = replace(REQUEST, backends=["torch", "gluon"], precisions=("float32", "bfloat16"), tasks=["no such task"])
    with pytest.raises(InputError, match="gluon does not compute in bfloat16 on cpu"):
        plan_cells(request)
