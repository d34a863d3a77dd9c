"""What is made of rows says nothing of windows of which nothing is known."""

from datetime import datetime
from typing import Any

import pytest

from processors.query.answer import Answer, answer
from processors.query.asking import prepared
from processors.query.shape import Filling
from streamgage.definition.fingerprint import counts_of
from streamgage.errors import ConfigError
from streamgage.fold.chunk import Chunk, encode_chunk
from streamgage.fold.items import ROOT, StoredItem, chunk_key, sort_key
from streamgage.measures.layout import plan_of
from support.fakes import NOW_MS, InMemoryItemStore, Reads
from support.strategies import ARRIVAL_MS, MINUTE_MS, pipeline

PIPELINE = pipeline()
ROLLUP = PIPELINE.rollups["device_metrics"]
START_MS = ARRIVAL_MS // MINUTE_MS * MINUTE_MS
KEEP_MS = ROLLUP.keep_ms or 0
FUTURE_MS = PIPELINE.sources["reading"].max_future_ms or 0


def reads_of(minutes: dict[int, list[str]], *, begin_ms: int = 0) -> Reads:
    """Return a store in which the devices of each minute had two events, counted from *begin_ms* on."""
    store, plan = InMemoryItemStore(), plan_of(ROLLUP.layout)
    windows = ROLLUP.windows[0]
    for minute, devices in minutes.items():
        chunk, start_ms = Chunk(begin_ms, plan.empty()), START_MS + minute * MINUTE_MS
        chunk.keys += [f"{device}|temp" for device in devices]
        plan.add_keys(chunk.table, len(devices))
        chunk.table[0][:] = [2] * len(devices)
        body = encode_chunk(chunk, ROLLUP.layout, start_ms=start_ms)
        key = chunk_key(ROLLUP, windows, ROOT, sort_key(start_ms, "telemetry/shardId-0"))
        store.put(key, StoredItem(1, counts_of(PIPELINE, ROLLUP), body, 2**33), expected_fence=None)
    return Reads(store)


def asked(store: Reads, *, now_ms: int = NOW_MS, eventual: bool = False, **options: Any) -> Answer:
    usual: dict[str, Any] = {"window": "1m", "from_ms": START_MS, "to_ms": START_MS + 4 * MINUTE_MS}
    question, shape = prepared(PIPELINE, "device_metrics", **(usual | options))
    beside = store if eventual else None
    return answer(store, question, shape, applied_ms=NOW_MS, now_ms=now_ms, eventual=beside)


def told(given: Answer, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[given.names.index(name)] for name in names) for row in given.rows]


@pytest.mark.parametrize("how", ["null", "zero", "previous"])
def test_an_empty_window_is_partial_where_its_key_was_not_counted_yet(how: Filling) -> None:
    begin_ms = START_MS + MINUTE_MS + 1 - FUTURE_MS
    store = reads_of({0: ["d1"], 3: ["d1", "d2"]}, begin_ms=begin_ms)
    given = asked(store, fill=how)
    assert told(given, "device_id", "events", "partial") == [
        ("d1", 2, True),
        ("d2", 0, True),
        ("d1", 0, True),
        ("d2", 0, True),
        ("d1", 0, how == "previous"),  # of what is partial itself
        ("d2", 0, False),
        ("d1", 2, False),
        ("d2", 2, False),
    ]


def test_an_empty_window_is_partial_where_it_is_not_kept_any_more() -> None:
    store = reads_of({3: ["d1"]})
    for late_ms, partial in (
        (-1, [False, False, False]),
        (0, [True, False, False]),
        (MINUTE_MS, [True, True, False]),
    ):
        given = asked(store, fill="zero", now_ms=START_MS + MINUTE_MS + KEEP_MS + late_ms)
        assert told(given, "partial") == [*((each,) for each in partial), (False,)]


def test_an_empty_window_that_was_read_with_eventual_consistency_may_change() -> None:
    store = reads_of({0: ["d1"], 3: ["d1"]})
    for eventual in (False, True):
        given = asked(store, fill="zero", eventual=eventual)
        assert told(given, "may_change") == [(eventual,)] * 4


