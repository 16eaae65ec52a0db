"""The work of `check`: reads, asks the reference, prints and writes."""

from __future__ import annotations

from pathlib import Path

from benchmarks.port.check import Asked, Checked, check
from benchmarks.port.diagnosis import diagnose
from benchmarks.port.reference import Reference
from benchmarks.port.report import check_page, write_report
from benchmarks.workers.progress import terminal
from shared.pack import Pack


def check_recording(
    pack_folder: Path,
    recording: Path,
    out: Path,
    asked: Asked,
    pythons: dict[str, Path],
    threads: int,
    picture: bool = True,
    diagnosed: bool = True,
) -> Checked:
    """Checks, prints and writes the report under `out`, with a picture or without; unless `diagnosed`, no cause is
    searched. Raises InputError and ProcessFailed."""
    pack = Pack.read(pack_folder)
    diagnosing = diagnose if diagnosed else None
    checked = check(pack, recording, Reference.find(pythons, threads), asked, out / "map.toml", diagnosing)
    write_report(checked, out, picture)
    console = terminal()
    check_page(checked).print(console)
    written = f"\n{out}: check.md, check.json, {'check.png, ' * picture}map.toml"
    console.print(written, style="dim", highlight=False, soft_wrap=True)
    return checked
