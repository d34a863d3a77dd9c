"""What is merged on the way to an answer is what the events themselves say, whatever was kept how finely, and where."""

from collections import defaultdict
from datetime import UTC, datetime
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from processors.query.buckets import parse_buckets
from processors.query.question import Question, ask
from processors.query.shape import Column, Compared, compared, filled, top, top_of_each
from streamgage.measures.windows import MAX_EVENT_TIME_MS
from streamgage.records import StreamRecord
from support.fakes import NOW_MS, Reads, World, invoke
from support.strategies import ARRIVAL_MS, DAY_MS, MINUTE_MS, pipeline, reading

HOUR_MS = 60 * MINUTE_MS
EARLIEST_MS = ARRIVAL_MS - 6 * DAY_MS


class Event(NamedTuple):
    device: str
    metric: str
    ts: int
    value: int


EVENTS = st.lists(
    st.builds(
        Event,
        st.sampled_from(["d1", "d2", "d[3]", "a*"]),
        st.sampled_from(["temp", "hum"]),
        st.integers(EARLIEST_MS, ARRIVAL_MS) | st.integers(0, 30).map(lambda n: ARRIVAL_MS - n * HOUR_MS),
        st.integers(-1000, 1000),
    ),
    min_size=1,
    max_size=25,
)
WINDOWS = st.sampled_from(
    ["1m", "2m", "90s", "3m", "1h", "6h", "1d", "1w", "1mo", "1d@Europe/Berlin", "1w@Asia/Kolkata"]
)
GROUPS = st.sampled_from([None, (), ("device_id",), ("metric",), ("metric", "device_id")])
SELECTIONS = st.sampled_from(
    [
        {},
        {"metric": "temp"},
        {"device_id": "d*"},
        {"device_id": "d[3]"},
        {"device_id": r"a\*"},
        {"device_id": "?1"},
    ]
)


def world_of(events: list[Event], shards: int) -> World:
    world, schema = World(pipeline(), room_bytes=150), pipeline().sources["reading"].schema
    for shard in range(shards):
        records = [
            StreamRecord(f"shardId-{shard}", number, "p", schema.encode(reading(each.device, each.metric, each.ts, each.value)), ARRIVAL_MS)
            for number, each in enumerate(events)
            if number % shards == shard
        ]  # fmt: skip
        if records:
            assert invoke(world.sandbox(), records) is None
    return world


def is_wanted(event: Event, selection: dict[str, str]) -> bool:
    tests = {
        "temp": event.metric == "temp",
        "d*": event.device.startswith("d"),
        "d[3]": event.device == "d[3]",
        r"a\*": event.device == "a*",
        "?1": event.device == "d1",
    }
    return all(tests[text] for text in selection.values())


def grouped(event: Event, names: tuple[str, ...] | None) -> tuple[str, ...]:
    values = {"device_id": event.device, "metric": event.metric}
    return tuple(values[name] for name in (("device_id", "metric") if names is None else names))


def start_ms(ts: int, window: str) -> int:
    """Return where the window of *ts* begins, by another way than the code's."""
    size, _, zone = window.partition("@")
    if size in ("1d", "1w", "1mo"):
        local = datetime.fromtimestamp(ts / 1000, ZoneInfo(zone) if zone else UTC)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        if size == "1mo":
            midnight = midnight.replace(day=1)
        first = midnight.timestamp() - (local.weekday() * 86_400 if size == "1w" else 0)
        return round(first * 1000)
    size_ms = {"1m": 60, "2m": 120, "90s": 90, "3m": 180, "1h": 3600, "6h": 21_600}[size] * 1000
    return ts // size_ms * size_ms


@given(EVENTS, WINDOWS, GROUPS, SELECTIONS, st.integers(1, 3))
def test_an_answer_is_what_the_events_say(
    events: list[Event], window: str, names: tuple[str, ...] | None, selection: dict[str, str], shards: int
) -> None:
    question = Question.parse(
        pipeline(),
        rollup="device_metrics",
        key=selection,
        window=window,
        from_ms=0,
        to_ms=2**42,
        group_by=names,
    )
    told = {
        (row.window.start_ms, row.key): row
        for row in ask(Reads(world_of(events, shards).store), question, applied_ms=NOW_MS, now_ms=NOW_MS)
    }
    right: dict[tuple[int, tuple[str, ...]], list[Event]] = defaultdict(list)
    for each in events:
        if is_wanted(each, selection):
            right[start_ms(each.ts, window), grouped(each, names)].append(each)
    assert told.keys() == right.keys()
    for place, those in right.items():
        row, values = told[place], [each.value for each in those]
        found = row.values["value"]
        assert (row.events, found["count"], found["sum"]) == (len(values), len(values), sum(values))
        assert (found["min"], found["max"]) == (min(values), max(values))
        assert Fraction(found["mean"] or 0) == round(Fraction(sum(values), len(values)), 12)
        assert found["last"] in [each.value for each in those if each.ts == max(one.ts for one in those)]
        assert found["first"] in [each.value for each in those if each.ts == min(one.ts for one in those)]


