"""What the page computes, in the browser, beside Python: numbers, texts, times, links, scales, lines, questions."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processors.pipeline_files import load_pipeline
from processors.query.answer import time_text
from processors.query.selection import Selection
from streamgage.expressions.expression import parse_filter
from streamgage.expressions.kinds import Kind
from streamgage.visible import visible
from support.browser import chromium, visiting
from support.page_server import grouped, serving
from support.paths import ROOT

PIPELINE = load_pipeline(ROOT / "pipeline.toml")
DASH = "\N{EN DASH}"
_LAW = settings(max_examples=60)  # an example is a call into the browser, of many values
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """An empty page that may import the modules."""
    with chromium() as browser, serving(PIPELINE) as server, visiting(browser, server.url) as visit:
        visit.page.goto(f"{server.url}icon.svg")
        visit.page.evaluate("window.violations = []")
        yield visit.page


def run(page: Any, module: str, body: str, argument: Any) -> Any:
    """Return what *body*, with the names of *module* and the argument `x`, gives."""
    names = f"{module.rsplit('/', maxsplit=1)[-1]}"
    return page.evaluate(
        f"async (x) => {{ const m = await import('./{names}'); {body} }}",
        argument,
    )


NUMBERS = (
    st.integers(-(10**40), 10**40).map(str)
    | st.integers(-(2**54), 2**54).map(str)
    | st.decimals(-(10**20), 10**20, places=12).map(lambda each: format(each, "f"))
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
)


@given(numbers=st.lists(NUMBERS, min_size=1, max_size=50), key=TEXTS)
@_LAW
def test_a_number_of_any_length_is_shown_to_its_last_digit(
    page: Any,
    numbers: list[str],
    key: str,
) -> None:
    text = f'{{{json.dumps(key)}: [{", ".join(numbers)}], "t": {json.dumps("1234567890123456789 " + key)}}}'
    shown, kept = (
        run(
            page,
            "exact.js",
            "const [text, key] = x; const found = m.parseExact(text); return [found[key].map(m.cellText), found.t];",
            [text, key if key != "t" else ""],
        )
        if key != "t"
        else ([grouped(Decimal(each)) for each in numbers], "1234567890123456789 t")
    )
    assert shown == [grouped(Decimal(each)) for each in numbers]
    assert kept == f"1234567890123456789 {key}"


def test_a_number_that_a_double_holds_stays_one(page: Any) -> None:
    kinds = run(
        page,
        "exact.js",
        "return m.parseExact(x).map((each) => typeof each);",
        "[9007199254740993, 1.5, 0.1, 1e3, 12345678901234567]",
    )
    assert kinds == ["object", "number", "number", "number", "object"]


@given(numbers=st.lists(NUMBERS, min_size=2, max_size=30))
@_LAW
def test_numbers_of_any_length_are_put_in_their_order(page: Any, numbers: list[str]) -> None:
    ordered = run(
        page,
        "exact.js",
        "return m.parseExact(x).sort(m.compareExact).map(m.cellText);",
        f"[{', '.join(numbers)}]",
    )
    assert ordered == [grouped(each) for each in sorted(map(Decimal, numbers))]


def test_a_long_fraction_is_cut_where_it_is_brief_and_says_so(page: Any) -> None:
    texts = run(
        page, "exact.js", "return x.map(m.briefText);", [24.786304347826, 1234.25, 7, None, 0.125, 0.12345]
    )
    assert texts == ["24.78…", "1,234.25", "7", "", "0.125", "0.12…"]


@given(
    texts=st.lists(st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cn", "Cs"])), max_size=50)
)
@_LAW
def test_a_strangers_text_is_shown_as_everywhere_else(page: Any, texts: list[str]) -> None:
    assert run(page, "visible.js", "return x.map(m.visible);", texts) == [visible(each) for each in texts]


def test_what_turns_text_around_or_is_not_seen_is_escaped(page: Any) -> None:
    texts = ["a\u202eb", "\x1b[2J", "\u200b", "\r\n", "\U000e0041", "a b", "é漢🙂"]
    assert run(page, "visible.js", "return x.map(m.visible);", texts) == [visible(each) for each in texts]
    assert visible(texts[0]) == "a\\u202eb"


@given(instants=st.lists(st.integers(0, 253_402_300_799_999), max_size=50))
@_LAW
def test_a_time_of_an_answer_is_read_and_shown_to_the_millisecond(page: Any, instants: list[int]) -> None:
    found, shown = run(
        page,
        "times.js",
        "const ms = x.map(m.instantMs); return [ms, ms.map((each) => m.instantText(each, true))];",
        [time_text(each) for each in instants],
    )
    assert found == instants
    assert shown == [time_text(each).removesuffix("Z").replace("T", " ") for each in instants]


def test_windows_and_spans_read_as_people_say_them(page: Any) -> None:
    def ms(text: str) -> int:
        return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)

    windows = [
        (ms("2026-11-29T06:55"), ms("2026-11-29T06:56"), f"2026-11-29 06:55{DASH}06:56"),
        (ms("2026-11-29T23:00"), ms("2026-11-30T00:00"), f"2026-11-29 23:00 {DASH} 2026-11-30 00:00"),
        (ms("2026-11-29T06:55:30"), ms("2026-11-29T06:57"), f"2026-11-29 06:55:30{DASH}06:57:00"),
        (ms("2026-11-29"), ms("2026-11-30"), "2026-11-29"),
        (ms("2026-11-01"), ms("2026-12-01"), f"2026-11-01 {DASH} 2026-11-30"),
    ]
    for start, end, text in windows:
        assert run(page, "times.js", "return m.windowText(x[0], x[1], true);", [start, end]) == text
    spans = {
        0: "0.0 s",
        1_234: "1.2 s",
        59_999: "59 s",
        60_000: "1 min",
        250_000: "4 min 10 s",
        93_600_000: "1 d 2 h",
    }
    assert run(page, "times.js", "return x.map(m.spanText);", list(spans)) == list(spans.values())
    assert run(page, "times.js", "return x.map(m.durationMs);", ["90s", "1m", "1w", "1mo", "1d@Europe/Berlin"]) == [
        90_000, 60_000, 604_800_000, None, None,
    ]  # fmt: skip


@given(start=st.integers(0, 2 * 10**12), span=st.integers(1, 10**11), count=st.integers(2, 20))
@_LAW
def test_ticks_of_time_lie_in_their_range_evenly_and_are_not_too_many(
    page: Any, start: int, span: int, count: int
) -> None:
    ticks = run(
        page,
        "times.js",
        "return m.timeTicks(x[0], x[1], x[2], true).map(({at}) => at);",
        [start, start + span, count],
    )
    assert len(ticks) <= count + 1
    assert all(start <= each <= start + span for each in ticks)
    assert len({after - before for before, after in pairwise(ticks)}) <= 1


@given(least=st.floats(-1e30, 1e30), more=st.floats(1e-6, 1e30), count=st.integers(2, 12))
@example(least=1e30, more=1e15, count=5)  # numbers between which a double has none that is round
@example(least=2.0**60, more=1024.0, count=5)
@example(least=9e15, more=1.0, count=12)
@_LAW
def test_ticks_of_numbers_hold_what_is_drawn(page: Any, least: float, more: float, count: int) -> None:
    greatest = least + more
    found = run(page, "scales.js", "return m.niceTicks(x[0], x[1], x[2]);", [least, greatest, count])
    ticks = [float(each) for each in found["ticks"]]  # a whole double comes as an int of other digits
    slack = 1e-6 * found["step"]
    assert ticks[0] <= least + slack
    assert ticks[-1] >= greatest - slack
    assert 2 <= len(ticks) <= count + 3
    assert ticks == sorted(ticks)


NUMBERS_AND_GAPS = st.integers(-1_000, 1_000) | st.integers(-1_000, 1_000) | st.none()
VALUES = st.lists(NUMBERS_AND_GAPS, min_size=1, max_size=10) | st.lists(
    NUMBERS_AND_GAPS, min_size=40, max_size=200
)


@given(values=VALUES, width=st.integers(1, 12))
@_LAW
def test_a_thinned_line_keeps_the_extremes_the_ends_and_the_gaps_of_each_pixel(
    page: Any, values: list[int | None], width: int
) -> None:
    last = len(values) - 1
    kept = run(
        page,
        "scales.js",
        "const [v, w] = x; const values = Float64Array.from(v, (each) => each ?? NaN);"
        "return m.thinned(values, 0, v.length - 1, (at) => (at / Math.max(v.length - 1, 1)) * w);",
        [values, width],
    )
    assert kept == sorted(set(kept))
    columns: dict[tuple[int, int], list[int]] = {}
    run_of = 0
    for at, value in enumerate(values):
        if value is None:
            run_of += 1
        else:
            columns.setdefault((int(at / max(last, 1) * width), run_of), []).append(at)
    thin = len(values) - 1 > 2 * width
    for places in columns.values():
        numbers = [value for at in places if at in kept and (value := values[at]) is not None]
        whole = [value for at in places if (value := values[at]) is not None]
        assert {places[0], places[-1]} <= set(kept)
        assert (min(numbers), max(numbers)) == (min(whole), max(whole))
        assert not thin or len(numbers) <= 4
    for before, after in pairwise(kept):  # a gap is never bridged
        if values[before] is not None and values[after] is not None:
            assert None not in values[before:after]


VIEWS = st.fixed_dictionaries(
    {
        "rollup": TEXTS, "window": TEXTS, "compare": TEXTS, "silent": st.sampled_from(["1m", "5m", "1d"]),
        "range": st.sampled_from(["1h", "7d", "all", "custom"]), "fromMs": st.none() | st.integers(0, 10**12),
        "toMs": st.none() | st.integers(10**12 + 1, 2 * 10**12), "keys": st.dictionaries(TEXTS, TEXTS.filter(bool), max_size=3),
        "lines": st.none() | st.lists(TEXTS, max_size=3), "measures": st.lists(TEXTS, min_size=1, max_size=4),
        "top": st.integers(1, 100), "utc": st.booleans(), "where": TEXTS, "select": TEXTS, "sort": TEXTS, "up": st.booleans(),
    }
)  # fmt: skip


@given(view=VIEWS)
@_LAW
def test_a_view_comes_back_from_its_link(page: Any, view: dict[str, Any]) -> None:
    if view["range"] != "custom":
        view |= {"fromMs": None, "toMs": None}
    assert run(page, "view.js", "return m.fromHash(m.toHash(x));", view) == view


@given(
    hash_=st.text(max_size=200)
    | TEXTS.map(lambda text: f"measures={text}&lines=[1]&top={text}&from={text}&range=custom")
)
@_LAW
def test_any_link_is_some_view(page: Any, hash_: str) -> None:
    view = run(page, "view.js", "return m.fromHash('#' + x);", hash_.encode(errors="replace").decode())
    assert 1 <= view["top"] <= 100
    assert all(isinstance(each, str) for each in view["measures"])


KEYS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=12, unique=True)


@given(keys=KEYS, others=KEYS)
@_LAW
def test_the_expression_that_narrows_is_true_of_the_lines_and_of_no_other(
    page: Any, keys: list[tuple[str, str]], others: list[tuple[str, str]]
) -> None:
    text = run(page, "questions.js", "return m.whereOf(['device_id', 'and'], x);", keys)
    where = parse_filter(text, {"device_id": Kind.TEXT, "and": Kind.TEXT})
    for key in keys + others:
        assert (where.value({"device_id": key[0], "and": key[1]}) is True) == (key in keys)


def test_of_many_lines_the_expression_stays_within_its_bounds(page: Any) -> None:
    keys = [[f"device-{n:03}", "temperature"] for n in range(100)]
    text = run(page, "questions.js", "return m.whereOf(['device_id', 'metric'], x);", keys)
    where = parse_filter(text, {"device_id": Kind.TEXT, "metric": Kind.TEXT})
    assert all(where.value({"device_id": a, "metric": b}) is True for a, b in keys)
    assert run(page, "questions.js", "return m.whereOf(['d'], x);", [[f"{n:0900}"] for n in range(9)]) == ""


@given(texts=st.lists(TEXTS, min_size=1, max_size=20), others=st.lists(TEXTS, max_size=20))
@_LAW
def test_a_key_that_was_chosen_is_asked_for_alone(page: Any, texts: list[str], others: list[str]) -> None:
    rollup = PIPELINE.rollups["page_views"]
    for text, pattern in zip(
        texts, run(page, "visible.js", "return x.map(m.literalPattern);", texts), strict=True
    ):
        matches = Selection.of(rollup, {"page": pattern}).matcher()
        assert [each for each in {*texts, *others} if matches((each,))] == [text]


MINUTE_MS = 60_000
ROWS = st.dictionaries(st.tuples(st.integers(0, 30), st.sampled_from("abc")), st.integers(0, 99), max_size=40)


@given(first=ROWS, then=st.lists(st.tuples(st.integers(0, 32), ROWS), max_size=4))
@_LAW
def test_lines_that_grew_are_those_that_were_read_at_once(
    page: Any, first: dict[tuple[int, str], int], then: list[tuple[int, dict[tuple[int, str], int]]]
) -> None:
    """An answer is all there is of the windows that end after its `from`: what stood there before is gone."""

    def rows(given: dict[tuple[int, str], int]) -> list[dict[str, Any]]:
        return [
            {
                "k": key,
                "window_start": time_text(at * MINUTE_MS),
                "window_end": time_text((at + 1) * MINUTE_MS),
                "events": events,
            }
            for (at, key), events in sorted(given.items())
        ]

    whole, tails = dict(first), []
    for begin, found in then:
        tail = {place: events for place, events in found.items() if place[0] >= begin}
        whole = {place: events for place, events in whole.items() if place[0] < begin} | tail
        tails.append([begin * MINUTE_MS, rows(tail)])
    grown = run(
        page,
        "grid.js",
        """const [first, tails] = x; const grid = new m.Grid(['k']); grid.merge(first);
        for (const [fromMs, rows] of tails) {
          grid.lines.forEach((line) => grid.values(line, 'events')); // kept, and made anew from what changed on
          grid.merge(rows, {fromMs});
        }
        return grid.lines.flatMap((line) => [...grid.values(line, 'events')].map((events, at) => [grid.starts[at] / 60000, line.key[0], events]));""",
        [rows(first), tails],
    )
    assert {(at, key): events for at, key, events in grown if events} == {p: e for p, e in whole.items() if e}