def test_a_missing_window_is_none_where_there_were_no_events_and_unknown_where_none_are_known() -> None:
    names = ("events", "events.before", "events.change", "partial")
    options: dict[str, Any] = {"compare": "previous", "by": "events", "from_ms": START_MS + MINUTE_MS}
    store = reads_of({1: ["d1"]})
    assert told(asked(store, **options), *names) == [(2, 0, 2, False)]
    expired_ms = START_MS + MINUTE_MS + KEEP_MS
    assert told(asked(store, now_ms=expired_ms - 1, **options), *names) == [(2, 0, 2, False)]
    assert told(asked(store, now_ms=expired_ms, **options), *names) == [(2, None, None, True)]
    for begin_ms, right in ((START_MS, (2, 0, 2, False)), (START_MS + 1, (2, None, None, True))):
        later = reads_of({1: ["d1"]}, begin_ms=begin_ms - FUTURE_MS)
        assert told(asked(later, **options), *names) == [right]


def test_a_row_beside_a_partial_one_is_partial() -> None:
    store = reads_of({0: ["d1"], 1: ["d1"]}, begin_ms=START_MS + 1 - FUTURE_MS)
    options: dict[str, Any] = {"compare": "previous", "by": "events", "from_ms": START_MS + MINUTE_MS}
    assert told(asked(store, **options), "events.before", "partial") == [(2, True)]


def test_windows_that_move_on_have_a_row_as_long_as_any_of_them_has_events() -> None:
    store = reads_of({0: ["d1"], 1: ["d2"], 6: ["d1"]})
    rows = told(asked(store, moving=3, to_ms=START_MS + 7 * MINUTE_MS), "device_id", "events")
    assert rows == [("d1", 2), ("d1", 2), ("d2", 2), ("d1", 2), ("d2", 2), ("d2", 2), ("d1", 2)]
    for to_ms, now_ms in ((START_MS + 3 * MINUTE_MS, NOW_MS), (2**42, START_MS + 2 * MINUTE_MS + 1)):
        given = asked(reads_of({0: ["d1"]}), moving=9, to_ms=to_ms, now_ms=now_ms)
        assert len(given.rows) == 3, "none of what lies ahead"


def test_what_moved_on_is_compared_with_what_it_was_one_window_before() -> None:
    store = reads_of({0: ["d1"], 3: ["d1"]})
    given = asked(store, moving=3, compare="previous", by="events")
    assert told(given, "events", "events.before") == [(2, 0), (2, 2), (2, 2), (2, 2)]


def test_windows_that_move_on_are_filled_where_none_of_them_has_events() -> None:
    store = reads_of({1: ["d1"], 5: ["d1"]})
    given = asked(store, moving=2, fill="zero", to_ms=START_MS + 6 * MINUTE_MS)
    assert told(given, "events") == [(0,), (2,), (2,), (0,), (0,), (2,)]
    times = [
        [datetime.fromisoformat(each).timestamp() for each in row]
        for row in told(given, "window_start", "window_end")
    ]
    assert times == [[(START_MS // MINUTE_MS + minute + at) * 60 for at in (-1, 1)] for minute in range(6)]


@pytest.mark.parametrize(
    "options",
    [{"compare": "previous"}, {"fill": "zero"}, {"moving": 2}],
    ids=lambda options: next(iter(options)),
)
@pytest.mark.parametrize("whole", [{"total": True}, {"top": 3}], ids=lambda whole: next(iter(whole)))
def test_what_is_of_windows_is_refused_of_a_whole_range(
    options: dict[str, Any], whole: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=f"--{next(iter(options))} is of windows: leave --total out"):
        asked(reads_of({0: ["d1"]}), **options, **whole)


def test_a_total_is_partial_where_its_range_begins_before_its_key_was_counted() -> None:
    store = reads_of({3: ["d1"]}, begin_ms=START_MS + 2 * MINUTE_MS - FUTURE_MS)
    for from_ms, partial in ((START_MS, True), (START_MS + 2 * MINUTE_MS, False), (0, False)):
        assert told(asked(store, total=True, from_ms=from_ms), "events", "partial") == [(2, partial)]
