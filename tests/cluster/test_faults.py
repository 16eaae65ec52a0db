"""Nodes, commands and workers that end at the wrong moment, and input that is bad."""

from __future__ import annotations

import platform
import re
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from benchmarks.workers.environments import CHECKOUT
from shared.job import CHECKPOINT
from shared.records import read_records
from tests.cluster.clusters import Quick, add_node, cluster_of, lose_node, make_quick, pythons, sweep
from tests.processes import wait_until, workers_of

Options = tuple[str, ...]


def seeds(*wanted: int) -> Options:
    return ("--backend", "torch", "--seed", *map(str, wanted))


def fail(out: Path, *arguments: object, path: Path = CHECKOUT) -> tuple[int, str, str]:
    """The exit code and the output of a sweep."""
    runner = sweep(out, *arguments, path=path)
    stdout, stderr = runner.communicate()
    return runner.returncode, stdout, stderr


def test_a_cell_whose_node_is_lost_runs_on_another(
    cluster: Cluster, quick: Quick, tmp_path: Path, ray_options: Options
) -> None:
    runner = sweep(tmp_path / "out", *seeds(1, 2), quick.option, *ray_options)
    quick.wait_for_runs(2, runner)
    lose_node(cluster)
    wait_until(lambda: len(waiting(quick)) == 1, "its worker has ended")
    quick.go()
    stdout, stderr = runner.communicate()
    add_node(cluster)
    assert (runner.returncode, stderr) == (0, "")
    records = read_records(tmp_path / "out")
    places = [record.circumstances.place for record in records]
    assert sorted(place.attempts for place in places if place) == [1, 2]
    assert len({place.node for place in places if place}) == 1
    assert sorted(Counter(quick.runs()).values()) == [1, 2]
    assert re.search(r"its place on .* was lost \(.*\): it is started again", stdout)


def test_a_cell_waits_for_a_node_if_the_last_is_lost(quick: Quick, tmp_path: Path) -> None:
    with cluster_of(2, head_cpus=0) as cluster:
        options = ("--engine", "ray", "--address", cluster.address, "--retries", "5")
        runner = sweep(tmp_path / "out", *seeds(1), quick.option, *options)
        quick.wait_for_runs(1, runner)
        lose_node(cluster)
        wait_until(lambda: not waiting(quick), "its worker has ended")
        time.sleep(5)  # the command looks for another place
        add_node(cluster)
        quick.go()
        stdout, stderr = runner.communicate()
    assert (runner.returncode, stderr) == (0, "")
    assert " was lost (" in stdout
    assert len(read_records(tmp_path / "out")) == 1


def test_a_cell_goes_on_from_its_checkpoint_on_another_node(
    cluster: Cluster, tmp_path: Path, ray_options: Options
) -> None:
    (tmp_path / "shared").mkdir()
    long = ("--batch-size", "4", "--epochs", "100", "--checkpoint-every", "20", "--shared-dir", tmp_path / "shared")
    runner = sweep(tmp_path / "out", *seeds(1, 2), *pythons("torch"), *long, *ray_options)

    def kept() -> set[Path]:
        return {file.parent for file in tmp_path.glob(f"shared/jobs/*/{CHECKPOINT}/*.npz")}

    wait_until(lambda: len(kept()) == 2, "both cells have a checkpoint")
    lose_node(cluster)
    stdout, stderr = runner.communicate()
    add_node(cluster)
    assert (runner.returncode, stderr) == (0, ""), stdout
    answers = [record.answer for record in read_records(tmp_path / "out")]
    assert sorted(answer.interruptions for answer in answers) == [0, 1]
    assert [len(answer.step_loss) for answer in answers] == [500, 500]
    places = [record.circumstances.place for record in read_records(tmp_path / "out")]
    assert sorted(place.attempts for place in places if place) == [1, 2]
    assert len(re.findall(r"goes on after step \d+ of 500\n", stdout)) == 1


def test_a_node_is_lost_no_more_often_than_told(
    cluster: Cluster, quick: Quick, tmp_path: Path, ray_options: Options
) -> None:
    """The cell is tried again by the same command: that says nothing of it."""
    runner = sweep(tmp_path / "out", *seeds(1, 2), quick.option, *ray_options, "--retries", "0")
    quick.wait_for_runs(2, runner)
    lose_node(cluster)
    wait_until(lambda: len(waiting(quick)) == 1, "its worker has ended")
    quick.go()
    stdout, stderr = runner.communicate()
    add_node(cluster)
    assert (runner.returncode, stderr) == (1, "benchmarks.run: 1 of 2 cells failed\n")
    assert "its place was lost 1 times (" in stdout
    assert len(read_records(tmp_path / "out")) == 1
    assert fail(tmp_path / "out", *seeds(1, 2), quick.option, *ray_options)[::2] == (0, "")


