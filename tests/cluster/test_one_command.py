"""One command in its folder on a node: what is kept of it, and what comes back."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from benchmarks.cluster import command, node
from benchmarks.cluster.command import Asked, Ended, Results, run
from benchmarks.cluster.commands import _read
from benchmarks.cluster.node import CommandWork, Done, Folder, Node
from benchmarks.cluster.place import Lost
from benchmarks.workers.environments import CHECKOUT
from shared.cache import cache_dir
from shared.files import from_json, to_json
from shared.partial import PARTIAL

START = """
import os, signal, sys, time
from pathlib import Path
from benchmarks.cli.parser import one_line_errors
out = Path(sys.argv[1])
"""


def ran(folder: Path, program: str, before: dict[str, str]) -> Ended:
    """The end of a command that runs this program, on these results. `out` is their folder."""
    (folder / "toy.py").write_text(START + program)
    so_far = folder / f"before {sorted(before.items())}"
    so_far.mkdir(exist_ok=True)
    for name, content in before.items():
        (so_far / name).write_text(content)
    asked = Asked(
        module="toy",
        arguments=[Results("OUT")],
        pythons={},
        before=str(so_far),
        variables={"PYTHONPATH": f"{folder}{os.pathsep}{CHECKOUT}"},
    )
    return run(asked, folder / "command")


KILLED = "(out / 'round').write_text('made'); os.kill(os.getpid(), signal.SIGKILL)"


def test_a_killed_command_goes_on_from_what_it_made(tmp_path: Path) -> None:
    first = ran(tmp_path, KILLED, {})
    assert (first.killed, first.files) == (True, {})
    second = ran(tmp_path, "print((out / 'round').read_text()); (out / 'table').touch()", {})
    assert (second.code, second.killed, second.out) == (0, False, "made\n")
    assert second.files.keys() == {"round", "table"}


def test_what_is_left_hides_no_newer_result(tmp_path: Path) -> None:
    """It stays if the results so far are those that it was made of."""
    ran(tmp_path, KILLED, {"round": "before"})
    show = f"print((out / 'round').read_text(), flush=True); {KILLED}"
    assert ran(tmp_path, show, {"round": "before"}).out == "made\n"
    assert ran(tmp_path, show, {"round": "newer"}).out == "newer\n"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_command_that_a_signal_ends_is_lost(tmp_path: Path, name: str) -> None:
    program = f"""
with one_line_errors("toy"):
    os.kill(os.getpid(), signal.{name})
    time.sleep(60)
"""
    ended = ran(tmp_path, program, {})
    with pytest.raises(Lost, match=f"^the command ended with {ended.code}$"):
        _read(Done(to_json(ended), {}, 0, ""))


@pytest.mark.parametrize(("code", "told"), [(0, 1), (3, 3)])
def test_too_large_results_leave_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, told: int
) -> None:
    monkeypatch.setattr(command, "LARGEST", 10)
    program = f"print('a table'); print('a fault', file=sys.stderr); (out / 'a').write_text('0' * 11); sys.exit({code})"
    ended = ran(tmp_path, program, {})
    assert (ended.code, ended.out, ended.files) == (told, "a table\n", {})
    assert ended.errors == "a fault\ntoy: its results are 11 bytes; 10 are taken at most\n"


def test_half_written_results_stay_on_the_node(tmp_path: Path) -> None:
    program = f"(out / '.table.0{PARTIAL}').touch(); (out / 'table').touch()"
    assert ran(tmp_path, program, {}).files.keys() == {"table"}


def test_the_same_command_twice_at_once_runs_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "node"))
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.1")
    monkeypatch.setattr(node, "_code", lambda: CHECKOUT)
    monkeypatch.setattr(node, "_bench_python", lambda _: Path(sys.executable))
    program = "assert not list(out.iterdir()); (out / 'a').touch(); time.sleep(1); (out / 'b').write_text('b')"
    (tmp_path / "toy.py").write_text(START + program)
    (tmp_path / "before").mkdir()
    work = CommandWork(
        name="command-twice",
        module="toy",
        arguments=(node.Results("OUT"),),
        interpreters=(),
        before=Folder("before", {}, str(tmp_path / "before")),
        variables={"PYTHONPATH": f"{tmp_path}{os.pathsep}{CHECKOUT}"},
        shared=None,
    )
    done: list[Done] = []
    both = [threading.Thread(target=lambda: done.append(Node(False).command(work))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [from_json(one.told, Ended).code for one in done] == [0, 0]
    assert [one.files for one in done] == [{"a": b"", "b": b"b"}] * 2
    assert not list((cache_dir() / "cluster" / "jobs").glob("*command-twice*"))
