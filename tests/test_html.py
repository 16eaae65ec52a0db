"""report.html: what its text holds. tests/test_html_page.py opens it in a browser."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks.report import report
from benchmarks.reporting.html.document import embedded
from benchmarks.reporting.html.page import FILE, write_html
from benchmarks.reporting.record_tables import Tables
from shared.errors import InputError
from shared.metrics import details
from shared.recipe import Recipe
from shared.records import Record, write_record
from tests.factories import answer, epoch, record

ROOT = Path(__file__).parents[1]
HOSTILE = "<img src=x onerror='window.hit=1'></script><script>window.hit=2</script>"


def trained(
    backend: str = "torch",
    seed: int = 1,
    accuracy: float = 0.7,
    label: str = "no",
    task: str = "cola",
    **recipe: Any,
) -> Record:
    """Two epochs of three steps, with confusion matrices."""
    truth, told = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0])
    scored = answer(
        [epoch(seconds + seed, dev=accuracy + 0.01 * seed, steps=3) for seconds in (10.0, 12.0)],
        test=accuracy,
        step_loss=[0.7, 0.65, 0.6, 0.55, 0.5, 0.45],
        details={"dev": details(truth, told, (label, "yes"), 2)},
    )
    return replace(record(Recipe(**recipe, seed=seed, epochs=2), backend, task), answer=scored)


class Elements(HTMLParser):
    """Names of the elements of a page, and the cells of its tables' rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.rows: list[list[str]] = []
        self.cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.cell = False

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.rows[-1][-1] += data


def page(out: Path, *records: Record) -> str:
    assert write_html(out, Tables.of(records) if records else None)
    return (out / FILE).read_text(encoding="utf-8")


