"""News of a table is that of its windows, by the keys that the sink really writes; nothing else is news."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.live.news import Span, Windows, WindowSize, written_keys
from streamgage.fold.items import ItemKey, Lanes, chunk_key, chunk_name, sort_key
from streamgage.measures.windows import TumblingWindows
from support.fakes import KEY_LANES, LANES, World, invoke
from support.strategies import Entry, logs, pipeline

WINDOWS = Windows(pipeline())


def event_of(keys: Iterable[ItemKey], name: str = "MODIFY") -> dict[str, Any]:
    """Return the event of a table's stream that says that the items at *keys* were written."""
    return {
        "Records": [
            {"eventName": name, "dynamodb": {"Keys": {"pk": {"S": key.pk}, "sk": {"S": key.sk}}}}
            for key in keys
        ]
    }


def spans(world: World) -> dict[WindowSize, Span]:
    """Return the first start and the last end of the windows that questions find, of each size of each rollup."""
    found = {}
    for rollup in world.pipeline.rollups.values():
        for size in rollup.windows:
            rows = world.ask(rollup.name, None, size.label)
            if rows:
                span = Span(min(r.window.start_ms for r in rows), max(r.window.end_ms for r in rows))
                found[WindowSize(rollup.name, size.label)] = span
    return found


@settings(max_examples=40, deadline=None)
@given(
    log=logs(more_keys=True), lanes=st.sampled_from([LANES, KEY_LANES]), room=st.sampled_from([200, 390_000])
)
def test_news_of_all_that_was_written_is_of_exactly_the_windows_that_questions_find(
    log: list[Entry], lanes: Lanes, room: int
) -> None:
    world = World(pipeline(), lanes, room_bytes=room)
    if log:
        invoke(world.sandbox(), [each.record for each in log])
    assert WINDOWS.changed(written_keys(event_of(world.store.rows))) == spans(world)


CHUNKS = st.builds(chunk_name, st.integers(0, 2**60), st.integers(0, 2**60))
LANE_NAMES = st.text(min_size=1, max_size=20).map(lambda text: f"telemetry/shardId-0|{text}")


@given(
    rollup=st.sampled_from(list(pipeline().rollups.values())),
    numbers=st.lists(st.tuples(st.integers(0, 20_000), CHUNKS, LANE_NAMES), min_size=1, max_size=6),
    data=st.data(),
)
def test_whatever_chunk_and_lane_an_item_is_of_it_is_news_of_its_window(
    rollup: Any, numbers: list[tuple[int, str, str]], data: st.DataObject
) -> None:
    size: TumblingWindows = data.draw(st.sampled_from(rollup.windows))
    keys = [
        chunk_key(rollup, size, chunk, sort_key(number * size.size_ms, lane))
        for number, chunk, lane in numbers
    ]
    starts = [number * size.size_ms for number, _, _ in numbers]
    news = {WindowSize(rollup.name, size.label): Span(min(starts), max(starts) + size.size_ms)}
    assert WINDOWS.changed(keys) == news


def test_another_generation_of_a_rollup_is_none_of_the_definition_and_no_news() -> None:
    ours = pipeline()
    next_one = replace(ours.rollups["page_views"], generation=2)
    windows = Windows(replace(ours, rollups={**ours.rollups, "page_views": next_one}))
    size, sk = next_one.windows[0], sort_key(0, "lane")
    assert windows.changed([chunk_key(ours.rollups["page_views"], size, "0", sk)]) == {}
    assert windows.changed([chunk_key(next_one, size, "0", sk)]) == {
        WindowSize("page_views", "1h"): Span(0, 3_600_000)
    }


ODD_KEYS = st.builds(
    ItemKey,
    st.text(max_size=20)
    | st.sampled_from(
        [
            "~progress|main",
            "~progress|main|telemetry/shardId-000000000000",
            "device_metrics.2|1m|0",
            "device_metrics|1m|0",
            "device_metrics.1|5m|0",
            "device_metrics.1|1m|0.0",
            "device_metrics.1|1m|01",
            "device_metrics.1|1m|-1.0",
            "device_metrics.1|1m|٣.0",
            "device_metrics.1|1m",
            "other.1|1m|0",
        ]
    ),
    st.sampled_from(["001699999200000|telemetry/shardId-0"]) | st.text(max_size=30),
) | st.builds(
    ItemKey,
    st.just("device_metrics.1|1m|0"),
    st.text(max_size=30)
    | st.sampled_from(
        [
            "001699999200001|lane",
            "001699999200000|",
            "00169999920000|l",
            "\u0660\u0660\u0661699999200000|lane",
        ]
    ),
)


@given(st.lists(ODD_KEYS, max_size=8))
def test_what_is_no_window_of_the_definition_is_no_news(keys: list[ItemKey]) -> None:
    assert WINDOWS.changed(keys) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Records", "dynamodb", "Keys", "pk", "sk", "S", "eventName", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(event=JSON | st.builds(lambda records: {"Records": records}, st.lists(JSON)))
def test_no_event_whatever_it_is_fails(event: Any) -> None:
    assert WINDOWS.changed(written_keys(event)) == {}


@given(junk=st.lists(JSON, max_size=4), name=st.sampled_from(["INSERT", "MODIFY", "REMOVE", ""]))
def test_what_cannot_be_read_keeps_nothing_back_and_what_is_removed_is_no_news(
    junk: list[Any], name: str
) -> None:
    key = ItemKey("page_views.1|1h|0", "001699999200000|lane")
    event = event_of([key], name)
    event["Records"] = [*junk, *event["Records"], *junk]
    there = {WindowSize("page_views", "1h"): Span(1_699_999_200_000, 1_700_002_800_000)}
    assert WINDOWS.changed(written_keys(event)) == (there if name in ("INSERT", "MODIFY") else {})
