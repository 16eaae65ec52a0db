"""The work of `gallery`: runs third-party ports on the pack, each in its own environment, and checks them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from benchmarks.port.check import Asked
from benchmarks.port.checking import check_recording
from benchmarks.port.pack import generated, make_pack
from benchmarks.port.reference import Reference
from benchmarks.port.third_party import Port, port_names
from benchmarks.reporting.page import Table
from benchmarks.workers.progress import terminal
from shared.pack import CONTENTS, Pack


def list_ports() -> None:
    """Prints a table of all third-party ports."""
    ports = [Port.find(name) for name in port_names()]
    rows = [
        {
            "port": port.name,
            "package": f"{port.facts.package} {port.version(port.facts.package)}",
            "computes with": f"{port.facts.framework} {port.version(port.facts.framework)}",
            "Python": port.facts.python,
            "wrong by itself": "; ".join(port.facts.wrong) or "nothing",
        }
        for port in ports
    ]
    Table(pd.DataFrame(rows), "Third-party ports", names=1).print(terminal())


def run_ports(names: list[str], pack: Path, out: Path, again: bool, pythons: dict[str, Path], threads: int) -> int:
    """Runs the ports of these names, and leaves each one's report in a folder of its name under `out`. A pack that is
    missing is made. Returns 0 if each port is wrong on the rungs that its port.toml names and on no other, else 1.
    Raises InputError and ProcessFailed."""
    ports = [Port.find(name) for name in (port_names() if names == ["all"] else names)]
    if not (pack / CONTENTS).is_file():
        with generated() as source:
            make_pack(source, pack, Reference.find(pythons, threads))
    Pack.read(pack)
    surprises = [_run(port, pack, out / port.name, again, pythons, threads) for port in ports]
    return 1 if any(surprises) else 0


def _run(port: Port, pack: Path, out: Path, again: bool, pythons: dict[str, Path], threads: int) -> bool:
    """Runs and checks one port. Returns whether other rungs are wrong than are known to be."""
    console = terminal(stderr=True)
    if again or not port.is_made:
        console.print(f"{port.name}: makes its environment, {port.environment.name}", highlight=False)
        port.make_environment()
    recording = port.environment / "recording"
    console.print(f"{port.name}: train.py on {pack}", highlight=False)
    port.run(pack, recording, threads)
    check_recording(pack, recording, out, Asked(), pythons, threads)
    found = json.loads((out / "check.json").read_text(encoding="utf-8"))
    wrong = [rung["rung"] for rung in found["rungs"] if rung["state"] in ("wrong", "parts")]
    known = port.facts.wrong
    if wrong == known:
        console.print(f"{port.name}: as its port.toml says", highlight=False)
    else:
        console.print(f"{port.name}: wrong are {_listed(wrong)}; its port.toml says {_listed(known)}", highlight=False)
    return wrong != known


def _listed(rungs: list[str]) -> str:
    return "; ".join(rungs) or "none"
