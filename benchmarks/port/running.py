"""The work of `run`: runs a port on the pack and checks it; of a large one that fails, once more with whole arrays."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from benchmarks.port.check import Asked
from benchmarks.port.checking import check_recording
from benchmarks.port.whole import failing_parameters, one_of_each_kind
from benchmarks.workers.processes import end_with_children, started
from shared.errors import InputError, tell
from shared.pack import Pack


def run_and_check(
    command: list[str], pack: Path, recording: Path, out: Path, asked: Asked, pythons: dict[str, Path], threads: int
) -> int:
    """Runs the command, then checks. If the pack wants sketches and rungs fail, runs it again with some arrays kept
    whole, which tell whether an optimizer's step is wrong by itself, and why; causes are searched then. Returns the
    exit code. Raises InputError and ProcessFailed."""
    wanted = Pack.read(pack).wanted
    if not run_command(command, pack, recording, ()):
        return 1
    checked = check_recording(pack, recording, out, asked, pythons, threads, diagnosed=not wanted.sketches)
    if not wanted.sketches or checked.holds:
        return 0 if checked.holds else 1
    failing = failing_parameters(checked)
    if failing:
        others = [name for name in one_of_each_kind(wanted.parts["parameters"]) if name not in failing]
        print(
            f"\nbenchmarks.port: again, with {', '.join(failing)} whole, and {len(others)} small parameters",
            file=sys.stderr,
        )
        shutil.rmtree(recording)
        if not run_command(command, pack, recording, (*failing, *others)):
            return 1
    return 0 if check_recording(pack, recording, out, asked, pythons, threads).holds else 1


def run_command(command: list[str], pack: Path, recording: Path, whole: tuple[str, ...]) -> bool:
    """Runs the command with the folders in its environment, and says so if it fails. Returns whether it succeeded.
    Raises InputError if it cannot be started."""
    given = {
        "CONCORD_PACK": str(pack.absolute()),
        "CONCORD_RECORDING": str(recording.absolute()),
        "CONCORD_WHOLE": ",".join(whole),
    }
    try:
        with started(command, end_with_children, env=os.environ | given) as process:
            code = process.wait()
    except OSError as error:
        raise InputError(f"{command[0]} does not run ({error.strerror}); pass your command after --") from None
    if code:
        tell(f"benchmarks.port: {command[0]} ended with exit code {code}; nothing is checked")
    return not code