@given(EVENTS, GROUPS, st.integers(1, 4))
def test_totals_and_tops_are_of_the_whole_range(
    events: list[Event], names: tuple[str, ...] | None, count: int
) -> None:
    store = Reads(world_of(events, 2).store)
    total = Question.parse(
        pipeline(),
        rollup="device_metrics",
        key={},
        window="1h",
        from_ms=0,
        to_ms=2**42,
        group_by=names,
        total=True,
    )
    rows = list(ask(store, total, applied_ms=NOW_MS, now_ms=NOW_MS))
    sums: dict[tuple[str, ...], int] = defaultdict(int)
    for each in events:
        sums[grouped(each, names)] += each.value
    assert {row.key: row.values["value"]["sum"] for row in rows} == sums
    by = Column.parse(total.rollup, "value.sum")
    right = sorted(sums.items(), key=lambda each: (-each[1], each[0]))[:count]
    told = [each.row for each in top((Compared(row, None) for row in rows), by, count)]
    assert [(row.key, by.of(row)) for row in told] == right


@given(EVENTS, st.integers(1, 4))
def test_tops_of_each_window_are_the_first_of_its_rows(events: list[Event], count: int) -> None:
    store = Reads(world_of(events, 1).store)
    question = Question.parse(
        pipeline(), rollup="device_metrics", key={}, window="1h", from_ms=0, to_ms=2**42
    )
    rows = list(ask(store, question, applied_ms=NOW_MS, now_ms=NOW_MS))
    told = [each.row for each in top_of_each((Compared(row, None) for row in rows), Column(), count)]
    for window in {row.window for row in rows}:
        of_window = sorted(
            (row for row in rows if row.window == window), key=lambda row: (-row.events, row.key)
        )
        assert [row for row in told if row.window == window] == of_window[:count]


@given(EVENTS, st.integers(1, 30), st.integers(0, 5))
def test_moving_windows_hold_all_that_lies_in_them(events: list[Event], count: int, hours: int) -> None:
    from_ms = ARRIVAL_MS - hours * HOUR_MS
    question = Question.parse(
        pipeline(),
        rollup="device_metrics",
        key={},
        window="1h",
        from_ms=from_ms,
        to_ms=2**42,
        group_by=(),
        moving=count,
    )
    store = Reads(world_of(events, 2).store)
    told = {row.window: row.events for row in ask(store, question, applied_ms=NOW_MS, now_ms=NOW_MS)}
    last = max(*(each.ts for each in events), NOW_MS - 1) // HOUR_MS * HOUR_MS + HOUR_MS
    ends = range(last, max(from_ms, EARLIEST_MS - HOUR_MS), -HOUR_MS)
    right = {end: sum(end - count * HOUR_MS <= each.ts < end for each in events) for end in ends}
    assert {window.end_ms: found for window, found in told.items()} == {
        end: found for end, found in right.items() if found
    }
    assert all(window.end_ms - window.start_ms == count * HOUR_MS for window in told)


@given(EVENTS)
def test_filled_rows_have_every_window_and_change_none(events: list[Event]) -> None:
    question = Question.parse(
        pipeline(), rollup="device_metrics", key={}, window="6h", from_ms=0, to_ms=2**42
    )
    rows = list(ask(Reads(world_of(events, 1).store), question, applied_ms=NOW_MS, now_ms=NOW_MS))
    made = filled(
        rows, question, "zero", applied_ms=NOW_MS, now_ms=NOW_MS, first_ms=EARLIEST_MS, last_ms=None
    )
    keys = sorted({row.key for row in rows})
    starts = range(
        EARLIEST_MS // (6 * HOUR_MS) * 6 * HOUR_MS, max(row.window.end_ms for row in rows), 6 * HOUR_MS
    )
    assert [(row.window.start_ms, row.key) for row in made] == [
        (start, key) for start in starts for key in keys
    ]
    assert [row for row in made if row.events] == rows
    assert all(
        row.values["value"]["sum"] == 0 and row.values["value"]["max"] is None
        for row in made
        if not row.events
    )


@given(EVENTS)
def test_a_comparison_is_with_the_window_before(events: list[Event]) -> None:
    question = Question.parse(
        pipeline(), rollup="device_metrics", key={}, window="1d", from_ms=0, to_ms=2**42, group_by=()
    )
    rows = list(ask(Reads(world_of(events, 1).store), question, applied_ms=NOW_MS, now_ms=NOW_MS))
    days = {row.window.start_ms: row.events for row in rows}
    for each in compared(rows, *question.compared_with("previous"), now_ms=NOW_MS):
        before, change, percent = each.cells([Column()])
        assert before == days.get(each.row.window.start_ms - DAY_MS, 0)
        assert change == each.row.events - (before or 0)
        assert (percent is None) is (before == 0)


@given(
    st.integers(0, 4_000_000_000_000) | st.integers(MAX_EVENT_TIME_MS - 400 * DAY_MS, MAX_EVENT_TIME_MS - 1),
    st.sampled_from(
        [
            "1d@Europe/Berlin",
            "1w@America/Havana",
            "1mo@Asia/Kolkata",
            "1d@Pacific/Apia",
            "3mo",
            "1y@UTC",
            "1w",
            "7d",
            "1d@America/Sao_Paulo",
        ]
    ),
)
def test_buckets_have_no_gaps_and_hold_their_instants(instant_ms: int, text: str) -> None:
    buckets = parse_buckets(text)
    window = buckets.window_of(instant_ms)
    assert window.start_ms <= instant_ms < window.end_ms
    assert parse_buckets(text).window_of(window.end_ms - 1) == window
    if window.end_ms < MAX_EVENT_TIME_MS:
        assert parse_buckets(text).window_of(window.end_ms).start_ms == window.end_ms