def test_a_command_that_is_killed_leaves_nothing_running(quick: Quick, tmp_path: Path, ray_options: Options) -> None:
    asked = (*seeds(1, 2, 3), quick.option, *ray_options)
    runner = sweep(tmp_path / "out", *asked)
    quick.wait_for_runs(2, runner)
    runner.kill()
    runner.communicate()
    wait_until(lambda: not waiting(quick), "its workers have ended")
    quick.go()
    assert fail(tmp_path / "out", *asked)[::2] == (0, "")
    assert sorted(record.recipe.seed for record in read_records(tmp_path / "out")) == [1, 2, 3]


def waiting(quick: Quick) -> list[psutil.Process]:
    """Workers that wait."""
    wanted = {str(quick.folder / "python"), "backends.worker"}
    return [one for one in psutil.process_iter(["cmdline"]) if wanted <= {*(one.info["cmdline"] or ())}]


def test_ctrl_c_ends_what_runs_everywhere(quick: Quick, tmp_path: Path, ray_options: Options) -> None:
    runner = sweep(tmp_path / "out", *seeds(1, 2, 3), quick.option, *ray_options)
    quick.wait_for_runs(2, runner)
    runner.send_signal(signal.SIGINT)
    _, stderr = runner.communicate()
    assert (runner.returncode, stderr) == (
        130,
        "benchmarks.run: interrupted; what is answered is kept, and the same command goes on\n",
    )
    wait_until(lambda: not waiting(quick), "its workers have ended")
    assert workers_of(tmp_path) == []


def test_a_cell_that_fails_by_itself_runs_once(tmp_path: Path, ray_options: Options) -> None:
    broken = make_quick(tmp_path / "quick", first="echo it broke; exit 3")
    code, stdout, _ = fail(tmp_path / "out", *seeds(1), broken.option, *ray_options)
    assert code == 1
    assert "FAILED torch: the worker ended with exit code 3" in stdout
    assert "      | it broke\n" in stdout
    assert len(broken.runs()) == 1
    (kept,) = (tmp_path / "out" / "failed").iterdir()
    assert "it broke" in (tmp_path / "out" / "jobs" / kept.stem / "worker.log").read_text()


def test_a_cell_that_is_killed_from_outside_runs_again(tmp_path: Path, ray_options: Options) -> None:
    """As by a node that is ending."""
    quick = make_quick(tmp_path / "quick", first="[ -e once ] || { touch once; kill -9 $$; }")
    quick.go()
    code, stdout, _ = fail(tmp_path / "out", *seeds(1), quick.option, *ray_options)
    assert code == 0, stdout
    assert "(the worker was killed by SIGKILL; the kernel does this when memory runs out): it is started ag" in stdout
    (record,) = read_records(tmp_path / "out")
    assert record.circumstances.place is not None
    assert record.circumstances.place.attempts == len(quick.runs()) == 2


def test_bad_input_is_not_tried_again(tmp_path: Path, ray_options: Options) -> None:
    refusing = make_quick(tmp_path / "quick", first='echo "the rows are bad; mend them" > "$3/error.txt"; exit 2')
    code, stdout, _ = fail(tmp_path / "out", *seeds(1), refusing.option, *ray_options)
    assert code == 2
    assert "FAILED torch: the rows are bad; mend them" in stdout
    assert len(refusing.runs()) == 1
    assert not (tmp_path / "out" / "failed").exists()


def test_where_no_ray_answers_one_line_says_so(quick: Quick, tmp_path: Path) -> None:
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        code, stdout, stderr = fail(tmp_path / "out", *seeds(1), "--engine", "ray", "--address", address)
        assert (code, stdout) == (2, "")
        assert stderr.startswith(f"benchmarks.run: error: --address {address}: ")
        assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("import ray; ray.__version__ = '2.9.0'", "and this interpreter Ray 2.9.0 on Python 3."),
        (
            "import ray; ray._private.utils.compute_version_info = lambda: ('2.60.0', '3.99.1')",
            "Ray 2.60.0",
        ),
    ],
)
def test_another_version_on_the_other_side_is_named(
    tmp_path: Path, ray_options: Options, changed: str, said: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(changed)
    code, stdout, stderr = fail(tmp_path / "out", *seeds(1), *ray_options, path=tmp_path)
    assert (code, stdout) == (2, "")
    assert f": the cluster has Ray {ray.__version__} on Python {platform.python_version()}, " in stderr
    assert said in stderr
    assert stderr.endswith("; install the same on both sides\n")
    assert stderr.count("\n") == 1


def test_an_interpreter_that_a_node_lacks_is_named(tmp_path: Path, ray_options: Options) -> None:
    code, _, stderr = fail(tmp_path / "out", *seeds(1), "--python", f"torch={tmp_path}/python", *ray_options)
    assert code == 2
    assert f"benchmarks.run: error: there is no interpreter {tmp_path}/python on " in stderr


def test_options_of_ray_want_ray(tmp_path: Path) -> None:
    code, _, stderr = fail(tmp_path / "out", *seeds(1), "--retries", "1")
    assert (code, stderr) == (2, "benchmarks.run: error: --retries is for --engine ray; pass that too\n")
