"""The recorder outside this project: as a wheel in a clean environment, and as one file on an old Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from recorder.concord_recorder import VERSION
from tests.packs import write_pack

ROOT = Path(__file__).parents[1]
SCRIPT = """
import numpy as np
from concord_recorder import Pack, Recorder

pack, record = Pack(), Recorder()
for run in pack.runs:
    model = {"w/" + name: array.T for name, array in run.weights.items()}
    record(run, parameters=model)
    for step in run.steps:
        record(step, loss=np.float64(step.batch.labels.mean()), logits=np.zeros((3, 2)))
        if run.trains:
            record(step, gradients=list(model.values()), parameters=model)
"""


def oldest_python() -> str:
    """Path of the oldest Python from 3.7 on that starts here: on the path, of pyenv, or the present one."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for minor in range(7, sys.version_info.minor):
        places = [shutil.which(f"python3.{minor}"), *sorted(map(str, pyenv.glob(f"3.{minor}.*/bin/python")))]
        for place in filter(None, places):
            shown = subprocess.run(
                [place, "-c", "import venv, sys; print(sys.version_info.minor)"], capture_output=True
            )
            if shown.stdout.split() == [str(minor).encode()]:
                return place
    return sys.executable


OLDEST = oldest_python()
MINOR = subprocess.run([OLDEST, "-c", "import sys; print(sys.version_info.minor)"], capture_output=True, text=True)


def run(*command: str | Path, **environment: str) -> str:
    """Runs a command apart from this environment. Fails with what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CONCORD"))}
    words = list(map(str, command))
    done = subprocess.run(words, env=kept | environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def clean(folder: Path, python: str) -> Path:
    """Makes an empty environment, and returns its interpreter."""
    run(python, "-m", "venv", folder)
    return folder / "bin" / "python"


def check(recording: Path, python: Path, script: Path, pack: Path) -> None:
    """Runs the script, and asserts that it recorded."""
    run(python, script, CONCORD_PACK=str(pack), CONCORD_RECORDING=str(recording))
    told = json.loads((recording / "recording.json").read_text())
    assert told["recorder"] == VERSION
    assert told["python"] == run(python, "-c", "import sys; print(sys.version.split()[0])").strip()
    found = json.loads((recording / "map.json").read_text())
    assert (found["missing"], found["unmatched"]) == ([], [])
    assert (recording / "dev" / "2" / "loss.npz").exists()
    assert (recording / "steep" / "2" / "gradients.npz").exists()


def test_the_wheel_records_in_a_clean_environment(tmp_path: Path) -> None:
    source = shutil.copytree(ROOT / "recorder", tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    python = clean(tmp_path / "venv", sys.executable)
    run(python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "dist", source)
    (wheel,) = (tmp_path / "dist").iterdir()
    assert wheel.name == f"concord_recorder-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as file:
        modules = {name for name in file.namelist() if "/" not in name}
        metadata = file.read(f"concord_recorder-{VERSION}.dist-info/METADATA").decode().splitlines()
    assert modules == {path.name for path in (ROOT / "recorder").glob("*.py")}
    assert [line for line in metadata if line.startswith("Requires")] == [
        "Requires-Python: >=3.7",
        "Requires-Dist: numpy",
    ]
    run(python, "-m", "pip", "install", "-q", wheel)
    script = tmp_path / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    check(tmp_path / "recording", python, script, write_pack(tmp_path / "pack"))


@pytest.mark.parametrize("python", [OLDEST], ids=[f"python-3.{MINOR.stdout.strip()}"])
def test_the_file_records_on_the_oldest_python_here(tmp_path: Path, python: str) -> None:
    interpreter = clean(tmp_path / "venv", python)
    run(interpreter, "-m", "pip", "install", "-q", "numpy")
    shutil.copy(ROOT / "recorder" / "concord_recorder.py", tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    check(tmp_path / "recording", interpreter, tmp_path / "script.py", write_pack(tmp_path / "pack"))
