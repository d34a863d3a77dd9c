"""What is asked of the page beyond what its lines show: rows that are chosen, columns that are computed, an order, silence then."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from processors.pipeline_files import load_pipeline
from processors.query.answer import time_text
from support.browser import Visit, chromium, visiting
from support.page_server import PageServer, csv_rows, grouped, now_ms, serving
from support.paths import ROOT

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
PAGES = {"/a": [100, 300, 500], "/b": [40, 40], "/c": [7]}  # bytes of each view
SIZES = [
    (page, size, hours)
    for page, sizes in PAGES.items()
    for hours, some in ((2, sizes), (5, sizes[:1]))
    for size in some
]
EACH = "rollup=page_views&range=1d&select=each%3Dbytes.sum/events&measures=%5B%22events%22%2C%22each%22%5D"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with serving(load_pipeline(ROOT / "pipeline.toml")) as server:
        hour_ms = now_ms() // HOUR_MS * HOUR_MS
        server.send(
            "click",
            (
                {"visitor_id": "v", "page": page, "ts": hour_ms - hours * HOUR_MS, "bytes": size}
                for page, size, hours in SIZES
            ),
        )
        yield server


def each_of(page: str, hours: int) -> str:
    """Return the bytes a view as the page writes them."""
    sizes = [size for name, size, at in SIZES if (name, at) == (page, hours)]
    return grouped(Decimal(sum(sizes)) / len(sizes))


def pages_and_last(rows: list[list[str]]) -> list[tuple[str, str]]:
    return [(row[1], row[-2]) for row in rows]


def type_into(visit: Visit, name: str, text: str) -> None:
    visit.page.locator(name).fill(text)
    visit.page.locator(name).press("Enter")


def test_lines_are_chosen_by_their_numbers_over_the_range(browser: Any, server: PageServer) -> None:
    """All windows of a line are shown, also those that would not pass alone; its lists, file and link have the same."""
    with visiting(browser, server.url) as visit:
        visit.go("rollup=page_views&range=1d")
        visit.until_rows(lambda rows: len(rows) == 6)
        type_into(visit, "#c-where", "events > 2 and page like '/%'")
        rows = visit.until_rows(lambda rows: len(rows) == 4)
        assert {row[1] for row in rows} == {"/a", "/b"}
        visit.until("() => document.querySelectorAll('#lists section:first-child li').length === 2")
        assert visit.top_list("Top by events") == [("/a", "4"), ("/b", "3")]
        link = visit.page.url.partition("#")[2]
        type_into(visit, "#c-where", "events > 99")
        visit.until(
            "() => document.querySelector('#empty').textContent.startsWith('No line of this range passes')"
        )
        visit.go(link)
        visit.until_rows(lambda again: again == rows)
        visit.page.locator("#c-line-page").uncheck()  # all together: one line, whose names are no pages
        visit.until("() => document.querySelector('#c-where')?.ariaInvalid === 'true'")
        type_into(visit, "#c-where", "events > 2")
        visit.until_rows(lambda rows: [row[1] for row in rows] == ["6", "3"])


def test_a_column_is_computed_and_the_table_ordered_by_it(
    browser: Any, server: PageServer, tmp_path: Path
) -> None:
    right = [(page, each_of(page, hours)) for page in PAGES for hours in (2, 5)]
    greatest = sorted(right, key=lambda each: -Decimal(each[1].replace(",", "")))
    with visiting(browser, server.url) as visit:
        visit.go("rollup=page_views&range=1d")
        visit.until_rows(lambda rows: len(rows) == 6)
        type_into(visit, "#c-select", " each = bytes.sum / events ")
        rows = visit.until_rows(lambda rows: sorted(pages_and_last(rows)) == sorted(right))
        assert visit.page.locator(".plot").count() == 2, "it is drawn as well"
        head = visit.page.get_by_role("button", name="each", exact=True)
        head.press("Enter")
        visit.until_rows(lambda rows: pages_and_last(rows) == greatest)
        assert "by each, the greatest first" in visit.page.locator("caption").inner_text()
        assert visit.page.evaluate("document.activeElement.textContent") == "each", "focus stays"
        head.press("Enter")
        visit.until_rows(
            lambda rows: (
                [value for _, value in pages_and_last(rows)] == [value for _, value in greatest[::-1]]
            )
        )
        link = visit.page.url.partition("#")[2]
        visit.page.get_by_role("button", name="window (UTC)").click()
        visit.until_rows(lambda again: again == rows)
        visit.page.go_back()
        visit.until("() => document.querySelector('[aria-sort=ascending]')?.textContent === 'each'")
        with visit.page.expect_download() as found:
            visit.page.get_by_role("button", name="Download CSV").click()
        found.value.save_as(tmp_path / "rows.csv")
        given = csv_rows((tmp_path / "rows.csv").read_text(encoding="utf-8"))
        assert sorted((row["page"], grouped(Decimal(row["each"]))) for row in given) == sorted(right)
        visit.go(link)
        visit.until("() => document.querySelector('[aria-sort=ascending]')?.textContent === 'each'")


def test_what_is_computed_is_no_count_whatever_it_is_called(browser: Any, server: PageServer) -> None:
    """Where nothing happened a count is 0, and what is computed is not there."""
    with visiting(browser, server.url) as visit:
        visit.go(EACH.replace("each", "my.count") + "&key.page=/a")
        visit.until_rows(
            lambda rows: pages_and_last(rows) == [("/a", each_of("/a", 2)), ("/a", each_of("/a", 5))]
        )
        read = []
        for place in (0, 1):
            plot = visit.page.locator(".plot").nth(place)
            plot.press("Home")
            plot.press("ArrowRight")  # the hour behind the first one
            read.append(plot.get_attribute("aria-valuetext"))
        assert [(each or "").partition(". ")[2] for each in read] == ["/a: 0", "no events"]


@pytest.mark.parametrize(
    "case",
    [
        ("where", "events >> 3", "'>' is not expected, at character 9", "events > 3"),
        ("where", "views > 3", "'views' is not known here; these are: bytes.count", "events > 3"),
        ("select", "each = bytes.sum / views", "'views' is not known here", "each = bytes.sum / events"),
        ("select", "bytes.sum / events", "select is name=expression, each name once", "each=bytes.sum/events"),
        ("select", "events = 1", "there is a column of that name", ""),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_it_stands_and_is_gone_once_it_is_mended(
    browser: Any, server: PageServer, case: tuple[str, str, str, str]
) -> None:
    name, wrong, told, right = case
    with visiting(browser, server.url) as visit:
        visit.go(f"rollup=page_views&range=1d&{name}={quote(wrong)}")
        field, mistake = visit.page.locator(f"#c-{name}"), visit.page.locator(f"#c-{name}-wrong")
        visit.until(f"() => document.querySelector('#c-{name}')?.ariaInvalid === 'true'")
        assert told in mistake.inner_text()
        assert field.input_value() == wrong
        assert field.get_attribute("aria-describedby") == mistake.get_attribute("id")
        assert not visit.page.locator("#refused").is_visible()
        type_into(visit, f"#c-{name}", right)
        visit.until_rows(lambda rows: len(rows) > 0)
        visit.until(f"() => document.querySelector('#c-{name}')?.ariaInvalid === 'false'")
        assert mistake.inner_text() == ""


def test_of_a_range_that_is_over_the_silent_are_those_of_its_end(browser: Any, server: PageServer) -> None:
    end_ms = now_ms() // HOUR_MS * HOUR_MS
    with visiting(browser, server.url) as visit:
        visit.go(f"rollup=page_views&silent=15m&range=custom&from={iso(end_ms - DAY_MS)}&to={iso(end_ms)}")
        visit.until("() => document.querySelectorAll('#lists section:last-child li').length === 3")
        note = visit.page.locator("#lists section").last.locator("p.note").inner_text()
        assert note == f"by {iso(end_ms)[:19].replace('T', ' ')} UTC"
        assert any(f"at={quote(iso(end_ms), safe='')}" in each for each in visit.requests)


def iso(ms: int) -> str:
    return time_text(ms).replace("Z", ".000Z")
