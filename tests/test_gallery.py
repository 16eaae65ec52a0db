"""Third-party ports: their files, their committed verdicts, and the command that runs them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from backends import BACKENDS
from backends.parts import PARTS
from benchmarks.parity.rungs import RUNG
from benchmarks.port import third_party
from benchmarks.port.check import Checked
from benchmarks.port.gallery import AnyPort, find_ports, wrong_rungs
from benchmarks.port.own_ports import own_ports
from benchmarks.port.third_party import LOCK, Port, find_interpreter, port_names
from shared.files import from_json
from shared.hypotheses import HYPOTHESIS
from shared.pack import Pack
from tests.recordings import float32, run_port

ROOT = Path(__file__).parents[1]
NAMES = port_names()
EVERY = list(find_ports(["all", "own"]))
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
FACTS = 'title = "Ours"\npackage = "ours"\nframework = "torch"\ncause = "none"\n'
COPIES = 'import os, shutil\nshutil.copytree(os.environ["SOUND"], os.environ["CONCORD_RECORDING"])\n'
"""A script that records what a sound port records."""


def committed(name: str) -> Checked:
    """The port's committed verdict."""
    return from_json((ROOT / "results" / "ports" / name / "check.json").read_bytes(), Checked)


@pytest.mark.parametrize("name", NAMES)
def test_a_port_has_a_short_script_and_facts(name: str) -> None:
    port = Port.find(name)
    assert len((port.folder / "train.py").read_text(encoding="utf-8").splitlines()) < 60
    assert port.version(port.facts.package)
    assert port.version(port.facts.framework)
    assert set(port.facts.wrong) <= set(RUNG)
    assert bool(port.facts.remedy) or not port.facts.wrong


@pytest.mark.parametrize("name", NAMES)
def test_a_port_is_locked_for_a_cpu(name: str) -> None:
    pins = [line for line in Port.find(name).lock.splitlines() if not line.startswith("#")]
    assert pins
    for line in pins:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][a-z0-9.]*", line), line
        assert not re.match(r"nvidia-|cuda-|triton", line), line


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_verdict_is_what_facts_say(name: str) -> None:
    verdict = committed(name)
    assert wrong_rungs(verdict) == Port.find(name).facts.wrong
    assert verdict.mapped == verdict.parameters


@pytest.mark.parametrize("port", EVERY, ids=lambda port: port.name)
def test_a_committed_verdict_tells_what_is_known(port: AnyPort) -> None:
    verdict = committed(port.name)
    assert verdict.diagnosis.differences == port.told
    assert verdict.diagnosis.unexplained == []
    assert verdict.holds == (not port.told)
    assert set(port.told) <= set(HYPOTHESIS)


def test_every_adapter_and_part_of_a_bert_is_there() -> None:
    names = [port.name for port in own_ports()]
    assert names[:5] == ["concord_torch", "concord_gluon", "concord_keras", "concord_keras_jax", "stock_torch_trainer"]
    assert len(names) == len(set(names)) == len(BACKENDS) + sum("bert" in part.kinds for part in PARTS)
    assert not set(names) & set(NAMES)
    assert [port.name for port in find_ports(["stock_keras_rows", "own"])] == ["stock_keras_rows", *names]


