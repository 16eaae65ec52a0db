"""Growing work: its table, and one whole run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from msgspec import structs

from benchmarks.speed.__main__ import main
from benchmarks.speed.asked import Computing, ScalingAsked
from benchmarks.speed.scaling import Size, Sizes, scaling_table
from benchmarks.workers import attempts
from shared.errors import InputError
from tests.speed_factories import COMMON

ASKED = ScalingAsked(Computing(precision="float32"), **structs.asdict(COMMON))


def size(backend: str, rows: int, tokens: int, seconds: float, peak: int, busy: float = 0.0) -> Size:
    """A size whose rows took 10 µs each to encode. The peak is in MiB."""
    return Size(
        backend=backend,
        rows=rows,
        tokens=tokens,
        encode_seconds=rows / 1e5,
        epoch_seconds=seconds,
        start_seconds=1.0,
        peak_memory_bytes=peak * 2**20,
        busy_cores=busy,
    )


def test_sizes_are_set_beside_the_fewest_rows() -> None:
    sizes = [
        size("torch", 10_000, 110_000, 55.0, 330),
        size("torch", 1_000, 10_000, 4.0, 300),
        size("keras", 1_000, 10_000, 2.0, 600, busy=0.5),
    ]
    keras, small, large = scaling_table(sizes).to_dict("records")
    assert (keras["backend"], keras["× fewest rows"], keras["peak × fewest rows"]) == ("keras !", "1.000", "1.000")
    assert (small["backend"], small["rows"], small["µs a token"]) == ("torch", "1,000", "400.0")
    assert (large["rows"], large["µs a token"], large["× fewest rows"]) == ("10,000", "500.0", "1.250")
    assert (large["peak MiB"], large["peak × fewest rows"]) == ("330", "1.100")
    assert (small["µs a row"], large["µs a row"]) == ("10.0", "10.0")


def test_another_allocator_is_another_question(tmp_path: Path) -> None:
    loaded = structs.replace(ASKED, allocator="jemalloc")
    assert loaded.file(tmp_path) != ASKED.file(tmp_path)
    assert (ASKED.workers_shown, loaded.workers_shown) == ("2 threads", "2 threads, allocator jemalloc")


def test_one_command_trains_on_each_size_once_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attempts, "ATTEMPTS", 1)
    asked = ["--task", "acceptability", "--model", "random:bert-tiny", "--backend", "torch", "--scale", "24", "12"]
    asked += ["--max-len", "16", "--batch-size", "4", "--threads", "1", "--device", "cpu", "--out", str(tmp_path)]
    for again in (False, True):
        with pytest.raises(SystemExit) as end:
            main(asked)
        assert end.value.code == 0
        assert ("[2/2] torch 24 rows" in capsys.readouterr().out) != again
    with (tmp_path / "scaling.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["rows"] for line in lines] == ["12", "24"]
    for line in lines:
        assert 3 * int(line["rows"]) <= int(line["tokens"]) <= 16 * int(line["rows"])
        assert min(float(line[name]) for name in ("epoch_seconds", "encode_seconds", "start_seconds")) > 0
    assert "| torch" in (tmp_path / "scaling.md").read_text()


@pytest.mark.parametrize("content", ['{"sizes": 1}', "[]", "{", '{"asked": {}, "sizes": []}'])
def test_a_file_of_other_content_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "rounds.json"
    file.write_text(content)
    with pytest.raises(InputError, match=r"rounds\.json holds no sizes of benchmarks\.speed --scale; delete it and"):
        Sizes.read(file, ASKED)
