"""report.html in a browser: charts, tables, keyboard, widths, themes, accessibility, print, and no request."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks.reporting.html.page import FILE, write_html
from benchmarks.reporting.record_tables import Tables
from shared.records import Record
from tests.browser import a_browser, a_page
from tests.test_html import HOSTILE, ROOT, trained

BACKENDS = ("torch", "gluon", "keras")
SEEDS = (1, 2, 3)
GRID = [(max_len, batch) for max_len in (64, 128) for batch in (16, 32)]
SCORE = {"torch": 0.7, "gluon": 0.65, "keras": 0.75}
OTHERS = {
    "parity.json": "parity/parity.json",
    "check.json": "ports/google_bert/check.json",
    "speed.json": "speed/speed.json",
    "equivalence.json": "equivalence/equivalence.json",
}

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with a_browser() as found:
        yield found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section: three backends, three seeds, two lengths by two batch sizes."""
    out = tmp_path_factory.mktemp("page")
    for name, source in OTHERS.items():
        (out / name).write_bytes((ROOT / "results" / source).read_bytes())
    page_of(
        out,
        [
            trained(backend, seed, SCORE[backend] + 0.01 * seed, max_len=max_len, batch_size=batch)
            for (max_len, batch), backend, seed in itertools.product(GRID, BACKENDS, SEEDS)
        ],
    )
    return out / FILE


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page whose tables have 120 rows."""
    out = tmp_path_factory.mktemp("long")
    page_of(out, [trained(accuracy=0.001 * n, learning_rate=n * 1e-5, train_rows=100) for n in range(1, 121)])
    return out / FILE


def page_of(out: Path, records: list[Record]) -> None:
    """Writes the page of these records, and of what else the folder holds."""
    assert write_html(out, Tables.of(records))


def marks(page: Any, chart: str, kind: str = "symbol") -> int:
    """The number of marks of data in a chart, less those in the colour of text."""
    found: int = page.locator(f"#{chart} .mark-{kind}.role-mark:not(.ink_marks) > path").count()
    return found


def column(page: Any, table: str, place: int) -> list[str]:
    """The cells that are shown in a column, counted from 1."""
    found: list[str] = page.locator(f"#{table} tbody tr:visible > :nth-child({place})").all_inner_texts()
    return [cell.split("\n")[0] for cell in found]


def test_each_chart_has_a_mark_for_each_value(browser: Any, whole: Path) -> None:
    ladder = json.loads((whole.parent / "parity.json").read_text())["climbers"]
    check = json.loads((whole.parent / "check.json").read_text())["rungs"]
    seeds = json.loads((whole.parent / "equivalence.json").read_text())["comparisons"]
    speed = json.loads((whole.parent / "speed.json").read_text())["modes"]
    with a_page(browser, whole) as opened:
        page = opened.page
        assert marks(page, "score-time") == len(GRID) * len(BACKENDS)
        assert marks(page, "by-setting") == len(GRID) * len(BACKENDS)
        assert marks(page, "curves") == len(BACKENDS) * len(SEEDS) * 2
        assert page.locator("#matrices table").count() == len(BACKENDS)
        assert page.locator("#pivot table").count() == len(BACKENDS)
        assert marks(page, "ladder") == sum(bool(one["share"]) for each in ladder.values() for one in each["rungs"])
        findings = [one[kind] for one in check for kind in ("from_pack", "by_itself")]
        assert marks(page, "check") == sum(bool(one and one["share"]) for one in findings)
        assert marks(page, "seeds") == sum(one["second"] == "gluon" and one["first"] == "torch" for one in seeds)
        assert marks(page, "floors", "rect") == len(speed)
        assert opened.said == []
        assert opened.asked == []


def test_a_choice_redraws_every_chart_that_offers_it(browser: Any, whole: Path) -> None:
    with a_page(browser, whole) as opened:
        page = opened.page
        assert "test accuracy" in page.inner_text("#score-time .drawing")
        page.select_option("#score-time select[name=Score]", "dev F1")
        page.wait_for_function("document.querySelector('#score-time .drawing').textContent.includes('dev F1')")
        page.select_option("#curves select[name=Settings]", index=2)
        page.wait_for_function("document.querySelector('#matrices select[name=Settings]').selectedIndex === 2")
        assert opened.said == []


def test_a_point_shows_its_values_and_so_does_the_list(browser: Any, whole: Path) -> None:
    with a_page(browser, whole) as opened:
        page = opened.page
        page.locator("#score-time .mark-symbol.role-mark > path").last.hover()
        shown = page.locator("#vg-tooltip-element.visible")
        shown.wait_for()
        text = shown.inner_text()
        page.locator("#score-time summary").press("Enter")
        cells = page.locator("#score-time .values tbody tr").last.locator("td").all_inner_texts()
        assert len(cells) == 6
        assert "keras" in cells
        assert all(cell in text for cell in cells)


def test_a_confusion_matrix_sums_over_the_seeds(browser: Any, whole: Path) -> None:
    with a_page(browser, whole) as opened:
        cells = opened.page.locator("#matrices table").first.locator("tbody td").all_inner_texts()
    assert cells == ["6", "0", "3", "3"]


def test_the_pivot_has_a_cell_for_each_setting(browser: Any, whole: Path) -> None:
    with a_page(browser, whole) as opened:
        opened.page.select_option("#pivot select[name=Value]", "dev accuracy")
        table = opened.page.locator("#pivot table").nth(1)
        assert table.locator("caption").inner_text() == "gluon"
        assert table.locator("thead th").all_inner_texts() == ["16", "32"]
        assert table.locator("tbody th").all_inner_texts() == ["64", "128"]
        cells = table.locator("tbody td").all_inner_texts()
    assert len(cells) == len(GRID)
    assert all(cell.startswith("0.69 ± 0.02") for cell in cells)


def test_a_heading_sorts_by_number_and_by_word(browser: Any, long: Path) -> None:
    with a_page(browser, long) as opened:
        page = opened.page
        headings = page.locator("#quality thead th").all_inner_texts()
        place = headings.index("dev accuracy") + 1
        button = page.locator("#quality thead button").nth(place - 1)
        written = column(page, "quality", place)
        button.click()
        assert page.get_attribute(f"#quality thead th:nth-child({place})", "aria-sort") == "ascending"
        assert column(page, "quality", place) == sorted(written, key=lambda cell: float(cell.rstrip("*")))
        button.focus()
        page.keyboard.press("Enter")
        assert page.get_attribute(f"#quality thead th:nth-child({place})", "aria-sort") == "descending"
        assert column(page, "quality", place)[0].startswith("0.130")
        page.keyboard.press("Space")
        assert page.get_attribute(f"#quality thead th:nth-child({place})", "aria-sort") is None
        assert column(page, "quality", place) == written


def test_a_filter_keeps_rows_that_match(browser: Any, whole: Path) -> None:
    with a_page(browser, whole) as opened:
        page = opened.page
        assert page.inner_text("#quality [role=status]") == "12 rows"
        page.get_by_label("Filter").first.focus()
        page.keyboard.type("GLUON max_len=64")
        assert column(page, "quality", 3) == ["gluon", "gluon"]
        assert page.inner_text("#quality [role=status]") == "2 of 12 rows match"
        assert page.locator("#speed tbody tr:visible").count() == 12


def test_of_a_long_table_a_hundred_rows_are_shown_at_first(browser: Any, long: Path) -> None:
    with a_page(browser, long) as opened:
        page = opened.page
        assert page.locator("#quality tbody tr:visible").count() == 100
        assert page.inner_text("#quality [role=status]") == "120 rows; the first 100 are shown"
        page.locator("#quality .more").press("Enter")
        assert page.locator("#quality tbody tr:visible").count() == 120
        assert not page.locator("#quality .more").is_visible()


def test_settings_that_follow_from_the_task_are_shown_when_asked_for(browser: Any, tmp_path: Path) -> None:
    plain = [
        trained(task, learning_rate=rate, task=name)
        for name, rate in (("cola", 1e-5), ("mrpc", 2e-5))
        for task in BACKENDS
    ]
    page_of(tmp_path, plain)
    with a_page(browser, tmp_path / FILE) as opened:
        page = opened.page
        headings = page.locator("#quality thead th:visible")
        assert headings.all_inner_texts()[:3] == ["task", "backend", "seeds"]
        page.get_by_label("Settings that follow").first.check()
        assert headings.all_inner_texts()[:3] == ["task", "learning_rate", "backend"]
        assert column(page, "quality", 2) == ["1e-05"] * 3 + ["2e-05"] * 3
        assert opened.overflow() == 0


def test_a_chart_says_of_which_task_it_is(browser: Any, tmp_path: Path) -> None:
    bare = replace(trained(task="cola"), answer=replace(trained().answer, details={}))
    page_of(tmp_path, [bare, trained(task="mrpc")])
    with a_page(browser, tmp_path / FILE) as opened:
        page = opened.page
        assert page.locator("#score-time select[name=Task]").input_value() == "cola"
        assert page.locator("#matrices select[name=Task] option").all_inner_texts() == ["mrpc"]
        assert page.locator("#score-time select[name=Model]").count() == 0


@pytest.mark.parametrize("width", [390, 800, 1440])
def test_no_width_is_too_narrow(browser: Any, whole: Path, width: int) -> None:
    with a_page(browser, whole, width) as opened:
        assert opened.overflow() == 0
        wide = opened.page.evaluate(
            "[...document.querySelectorAll('main svg')].filter(({ parentNode: box, clientWidth }) => "
            "clientWidth > box.closest('figure').clientWidth).length"
        )
        assert wide == 0
        cut = opened.page.evaluate(
            "[...document.querySelectorAll('main svg')].filter((svg) => [...svg.querySelectorAll('text')].some("
            "(text) => text.getBoundingClientRect().top < svg.getBoundingClientRect().top - 1)).length"
        )
        assert cut == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Any, whole: Path, scheme: str) -> None:
    with a_page(browser, whole, 1440, scheme) as opened:
        opened.page.locator("#score-time summary").click()
        assert opened.faults() == []


def test_the_theme_follows_the_system_and_the_switch(browser: Any, whole: Path) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    with a_page(browser, whole, scheme="dark") as opened:
        dark = opened.page.evaluate(colour)
        opened.page.locator("#theme").press("Enter")
        light = opened.page.evaluate(colour)
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(21, 24, 29)")


def test_the_file_refuses_requests_and_foreign_scripts(browser: Any, whole: Path) -> None:
    with a_page(browser, whole) as opened:
        refused = opened.page.evaluate(
            """async () => {
                const seen = [];
                document.addEventListener("securitypolicyviolation", (event) => seen.push(event.effectiveDirective));
                const image = new Image();
                image.src = "http://localhost:9/x.png";
                const script = document.createElement("script");
                script.textContent = "window.hit = 1";
                document.body.append(image, script);
                await fetch("http://localhost:9/x").catch(() => {});
                await new Promise((done) => setTimeout(done, 100));
                return [seen.sort(), window.hit ?? null];
            }"""
        )
    assert refused == [["connect-src", "img-src", "script-src-elem"], None]


def test_a_text_of_a_record_is_never_an_element(browser: Any, tmp_path: Path) -> None:
    page_of(tmp_path, [replace(trained(label=HOSTILE), model=HOSTILE)])
    with a_page(browser, tmp_path / FILE) as opened:
        page = opened.page
        assert page.inner_text("h1") == f"{HOSTILE} on cola"
        assert page.locator("#matrices tbody th").first.inner_text() == HOSTILE
        page.locator("#score-time summary").click()
        assert page.locator("img").count() == 0
        assert page.evaluate("window.hit ?? null") is None
        assert opened.said == []


def test_print_is_light_whole_and_without_controls(browser: Any, long: Path) -> None:
    with a_page(browser, long, scheme="dark") as opened:
        page = opened.page
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
        assert not page.locator("#theme").is_visible()
        assert not page.locator("#quality .more").is_visible()
        assert page.inner_text("#quality [role=status]") == "120 rows; the first 100 are shown"
        assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_javascript_every_row_is_there(browser: Any, long: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(long.as_uri())
    assert page.locator("#quality tbody tr:visible").count() == 120
    context.close()