def test_an_adapter_answers_the_pack(default_pack: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_port("gallery", "concord_torch", "--pack", default_pack.folder, "--out", tmp_path) == 0
    assert "concord_torch: as it is known to be" in capsys.readouterr().err
    assert {file.name for file in (tmp_path / "concord_torch").iterdir()} == {"check.json", "check.md"}
    found = from_json((tmp_path / "concord_torch" / "check.json").read_bytes(), Checked)
    assert {rung.rung: rung.state for rung in found.rungs} == dict.fromkeys(RUNG, "holds")


def test_the_page_is_made_of_the_committed_verdicts(tmp_path: Path) -> None:
    assert run_port("gallery", "--out", ROOT / "results" / "ports", "--document", tmp_path / "ports.md") == 0
    assert (tmp_path / "ports.md").read_text(encoding="utf-8") == (ROOT / "docs" / "ports.md").read_text(
        encoding="utf-8"
    )


def test_a_missing_verdict_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_port("gallery", "--out", tmp_path, "--document", tmp_path / "ports.md") == 2
    assert f"run: tox run -e ports -- {NAMES[0]}" in capsys.readouterr().err


def test_without_a_name_all_ports_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_port("gallery") == 0
    printed = capsys.readouterr().out
    assert all(port.name in printed for port in EVERY)


def test_an_unknown_port_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_port("gallery", "nobodys") == 2
    error = "benchmarks.port: error: there is no port nobodys; for a list: python -m benchmarks.port gallery\n"
    assert capsys.readouterr().err == error


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a port named ours, whose environment needs no package."""
    monkeypatch.setattr(third_party, "PORTS", tmp_path / "ports")
    monkeypatch.setattr(third_party, "ENVIRONMENTS", tmp_path / "environments")
    folder = tmp_path / "ports" / "ours"
    folder.mkdir(parents=True)
    (folder / LOCK).write_text("# none\n")
    (folder / "port.toml").write_text(f'{FACTS}python = "{PYTHON}"\n')
    (folder / "train.py").write_text(COPIES)
    return folder


def test_a_port_is_run_and_compared_with_its_facts(
    ours: Path, default_pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOUND", str(float32(default_pack, tmp_path / "sound")))
    command = ("gallery", "ours", "--pack", default_pack.folder, "--out", tmp_path / "out")
    assert run_port(*command) == 0
    assert "ours: as it is known to be" in capsys.readouterr().err
    assert {file.name for file in (tmp_path / "out" / "ours").iterdir()} >= {"check.json", "check.md", "check.png"}
    made = Port.find("ours").python.stat().st_ctime_ns
    (ours / "port.toml").write_text(f'{FACTS}python = "{PYTHON}"\nwrong = ["clipped"]\ntold = ["clip-each"]\n')
    assert run_port(*command) == 1
    printed = capsys.readouterr().err
    assert "ours: wrong are none; its port.toml says clipped" in printed
    assert "ours: told as none; known is clip-each" in printed
    assert Port.find("ours").python.stat().st_ctime_ns == made, "the environment was made again"


def test_a_script_that_fails_is_told_by_its_last_lines(
    ours: Path, default_pack: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ours / "train.py").write_text("raise SystemExit('no luck')\n")
    assert run_port("gallery", "ours", "--pack", default_pack.folder, "--out", tmp_path / "out") == 1
    assert capsys.readouterr().err.endswith("benchmarks.port: ports/ours/train.py failed\n  | no luck\n")


def test_a_missing_python_is_named(ours: Path, default_pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    (ours / "port.toml").write_text(f'{FACTS}python = "3.1"\n')
    assert run_port("gallery", "ours", "--pack", default_pack.folder) == 2
    assert "ours needs Python 3.1, and there is no python3.1 on PATH; install it" in capsys.readouterr().err


def test_a_python_of_pyenv_is_found_behind_its_shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim, installed = tmp_path / "shims", tmp_path / "versions" / f"{PYTHON}.1" / "bin"
    for folder in (shim, installed):
        folder.mkdir(parents=True)
    (shim / f"python{PYTHON}").write_text("#!/bin/sh\nexit 127\n")
    (shim / f"python{PYTHON}").chmod(0o755)
    (installed / f"python{PYTHON}").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(shim))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert find_interpreter(PYTHON, "ours") == installed / f"python{PYTHON}"


def test_facts_that_do_not_fit_are_refused(ours: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ours / "port.toml").write_text("title = 3\n")
    assert run_port("gallery", "ours") == 2
    assert "benchmarks.port: error: ports/ours/port.toml is no list of facts (" in capsys.readouterr().err