def data_of(text: str) -> dict[str, Any]:
    """The embedded data."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    content: dict[str, Any] = json.loads(found[1])
    return content


def test_the_page_has_the_cells_of_table_md(tmp_path: Path) -> None:
    for one in (trained(backend, seed, 0.7 + 0.01 * seed) for backend in ("torch", "keras") for seed in (1, 2, 3)):
        write_record(tmp_path, one, {})
    report(tmp_path, 0)
    lines = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    written = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if re.match(r"\| cola", line)]
    shown = [set(row) for row in Elements((tmp_path / FILE).read_text(encoding="utf-8")).rows]
    assert len(written) == 2 + 1 + 2
    same = {"cola", "128", "32", "0.650", "0.680", "cpu", "–"}
    for row in written:
        assert any(set(row) - same <= cells for cells in shown), row


def test_what_is_alike_in_every_row_is_told_once(tmp_path: Path) -> None:
    text = page(tmp_path, trained("torch"), trained("keras"))
    assert "In every row: task cola, max_len 128, batch 32, dev majority 0.650, test majority 0.680" in text


def test_a_text_of_a_record_stays_text(tmp_path: Path) -> None:
    hostile = replace(trained(label=HOSTILE), model=HOSTILE)
    plain = page(tmp_path, trained())
    text = page(tmp_path, hostile)
    assert Elements(text).names == Elements(plain).names
    assert data_of(text)["data"]["matrices"]["columns"]["labels"][0] == [HOSTILE, "yes"]


def test_embedded_json_ends_no_element_and_no_line() -> None:
    content = {"<b>": "</script><!-- & \u2028 \u2029"}
    text = str(embedded(content))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == content


def test_embedded_numbers_are_those_of_table_csv(tmp_path: Path) -> None:
    text = page(tmp_path, trained("torch", 1, 0.7), trained("torch", 2, 0.8), trained("keras", 1, 0.65))
    columns = data_of(text)["data"]["rows"]["columns"]
    assert columns["test_accuracy"] == [0.75, 0.65]
    assert columns["test_accuracy_low"][1] is None
    # A first epoch counts as (its seconds - 1 of the first step) * 3 / 2: 15 and 13, 16.5 and 14; 15 and 13.
    assert columns["epoch_seconds"] == [14.5, 14]


def test_a_training_curve_is_the_mean_of_stretches(tmp_path: Path) -> None:
    long = replace(trained().answer, step_loss=[float(n % 10) for n in range(400)], step_accuracy=[])
    curves = data_of(page(tmp_path, replace(trained(), answer=long)))["data"]["curves"]["columns"]
    n = [*zip(curves["measure"], curves["split"], strict=True)].index(("loss", "training"))
    assert curves["y"][n] == [4.5] * 40
    assert curves["x"][n][0] == pytest.approx(5 / 3, rel=1e-3)


def test_a_diverged_training_is_told_and_not_drawn(tmp_path: Path) -> None:
    lost = replace(answer([epoch(1.0)], test=None, diverged=3, step_loss=[0.5]), epochs=[], kept_epoch=0)
    text = page(tmp_path, trained("torch"), replace(trained("keras"), answer=lost))
    assert "1 training diverged, and has no score." in text
    assert data_of(text)["data"]["rows"]["columns"]["test_accuracy"] == [0.7, None]


def test_a_folder_without_records_shows_what_else_it_holds(tmp_path: Path) -> None:
    for name in ("parity/parity.json", "ports/google_bert/check.json", "speed/speed.json"):
        target = tmp_path / name.split("/")[-2] / Path(name).name
        target.parent.mkdir()
        target.write_bytes((ROOT / "results" / name).read_bytes())
    report(tmp_path)
    content = data_of((tmp_path / FILE).read_text(encoding="utf-8"))
    assert list(content["charts"]) == ["ladder", "check", "floors"]


def test_a_folder_with_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no records"):
        report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_ladder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "parity.json").write_text('{"asked": 1}')
    text = page(tmp_path, trained())
    assert "parity.json is left aside" in " ".join(capsys.readouterr().err.split())
    assert "ladder" not in data_of(text)["charts"]


def test_numbers_that_json_lacks_come_back(tmp_path: Path) -> None:
    """An error that has no share of its bound, and comparisons of scores that are all the same."""
    ladder = json.loads((ROOT / "results" / "parity" / "parity.json").read_text())
    ladder["climbers"]["gluon"]["rungs"][3] |= {"holds": False, "share": None, "error": None}
    (tmp_path / "parity.json").write_text(json.dumps(ladder))
    seeds = json.loads((ROOT / "results" / "equivalence" / "equivalence.json").read_text())
    seeds["comparisons"][0] |= {"low": None, "high": None, "p_different": None}
    (tmp_path / "equivalence.json").write_text(json.dumps(seeds))
    content = data_of(page(tmp_path))
    assert content["data"]["seeds"]["columns"]["low"][0] is None
    assert content["data"]["seeds"]["columns"]["low"][1] == pytest.approx(seeds["comparisons"][1]["low"], rel=1e-5)
    assert "inf" in content["data"]["ladder"]["columns"]["share"]


def packages() -> list[dict[str, str]]:
    """The packages of npm.toml."""
    found: list[dict[str, str]] = tomllib.loads((ROOT / "requirements" / "npm.toml").read_text())["package"]
    return found


@pytest.mark.parametrize("package", packages(), ids=lambda package: package["name"])
def test_a_script_in_the_tree_is_its_packages(package: dict[str, str]) -> None:
    folder = ROOT / package["folder"]
    script = (folder / Path(package["file"]).name).read_bytes()
    assert hashlib.sha256(script).hexdigest() == package["sha256"]
    assert (folder / f"{package['name']}.LICENSE").stat().st_size > 1000
    assert b"</script" not in script.lower()
    assert b"<!--" not in script


def test_no_script_in_the_tree_is_of_an_unknown_package() -> None:
    known = {Path(package["folder"]) / Path(package["file"]).name for package in packages()}
    assert {path.relative_to(ROOT) for path in ROOT.glob("*/**/vendor/*.js")} == known
