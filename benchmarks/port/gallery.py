"""The work of `gallery`: records and checks third-party ports, each in its own environment, this project's adapters,
and standard parts of their frameworks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks.port.check import Asked, Checked
from benchmarks.port.checking import check_recording
from benchmarks.port.own_ports import OwnPort, own_ports
from benchmarks.port.pack import generated, make_pack
from benchmarks.port.reference import Reference
from benchmarks.port.third_party import Port, port_names
from benchmarks.reporting.page import Table
from benchmarks.workers.progress import terminal
from shared.pack import CONTENTS, Pack

AnyPort = Port | OwnPort


def find_ports(names: list[str]) -> Iterator[AnyPort]:
    """The ports of these names; `all` for every third-party one, `own` for this project's. Raises InputError."""
    own = {port.name: port for port in own_ports()}
    for name in names:
        if name == "own":
            yield from own.values()
        elif name == "all":
            yield from map(Port.find, port_names())
        else:
            yield own[name] if name in own else Port.find(name)


def list_ports() -> None:
    """Prints a table of all ports."""
    rows = [
        {
            "port": port.name,
            "library": port.library,
            "computes with": port.computes_with,
            "Python": port.python_version,
            "told as": ", ".join(port.told) or "–",
        }
        for port in find_ports(["all", "own"])
    ]
    Table(pd.DataFrame(rows), "Ports", names=1).print(terminal())


def run_ports(names: list[str], pack: Path, out: Path, again: bool, pythons: dict[str, Path], threads: int) -> int:
    """Runs the ports of these names, and leaves each one's report in a folder of its name under `out`. A pack that is
    missing is made. Returns 0 if each port is wrong where it is known to be, and told as that, else 1. Raises
    InputError and ProcessFailed."""
    ports = list(find_ports(names))
    if not (pack / CONTENTS).is_file():
        with generated() as source:
            make_pack(source, pack, Reference.find(pythons, threads))
    Pack.read(pack)
    surprises = [_run(port, pack, out / port.name, again, pythons, threads) for port in ports]
    return 1 if any(surprises) else 0


def _run(port: AnyPort, pack: Path, out: Path, again: bool, pythons: dict[str, Path], threads: int) -> bool:
    """Runs and checks one port. Returns whether it is not as it is known to be."""
    console = terminal(stderr=True)
    if isinstance(port, Port):
        _prepare(port, again)
    console.print(f"{port.name}: records {pack}", highlight=False)
    with tempfile.TemporaryDirectory() as scratch:
        recording = Path(scratch) / "recording"
        port.run(pack, recording, pythons, threads)
        foreign = isinstance(port, Port)
        checked = check_recording(pack, recording, out, Asked(), pythons, threads, picture=foreign)
    if not foreign:  # its names are the pack's
        (out / "map.toml").unlink()
    surprises = list(_surprises(port, checked))
    for surprise in surprises or ["as it is known to be"]:
        console.print(f"{port.name}: {surprise}", highlight=False)
    return bool(surprises)


def _prepare(port: Port, again: bool) -> None:
    with port.alone():
        if again or not port.is_made:
            terminal(stderr=True).print(f"{port.name}: makes its environment, {port.environment.name}", highlight=False)
            port.make_environment()


def wrong_rungs(checked: Checked) -> list[str]:
    """Rungs that are wrong by themselves, or may be."""
    return [found.rung for found in checked.rungs if found.state in ("wrong", "parts")]


def _surprises(port: AnyPort, checked: Checked) -> Iterator[str]:
    found, told = wrong_rungs(checked), checked.diagnosis.differences
    if isinstance(port, Port) and found != port.facts.wrong:
        yield f"wrong are {_listed(found)}; its port.toml says {_listed(port.facts.wrong)}"
    if told != port.told:
        yield f"told as {_listed(told)}; known is {_listed(port.told)}"


def _listed(names: list[str]) -> str:
    return "; ".join(names) or "none"
