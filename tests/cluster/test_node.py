"""A node by itself: environments, folders, and its lock; and what is computed of nodes and cells."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from benchmarks.cells.dry_run import makespan
from benchmarks.cells.estimates import shown_time
from benchmarks.cluster.cluster import Size, exclusive_cpus
from benchmarks.cluster.node import Folder, Node, Unready, _placed, environment
from benchmarks.cluster.travel import Travel
from benchmarks.workers.environments import CHECKOUT
from shared.cache import cache_dir
from shared.checkpoint.sources import resolve_model
from shared.files import hash_file
from shared.partial import PARTIAL


def wheel(folder: Path) -> Path:
    """A package of one module."""
    file = folder / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as written:
        written.writestr("toy.py", "answer = 42\n")
        written.writestr("toy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        written.writestr("toy-1.0.dist-info/WHEEL", tag)
        written.writestr("toy-1.0.dist-info/RECORD", "")
    return file


def test_an_environment_is_made_once_for_two_that_want_it(tmp_path: Path) -> None:
    lock = tmp_path / "toy.txt"
    lock.write_text(f"{wheel(tmp_path)}\n")
    script = (
        "import sys; from pathlib import Path; from benchmarks.cluster.node import environment; "
        "print(environment(*map(Path, sys.argv[1:])))"
    )
    command = [sys.executable, "-c", script, str(lock), str(tmp_path / "made")]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(CHECKOUT)})
        for _ in range(2)
    ]
    told = {process.communicate()[0].strip() for process in both}
    assert len(told) == 1
    (python,) = told
    ran = subprocess.run([python, "-c", "import toy; print(toy.answer)"], capture_output=True, text=True, check=True)
    assert ran.stdout == "42\n"
    assert [path.name for path in (tmp_path / "made").iterdir()] == [Path(python).parents[1].name]
    made = Path(python).stat().st_mtime_ns
    assert environment(lock, tmp_path / "made") == Path(python)
    assert Path(python).stat().st_mtime_ns == made
    lock.write_text(f"# another choice\n{tmp_path / 'toy-1.0-py3-none-any.whl'}\n")
    assert environment(lock, tmp_path / "made") != Path(python)


def test_an_environment_that_cannot_be_made_is_told_and_leaves_no_half(tmp_path: Path) -> None:
    lock = tmp_path / "toy.txt"
    lock.write_text(f"{tmp_path}/missing-1.0-py3-none-any.whl\n")
    with pytest.raises(Unready, match=r"cannot make the environment of requirements/toy.txt \(ERROR: .*missing"):
        environment(lock, tmp_path / "made")
    assert not [path for path in (tmp_path / "made").iterdir() if not path.name.startswith(".")]


def test_a_place_alone_holds_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "node"))
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.1")
    lock = cache_dir() / "cluster" / "slots" / "node.lock"

    def free() -> bool:
        with lock.open("a") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    assert Node(False).where().host.endswith("(10.0.0.1)")
    lock.parent.mkdir(parents=True, exist_ok=True)
    assert free()
    place = Node(True)
    assert place.where() == place.where()
    assert not free()
    assert place.held is not None
    os.close(place.held)
    assert free()


def test_a_folder_travels_once_and_whole(tmp_path: Path) -> None:
    source = resolve_model("random:bert-tiny")
    sent: list[bytes] = []

    def put(content: bytes) -> int:
        sent.append(content)
        return len(sent) - 1

    store = SimpleNamespace(put=put)
    travel = Travel(store, None)  # type: ignore[arg-type]
    folder = travel.checkpoint(source)
    assert travel.checkpoint(source) is folder
    assert sorted(folder.parts) == sorted(path.name for path in source.iterdir())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "get", lambda number: sent[number])
        place = _placed(folder)
        patch.setattr(ray, "get", None)
        assert _placed(folder) == place
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {
        path.name: path.read_bytes() for path in source.iterdir()
    }
    shared = Travel(store, tmp_path).checkpoint(source)  # type: ignore[arg-type]
    assert (shared.name, shared.parts, _placed(shared).parent.parent) == (folder.name, {}, tmp_path)
    with pytest.raises(Unready, match="does not see /nowhere; pass a --shared-dir that every node sees"):
        _placed(Folder("x", {}, "/nowhere"))


def test_results_travel_without_what_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("whole", "gone", f".file{PARTIAL}", f".folder{PARTIAL}/inner"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def late(file: Path) -> str:
        (tmp_path / "gone").unlink(missing_ok=True)
        return hash_file(file)

    monkeypatch.setattr("benchmarks.cluster.travel.hash_file", late)
    assert [*Travel(SimpleNamespace(put=len), None).results(tmp_path).parts] == ["whole"]  # type: ignore[arg-type]


def test_weights_of_other_formats_stay_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.cluster.travel.SMALL_FILE", 100)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"0" * 200)
    (tmp_path / "pytorch_model.bin").write_bytes(b"0" * 200)
    monkeypatch.setattr("benchmarks.cluster.travel.weight_files", lambda folder: [folder / "model.safetensors"])
    folder = Travel(SimpleNamespace(put=len), None).checkpoint(tmp_path)  # type: ignore[arg-type]
    assert sorted(folder.parts) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("cpus", "asked"), [([8, 8, 8], 8), ([8, 5, 16], 16), ([8, 5], 5), ([64], 64), ([4, 2, 1], 4), ([1, 1], 1)]
)
def test_no_node_has_room_for_two_units(cpus: list[int], asked: int) -> None:
    found = exclusive_cpus([Size(str(n), number, 0) for n, number in enumerate(cpus)])
    assert found == asked
    assert max(cpus) < 2 * found


def test_units_start_on_the_node_that_is_free_first() -> None:
    assert makespan([4, 3, 2, 1], 1) == 10
    assert makespan([4, 3, 2, 1], 2) == 5
    assert makespan([4, 3, 2, 1], 9) == 4
    assert makespan([1, 1, 9], 2) == 10


def test_times_are_told_in_the_unit_that_fits() -> None:
    assert [shown_time(seconds) for seconds in (40, 720, 12600)] == ["40 s", "12 min", "3.5 h"]


def test_a_node_needs_nothing_but_ray_and_the_standard_library() -> None:
    """Ray's part is imported where it is used."""
    script = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); import benchmarks.cluster.node"
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
