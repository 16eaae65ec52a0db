"""Memory that is limited for real: commands on files beyond reason, and workers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.workers.environments import CHECKOUT, find_python
from shared.checkpoint.sources import resolve_model
from shared.limits import LINE, SMALL_FILE
from tests.checkpoints import write_classifier

MOST = 600 * 2**20
"""Bytes of data that a command may have; its modules take a third."""

HUGE = 2**31
"""Bytes of a file that the disk need not have."""

LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[1]),) * 2)
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""

GRID = ("--backend", "torch", "--task", "acceptability", "--threads", "1", "--device", "cpu")


def limited(*arguments: object, stdin: int = subprocess.DEVNULL) -> tuple[int, str]:
    """Exit code and errors of a command that is refused memory beyond MOST."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, (MOST, *arguments))],
        stdin=stdin,
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )
    return done.returncode, done.stderr


def huge(file: Path, begin: bytes = b"", size: int = HUGE) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.write(begin)
        stream.truncate(size)
    return file


def test_planning_takes_no_memory_for_what_is_beyond_reason(tmp_path: Path) -> None:
    model = Path(shutil.copytree(resolve_model("random:bert-tiny"), tmp_path / "model"))
    rows = huge(tmp_path / "rows.csv", b"text,label\n", 4 * LINE)  # a line without end
    code, said = limited("benchmarks.run", *GRID[:2], "--task", rows, "--model", model)
    assert (code, said.count("\n")) == (2, 1), said
    huge(tmp_path / "CoLA" / "raw" / "in_domain_train.tsv")
    for name in ("in_domain_dev", "out_of_domain_dev"):
        (tmp_path / "CoLA" / "raw" / f"{name}.tsv").write_text("x\t1\t\ta b\n")
    code, said = limited("benchmarks.run", *GRID[:2], "--task", "cola", "--data-dir", tmp_path, "--model", model)
    assert (code, said.split("; ")[-1]) == (2, "pass it in parts\n")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"vocab_size": 9**9}))
    code, said = limited("benchmarks.run", *GRID, "--model", model)
    assert (code, said.count("\n"), "vocab_size is 387420489" in said) == (2, 1, True)
    huge(model / "config.json")
    code, said = limited("benchmarks.run", *GRID, "--model", model)
    assert (code, said) == (
        2,
        f"benchmarks.run: error: {model / 'config.json'} has {HUGE:,} bytes, and {SMALL_FILE:,} are read at most; pass "
        "another\n",
    )


def test_a_report_takes_no_memory_for_what_is_no_record(tmp_path: Path) -> None:
    """Nor for what a record could not have, in a file of a size that one could have."""
    records = tmp_path / "records"
    files = [huge(records / "0.json"), records / "1.json", records / "2.json"]
    files[1].write_text('{"format": 1, "recipe": {}, "surprise": [' + "0.5," * 50_000_000 + "0]}")
    files[2].write_text("[" * 100_000_000)
    code, said = limited("benchmarks.report", tmp_path)
    named = [f"{file} is not a record of this project and is left aside; run its cell again" for file in files]
    refused = f"benchmarks.report: error: {records} holds no records; pass the --out folder of a run"
    assert (code, said.splitlines()) == (2, [*named, refused])


def test_predict_and_check_take_no_memory_for_what_is_beyond_reason(tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "model")
    texts = huge(tmp_path / "texts.txt", b"a text\n")
    code, said = limited("benchmarks.predict", "--model", model, "--file", texts)
    refused = f"{texts} has more than 1,073,741,824 bytes; pass it in parts\n"
    assert (code, said) == (2, f"benchmarks.predict: error: {refused}")
    with texts.open("rb") as stdin:
        code, said = limited("benchmarks.predict", "--model", model, stdin=stdin.fileno())
    assert (code, said) == (2, f"benchmarks.predict: error: {refused.replace(str(texts), 'standard input')}")
    pack = huge(tmp_path / "pack" / "pack.json").parent
    code, said = limited("benchmarks.port", "check", tmp_path, "--pack", pack)
    assert (code, said.count("\n"), f"{pack / 'pack.json'} has {HUGE:,} bytes" in said) == (2, 1, True)


# --- workers

MOST_KIB = 700_000
"""KiB of data of a worker: enough for torch, and for small batches."""


def run(out: Path, *arguments: object) -> tuple[int, str]:
    """Exit code and output of benchmarks.run with torch's own worker."""
    command = [sys.executable, "-m", "benchmarks.run", *GRID, "--model", "random:bert-tiny", "--out", out, *arguments]
    variables = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=CHECKOUT, env=variables)
    return done.returncode, done.stdout


def test_a_cell_that_finds_no_memory_fails_alone(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        f"""#!/bin/sh
case "$*" in *backends.worker*) ulimit -d {MOST_KIB};; esac
exec "{find_python("torch", {})}" "$@"
"""
    )
    python.chmod(0o755)
    sizes = ("--max-len", "512", "--limit", "128", "--epochs", "1", "--batch-size", "128", "4")
    code, out = run(tmp_path / "out", *sizes, "--python", f"torch={python}")
    said = "the worker ran out of memory; free some, or pass a smaller --batch-size or --max-len"
    assert (code, out.count(f"FAILED torch: {said}\n"), out.count("    test loss ")) == (1, 1, 1), out
    (failure,) = (tmp_path / "out" / "failed").iterdir()
    assert json.loads(failure.read_text())["reason"] == said


def test_a_cell_that_takes_more_memory_than_it_may_fails(tmp_path: Path) -> None:
    code, out = run(tmp_path / "out", "--max-len", "16", "--limit", "20", "--memory", "100M")
    said = "the worker took more memory than --memory 100 MiB, and was ended"
    assert (code, out.count(f"FAILED torch: {said}\n")) == (1, 1), out
    assert len(list((tmp_path / "out" / "failed").iterdir())) == 1
