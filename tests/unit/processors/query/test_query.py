import csv
import io
import json
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from conftest import ClientFactory, create_table
from processors.query import answer as answers
from processors.query import regroup
from processors.query.answer import answer_of
from processors.query.buckets import parse_buckets
from processors.query.cells import DynamoPartialStore
from processors.query.progress import read_progress
from processors.query.question import Question, Row, ask
from processors.query.render import number_text, to_csv, to_json
from processors.query.selection import Selection
from processors.query.shape import Column, Compared, filled, top, top_of_each
from processors.query.silence import Seen, instant_of, silent
from streamgage.definition.pipeline import Rollup
from streamgage.errors import ConfigError
from streamgage.fold.chunk import Chunk, encode_chunk
from streamgage.fold.items import ItemKey, StoredItem, chunk_key, progress_pk, sort_key, window_prefix
from streamgage.fold.lane_log import LaneLog
from streamgage.measures.layout import plan_of
from streamgage.measures.windows import Window
from streamgage.records import StreamRecord
from support.boto3_store import Boto3ItemStore
from support.fakes import NOW_MS, InMemoryItemStore, Reads, World, ask_store, invoke
from support.strategies import ARRIVAL_MS, MINUTE_MS, click, pipeline, reading

ROLLUP = pipeline().rollups["device_metrics"]
KEY = {"device_id": "d1", "metric": "temp"}
KEY_VALUES = tuple(KEY.values())
MEASURES = ROLLUP.measures["value"]


def question(
    *,
    rollup: str = "device_metrics",
    window: str | None = "1m",
    from_ms: int = 0,
    to_ms: int = 2**47,
    **key: str,
) -> Question:
    return Question.parse(
        pipeline(), rollup=rollup, key=key or KEY, window=window, from_ms=from_ms, to_ms=to_ms
    )


def world_of(*events: tuple[int, float], shards: int = 1, device: str = "d1") -> World:
    world, schema = World(pipeline()), pipeline().sources["reading"].schema
    for shard in range(shards):
        records = [
            StreamRecord(
                f"shardId-{shard}", number, "p", schema.encode(reading(device, "temp", ts, value)), ARRIVAL_MS
            )
            for number, (ts, value) in enumerate(events)
            if number % shards == shard
        ]
        assert invoke(world.sandbox(), records) is None
    return world


def test_windows_that_overlap_the_range_are_asked_for_and_no_others() -> None:
    world = world_of(*((ARRIVAL_MS + n * MINUTE_MS, 1.0) for n in range(5)))
    for from_ms, to_ms, windows in [
        (0, 5, 5),
        (60_000, 180_000, 2),
        (60_001, 180_001, 3),
        (59_999, 60_000, 1),
    ]:
        ahead = to_ms * MINUTE_MS if to_ms == 5 else to_ms
        rows = list(
            ask(
                Reads(world.store),
                question(from_ms=ARRIVAL_MS + from_ms, to_ms=ARRIVAL_MS + ahead),
                applied_ms=NOW_MS,
                now_ms=NOW_MS,
            )
        )
        assert len(rows) == windows


def test_partials_of_several_shards_are_one_row() -> None:
    (row,) = world_of(*((ARRIVAL_MS, float(n)) for n in range(6)), shards=3).ask("device_metrics", KEY, "1h")
    assert (row.events, row.values["value"]["sum"]) == (6, 15)


@pytest.mark.parametrize(("applied_ms", "may_change"), [(59_999, True), (60_000, False), (60_001, False)])
def test_a_window_may_change_until_all_that_arrived_before_its_end_is_applied(
    applied_ms: int,
    may_change: bool,  # noqa: FBT001 - a table
) -> None:
    store = Reads(world_of((ARRIVAL_MS, 1.0)).store)
    (row,) = ask(store, question(), applied_ms=ARRIVAL_MS + applied_ms, now_ms=NOW_MS)
    assert row.may_change == may_change


def test_every_problem_of_a_question_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        question(window="45s", from_ms=5, to_ms=5, device_id="d1", colour="red")
    assert error.value.problems == (
        "'colour' is not part of the key of device_metrics, which is device_id, metric",
        "--to is not after --from",
        "windows of '45s' cannot be merged from those that device_metrics keeps (1m, 90s, 1h): each must lie in one",
    )


def test_an_unknown_rollup_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="'devices'; there are: device_metrics, page_views, visits"):
        question(rollup="devices")


def test_the_smallest_windows_are_asked_for_by_default() -> None:
    assert question(window=None).windows.label == "1m"
    assert question(window="60m").windows.label == "1h"


ROOT_PK = chunk_key(ROLLUP, ROLLUP.windows[0], "0", "").pk


def test_an_item_that_counts_something_else_is_not_guessed_at() -> None:
    world = world_of((ARRIVAL_MS, 1.0))
    for key in world.store.rows:
        fence, _, body, expires_s = world.store.rows[key]
        world.store.rows[key] = (fence, "another", body, expires_s)
    with pytest.raises(ConfigError, match=r"written by another definition \(another; .*next generation"):
        world.ask("device_metrics", KEY, "1m")


def test_a_damaged_item_is_named_and_not_guessed_at() -> None:
    world = world_of((ARRIVAL_MS, 1.0))
    for key in world.store.rows:
        fence, counts, body, expires_s = world.store.rows[key]
        world.store.rows[key] = (fence, counts, body[:-1], expires_s)
    with pytest.raises(ConfigError, match=rf"device_metrics at {window_prefix(ARRIVAL_MS)}.*is damaged"):
        world.ask("device_metrics", KEY, "1m")


def test_a_key_with_the_separator_in_it_is_found_and_no_other() -> None:
    world = world_of((ARRIVAL_MS, 1.0), device="a|b%7C")
    assert len(world.ask("device_metrics", {"device_id": "a|b%7C", "metric": "temp"}, "1m")) == 1
    assert world.ask("device_metrics", {"device_id": "a", "metric": "b%7C|temp"}, "1m") == []


def crowd(count: int, *, room_bytes: int = 150, shards: int = 1, minutes: int = 1) -> World:
    """Return a world of many devices in small items: each sends its number, each minute, on each shard."""
    world, schema = World(pipeline(), room_bytes=room_bytes), pipeline().sources["reading"].schema
    for shard in range(shards):
        records = [
            StreamRecord(
                f"shardId-{shard}",
                minute * count + number,
                "p",
                schema.encode(reading(f"d{number}", "temp", ARRIVAL_MS + minute * MINUTE_MS, float(number))),
                ARRIVAL_MS + minute * MINUTE_MS,
            )
            for minute in range(minutes)
            for number in range(count)
        ]
        for cut in range(0, len(records), max(count // 3, 1)):
            assert invoke(world.sandbox(), records[cut : cut + max(count // 3, 1)]) is None
    return world


class CountedReads(Reads):
    """Counts the calls, and the keys that were asked for."""

    def __init__(self, store: InMemoryItemStore) -> None:
        super().__init__(store)
        self.ranges = self.gets = self.keys = 0
        self.partitions: set[str] = set()

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        self.ranges += 1
        self.partitions.add(pk)
        return super().range(pk, first_sk, last_sk)

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        self.gets, self.keys = self.gets + 1, self.keys + len(keys)
        return super().get(keys)


@pytest.mark.parametrize(("count", "shards"), [(1, 1), (40, 1), (40, 3), (300, 2)])
def test_all_keys_of_a_window_are_answered_each_once_and_as_by_itself(count: int, shards: int) -> None:
    world = crowd(count, shards=shards)
    rows = world.ask("device_metrics", None, "1m")
    assert sorted(row.key for row in rows) == sorted((f"d{number}", "temp") for number in range(count))
    for row in rows:
        number = int(row.key[0][1:])
        assert (row.events, row.values["value"]["sum"]) == (shards, shards * number)
    for row in rows[:: max(count // 9, 1)]:
        assert world.ask("device_metrics", {"device_id": row.key[0], "metric": "temp"}, "1m") == [row]


def test_one_key_over_many_windows_reads_the_roots_once_and_one_chunk_a_window_and_level() -> None:
    world = crowd(60, minutes=8)
    reads = CountedReads(world.store)
    rows = ask_store(
        reads, pipeline(), rollup="device_metrics", key={"device_id": "d7", "metric": "temp"}, window="1m"
    )
    assert [(row.events, row.values["value"]["sum"]) for row in rows] == [(1, 7)] * 8
    assert (reads.ranges, reads.gets <= 4) == (1, True)
    levels = {key.pk.split("|")[2].partition(".")[0] for key in world.store.rows if "|1m|" in key.pk}
    assert len(levels) > 1, "its key has no room in the root"
    assert reads.keys <= 8 * (len(levels) - 1), "one chunk a window and level, and none beside its way"


def test_a_key_that_was_never_there_is_looked_for_along_its_way_only_and_has_no_rows() -> None:
    world = crowd(60)
    reads = CountedReads(world.store)
    key = {"device_id": "nobody", "metric": "temp"}
    assert ask_store(reads, pipeline(), rollup="device_metrics", key=key, window="1m") == []
    assert reads.keys <= 4


def test_windows_whose_items_may_be_deleted_are_passed_over_for_what_is_left_of_them_is_no_whole() -> None:
    """DynamoDB deletes what has expired within some days, each item when it comes to it."""
    world = crowd(60, minutes=3)
    expiry_s = sorted({item[3] for key, item in world.store.rows.items() if "|1m|" in key.pk})
    assert len(expiry_s) == 3, "all items of a window expire at once"
    store = Reads(world.store)
    for gone in range(4):
        for now_ms in {expiry_s[gone - 1] * 1000 if gone else 0, expiry_s[min(gone, 2)] * 1000 - (gone < 3)}:
            rows = list(ask(store, question(), applied_ms=NOW_MS, now_ms=now_ms)) + list(
                ask(store, replace(question(), key=None), applied_ms=NOW_MS, now_ms=now_ms)
            )
            starts = {(row.window.start_ms - ARRIVAL_MS) // MINUTE_MS for row in rows}
            assert starts == set(range(gone, 3)), (gone, now_ms)


def test_a_window_is_passed_over_once_it_is_not_kept_though_some_of_its_items_expire_later() -> None:
    """As where `keep` was lowered, or the retention raised, when one of two lanes had been written for the last time."""
    world = world_of((ARRIVAL_MS, 1.0), (ARRIVAL_MS, 2.0), shards=2)
    assert ROLLUP.keep_ms is not None
    kept_until_ms = ARRIVAL_MS + MINUTE_MS + ROLLUP.keep_ms
    for key, (fence, counts, body, expires_s) in list(world.store.rows.items()):
        if key.sk.endswith("shardId-0"):
            world.store.rows[key] = fence, counts, body, expires_s + 86_400
    for now_ms, events in ((kept_until_ms - 1, [2]), (kept_until_ms, []), (kept_until_ms + MINUTE_MS, [])):
        rows = ask(Reads(world.store), question(), applied_ms=NOW_MS, now_ms=now_ms)
        assert [row.events for row in rows] == events


def test_the_progress_of_another_stream_in_the_table_is_not_taken_for_that_of_a_shard_of_the_same_name() -> (
    None
):
    """Its freshness would be answered: windows that still change would look final."""
    store = InMemoryItemStore()
    for number, stream in enumerate(("telemetr", "telemetry", "telemetry-2")):
        item = StoredItem(number, "", LaneLog(applied_ms=number).to_body(), 2**33)
        store.put(ItemKey(progress_pk("main"), f"{stream}/shardId-0"), item, expected_fence=None)
    (found,) = read_progress(Reads(store), "main", "telemetry")
    assert (found.shard_id, found.sequence_number, found.applied_ms) == ("shardId-0", 1, 1)


def test_what_was_counted_in_part_says_so_a_key_at_a_time() -> None:
    """A chunk says from when on its lane was counted; of several lanes the latest holds."""
    store = InMemoryItemStore()
    for shard, begin_ms, keys in (
        (0, 0, ["d1|temp", "d2|temp"]),
        (1, 5, ["d2|temp"]),
        (2, MINUTE_MS, ["d3|temp"]),
    ):
        plan = plan_of(ROLLUP.layout)
        chunk = Chunk(begin_ms, plan.empty())
        chunk.keys += keys
        plan.add_keys(chunk.table, len(keys))
        body = encode_chunk(chunk, ROLLUP.layout, start_ms=0)
        item = StoredItem(1, question().counts, body, 2**33)
        store.put(ItemKey(ROOT_PK, sort_key(0, f"telemetry/shardId-{shard}")), item, expected_fence=None)
    everything = replace(question(), key=None, selection=None)
    rows = ask(Reads(store), everything, applied_ms=NOW_MS, now_ms=0)
    assert {row.key[0]: row.partial for row in rows} == {"d1": False, "d2": True, "d3": True}
    rows = ask(Reads(store), question(from_ms=0, device_id="d3", metric="temp"), applied_ms=NOW_MS, now_ms=0)
    assert [row.partial for row in rows] == [True]


def test_of_one_instant_the_first_is_that_of_the_lane_of_the_lesser_name() -> None:
    world = world_of((ARRIVAL_MS, 7.0), (ARRIVAL_MS, 8.0), shards=2)
    (row,) = world.ask("device_metrics", KEY, "1m")
    assert (row.values["value"]["first"], row.values["value"]["last"]) == (7, 8)


def test_dynamodb_gives_the_rows_that_memory_gives(moto: ClientFactory) -> None:
    client = moto("dynamodb")
    create_table(client, "aggregates")
    world, store = (
        world_of((ARRIVAL_MS, 1.5), (ARRIVAL_MS + 7, -2.25), shards=2),
        Boto3ItemStore(client, "aggregates"),
    )
    for key in world.store.rows:
        store.put(key, world.store.item(key), expected_fence=None)
    partials = DynamoPartialStore(client, "aggregates")
    rows = ask_store(partials, pipeline(), rollup="device_metrics", key=KEY, window="1m")
    assert rows == world.ask("device_metrics", KEY, "1m") != []


def test_dynamodb_gives_all_keys_that_memory_gives_and_says_what_the_reads_cost(moto: ClientFactory) -> None:
    client = moto("dynamodb")
    create_table(client, "aggregates")
    world, store = crowd(200, shards=2), Boto3ItemStore(client, "aggregates")
    for key in world.store.rows:
        store.put(key, world.store.item(key), expected_fence=None)
    partials = DynamoPartialStore(client, "aggregates")
    rows = ask_store(partials, pipeline(), rollup="device_metrics", key=None, window="1m")
    assert rows == world.ask("device_metrics", None, "1m")
    assert len(rows) == 200
    whole = partials.read_units
    list(partials.range(ROOT_PK, "0", "~"))
    roots = partials.read_units - whole
    assert 0 < roots < whole
    ask_store(partials, pipeline(), rollup="device_metrics", key=KEY, window="1m")
    assert roots < partials.read_units - whole - roots < whole


def rows_of(rollup: Rollup, key: tuple[str, ...], *values: Decimal | int | None) -> Iterator[Row]:
    measures = dict(zip(rollup.measures["value"], values, strict=True))
    yield Row(Window(0, 60_000), 2, {"value": measures}, may_change=True, partial=True, key=key)


EXACT = Decimal("123456789012345678901234567890.000000001")
VALUES = (
    2,
    EXACT,
    Decimal("-0.000000000"),
    Decimal("1E+3"),
    Decimal("0.500000000000"),
    None,
    Decimal("7.0"),
    None,
)


def test_csv_is_quoted_and_exact() -> None:
    asked = question(device_id='a,"b"\r\n', metric="temp\nture")
    text = "\n".join(to_csv(answer_of(asked, rows_of(ROLLUP, ('a,"b"\r\n', "temp\nture"), *VALUES))))
    header, row = csv.reader(text.splitlines(keepends=True))
    assert header[:3] == ["device_id", "metric", "window_start"]
    assert dict(zip(header, row, strict=True)) == {
        "device_id": 'a,"b"\r\n',
        "metric": "temp\nture",
        "window_start": "1970-01-01T00:00:00Z",
        "window_end": "1970-01-01T00:01:00Z",
        "events": "2",
        "value.count": "2",
        "value.sum": "123456789012345678901234567890.000000001",
        "value.min": "0",
        "value.max": "1000",
        "value.mean": "0.5",
        "value.variance": "",
        "value.first": "7",
        "value.last": "",
        "may_change": "yes",
        "partial": "yes",
    }


def test_json_parses_and_is_exact() -> None:
    asked = question(device_id='"ü"\n', metric="temp")
    (row,) = json.loads(
        to_json(answer_of(asked, rows_of(ROLLUP, ('"ü"\n', "temp"), *VALUES))), parse_float=Decimal
    )
    assert list(row) == list(answer_of(asked, []).names)
    assert (row["device_id"], row["value.sum"], row["value.variance"]) == ('"ü"\n', EXACT, None)
    assert (row["value.count"], row["value.max"], row["may_change"]) == (2, 1000, True)
    assert json.loads(to_json(answer_of(asked, []))) == []


def test_a_window_of_fractions_of_a_second_is_told_to_the_millisecond() -> None:
    row = Row(
        Window(1_500, 3_000),
        0,
        {"value": dict.fromkeys(MEASURES)},
        may_change=False,
        partial=False,
        key=KEY_VALUES,
    )
    assert answer_of(question(), [row]).rows[0][2:4] == ("1970-01-01T00:00:01.500Z", "1970-01-01T00:00:03Z")
    far = Row(
        Window(0, 10**18),
        0,
        {"value": dict.fromkeys(MEASURES)},
        may_change=False,
        partial=False,
        key=KEY_VALUES,
    )
    assert answer_of(question(), [far]).rows[0][3] == f"{10**18} ms"


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Decimal("1E-9"), "0.000000001"),
        (Decimal("-0"), "0"),
        (Decimal(100), "100"),
        (False, "no"),
        (7, "7"),
    ],
)
def test_numbers_have_no_exponent_and_no_trailing_zeros(cell: Decimal | bool, text: str) -> None:  # noqa: FBT001 - a table
    assert number_text(cell) == text


def test_a_selection_of_each_field_as_it_is_means_one_key() -> None:
    assert Selection.of(ROLLUP, KEY).key == KEY_VALUES
    assert Selection.of(ROLLUP, {**KEY, "metric": "*"}).key is None
    assert Selection.of(ROLLUP, {"metric": "temp"}).key is None
    assert Selection.of(ROLLUP, {**KEY, "metric": r"what\?"}).key == ("d1", "what?")


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("/a*", "/a/b", True),
        ("/a*", "b/a", False),
        ("*a", "cba", True),
        ("*a*b*", "xxaxxbxx", True),
        ("*a*b*", "xxbxxaxx", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        (r"a\*c", "a*c", True),
        (r"a\*c", "abc", False),
        ("*[1]", "d[1]", True),
        ("*", "", True),
        ("a*a", "a", False),
        ("*ab", "aab", True),
        ("*.html", "/x\n.html", True),
    ],
)
def test_a_pattern_means_itself_but_for_stars_and_question_marks(
    pattern: str, text: str, *, matches: bool
) -> None:
    selection = Selection.of(ROLLUP, {"device_id": pattern})
    assert selection.matcher()((text, "temp")) is matches


def test_a_pattern_that_would_backtrack_is_gone_through_once() -> None:
    matcher = Selection.of(ROLLUP, {"device_id": "*a" * 400 + "b"}).matcher()
    assert not matcher(("a" * 20_000, "temp"))
    with pytest.raises(ConfigError, match="1,001 characters; at most 1,000"):
        Selection.of(ROLLUP, {"device_id": "*" + "a" * 1_000})


@pytest.mark.parametrize(
    ("window", "problem"),
    [
        ("1fortnight", "is not a window"),
        ("0w", "nothing at all"),
        ("2d@Europe/Berlin", "windows of 1d and 1w"),
        ("5mo", "does not divide a year"),
        ("1d@Europe/Nowhere", "no time zone"),
        ("1d@../../etc/passwd", "is not a window"),
        ("1d@Europe/..", "is not a window"),
        ("1h@Europe/Berlin", "is not a window"),
    ],
)
def test_what_is_no_window_is_told(window: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        question(window=window)


def test_a_window_is_merged_from_the_largest_that_fit() -> None:
    """A day of Kolkata begins at half past the hour of UTC: only minutes and halves of them fit."""
    for window, read in (
        ("1d", "1h"),
        ("3m", "90s"),
        ("2m", "1m"),
        ("1d@Europe/Berlin", "1h"),
        ("1w@Asia/Kolkata", "90s"),
    ):
        assert question(window=window).windows.label == read
    with pytest.raises(ConfigError, match="cannot be merged"):
        Question.parse(
            pipeline(),
            rollup="page_views",
            key={},
            window="1d@Asia/Kolkata",
            from_ms=ARRIVAL_MS,
            to_ms=ARRIVAL_MS + 1,
        )


def test_a_bucket_of_which_a_part_is_not_kept_any_more_is_partial() -> None:
    day_ms, keep_ms = 86_400_000, ROLLUP.keep_ms or 0
    start_ms = ARRIVAL_MS // day_ms * day_ms
    store = Reads(world_of((ARRIVAL_MS, 1.0)).store)
    for now_ms, expired in (
        (start_ms + 3_600_000 + keep_ms - 1, False),
        (start_ms + 3_600_000 + keep_ms, True),
    ):
        (row,) = ask(store, question(window="1d"), applied_ms=NOW_MS, now_ms=now_ms)
        assert row.partial == expired


def test_the_silent_are_told_with_the_time_of_their_last_event() -> None:
    store = Reads(world_of((ARRIVAL_MS, 1.0), (ARRIVAL_MS + 5, 2.0)).store)
    seen = Seen(KEY_VALUES, ARRIVAL_MS + 5, is_exact=True)
    for for_ms, told in [(NOW_MS - ARRIVAL_MS - 5, [seen]), (NOW_MS - ARRIVAL_MS - 4, [])]:
        assert silent(store, question(), for_ms=for_ms, as_of_ms=NOW_MS, now_ms=NOW_MS) == told


@pytest.mark.parametrize("minutes", [1, 2, 61, 62, 63, 64, 1500])
def test_who_was_silent_at_an_instant_is_told_by_what_came_before_it(minutes: int) -> None:
    """Windows of all sizes tell the time of the last event; one that goes on beyond the instant may tell a later one."""
    first_ms = ARRIVAL_MS - 120 * MINUTE_MS
    times = [first_ms, first_ms + 61 * MINUTE_MS + 7, first_ms + 63 * MINUTE_MS + 9]
    store = Reads(world_of(*((ts, 1.0) for ts in times)).store)
    as_of_ms, now_ms = first_ms + minutes * MINUTE_MS, ARRIVAL_MS + 9 * 86_400_000
    last_ms = max(ts for ts in times if ts < as_of_ms)
    for for_ms, is_silent in [(as_of_ms - last_ms, True), (as_of_ms - last_ms + 1, False)]:
        found = silent(store, question(), for_ms=for_ms, as_of_ms=as_of_ms, now_ms=now_ms)
        assert found == ([Seen(KEY_VALUES, last_ms, is_exact=True)] if is_silent else [])


def test_an_instant_of_the_past_is_a_boundary_of_windows_and_the_present_is_itself() -> None:
    assert instant_of(question(), ARRIVAL_MS + MINUTE_MS + 5, now_ms=NOW_MS * 2) == ARRIVAL_MS + MINUTE_MS
    assert instant_of(question(), NOW_MS + 5, now_ms=NOW_MS + 5) == NOW_MS + 5


def test_who_is_silent_is_read_from_the_largest_windows() -> None:
    reads = CountedReads(crowd(3, minutes=8).store)
    found = silent(reads, question(device_id="*"), for_ms=1, as_of_ms=NOW_MS, now_ms=NOW_MS)
    assert (len(found), reads.ranges) == (3, 1)
    assert {pk.split("|")[1] for pk in reads.partitions} == {"1h"}


def test_where_no_last_is_kept_a_key_was_heard_of_in_its_last_window() -> None:
    world, schema = World(pipeline()), pipeline().sources["click"].schema
    assert invoke(world.sandbox(), [StreamRecord("shardId-0", 1, "p", schema.encode(click("v", "/a", ARRIVAL_MS, 5)), ARRIVAL_MS)]) is None  # fmt: skip
    asked = Question.parse(pipeline(), rollup="page_views", key={}, window="1h", from_ms=0, to_ms=2**47)
    (one,) = silent(Reads(world.store), asked, for_ms=1, as_of_ms=2**46, now_ms=NOW_MS)
    assert one == Seen(("/a",), ARRIVAL_MS + 3_600_000, is_exact=False)


def test_rows_that_fill_too_much_are_refused() -> None:
    asked = question(window="1m")
    rows = list(ask(Reads(world_of((ARRIVAL_MS, 1.0)).store), asked, applied_ms=NOW_MS, now_ms=NOW_MS))
    with pytest.raises(ConfigError, match="more than 1,000,000 rows"):
        filled(rows, asked, "null", applied_ms=NOW_MS, now_ms=NOW_MS, first_ms=0, last_ms=None)


def test_what_was_before_fills_until_something_comes() -> None:
    asked = question(window="1m")
    events = ((ARRIVAL_MS, 1.0), (ARRIVAL_MS + 3 * MINUTE_MS, 2.0))
    rows = list(ask(Reads(world_of(*events).store), asked, applied_ms=NOW_MS, now_ms=NOW_MS))
    made = filled(
        rows,
        asked,
        "previous",
        applied_ms=NOW_MS,
        now_ms=NOW_MS,
        first_ms=ARRIVAL_MS - MINUTE_MS,
        last_ms=None,
    )
    assert [(row.events, row.values["value"]["sum"]) for row in made] == [
        (0, None),
        (1, 1),
        (0, 1),
        (0, 1),
        (1, 2),
    ]


FORMULA = '=HYPERLINK("http://evil.example")'


@pytest.mark.parametrize(
    "key",
    [
        FORMULA,
        "+cmd",
        "-cmd|' /C calc'!A0",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "\0=1",
        "\uff1d1",
        "+49123",
        "-",
        "-1+1",
    ],
)
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe_but_not_raw(key: str) -> None:
    asked = question(device_id=key, metric="t")
    for raw, wanted in ((False, f"'{key}"), (True, key)):
        text = "\n".join(to_csv(answer_of(asked, rows_of(ROLLUP, (key, "t"), *VALUES)), raw=raw))
        header, row = csv.reader(io.StringIO(text, newline=""))
        assert row[0] == wanted
        assert not raw or len(row) == len(header)


@pytest.mark.parametrize("key", ["-5", "-5.25", "7", "a=b", "x-1", " =1", "'=1"])
def test_numbers_and_other_texts_stay_as_they_are(key: str) -> None:
    negative = (2, Decimal("-7.5"), *VALUES[2:])
    text = "\n".join(
        to_csv(answer_of(question(device_id=key, metric="t"), rows_of(ROLLUP, (key, "t"), *negative)))
    )
    header, row = csv.reader(io.StringIO(text, newline=""))
    assert row[0] == key
    assert dict(zip(header, row, strict=True))["value.sum"] == "-7.5"


def test_json_is_exact_whatever_the_key_is() -> None:
    key = FORMULA + "\x1b[31m\u202e"
    [row] = json.loads(
        to_json(answer_of(question(device_id=key, metric="t"), rows_of(ROLLUP, (key, "t"), *VALUES)))
    )
    assert row["device_id"] == key


def test_an_answer_of_more_rows_than_are_held_is_refused_and_a_limit_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "MOST_ROWS", 5)
    store, asked = Reads(crowd(6).store), question(device_id="*")
    with pytest.raises(ConfigError, match=r"more than 5 rows: .*--limit"):
        answers.answer(store, asked, answers.Shape(), applied_ms=NOW_MS, now_ms=NOW_MS)
    given = answers.answer(store, asked, answers.Shape(limit=5), applied_ms=NOW_MS, now_ms=NOW_MS)
    assert (len(given.rows), given.left) == (5, 1)


@pytest.mark.parametrize("by", ["events", "value.sum", "value.variance"])
@pytest.mark.parametrize("each_window", [False, True])
@pytest.mark.parametrize("total", [False, True])
def test_the_first_are_the_same_whether_rows_are_made_of_all_or_not(
    *, by: str, each_window: bool, total: bool
) -> None:
    store = Reads(crowd(30, minutes=4, shards=2).store)
    asked = Question.parse(
        pipeline(), rollup="device_metrics", key={}, window="1m", from_ms=0, to_ms=2**42, total=total
    )
    column = Column.parse(ROLLUP, by)
    given = answers.answer(
        store,
        asked,
        answers.Shape(top=7, by=column, each_window=each_window),
        applied_ms=NOW_MS,
        now_ms=NOW_MS,
    )
    rows = [Compared(row, None) for row in ask(store, asked, applied_ms=NOW_MS, now_ms=NOW_MS)]
    first = top_of_each(rows, column, 7) if each_window else top(rows, column, 7)
    assert given == answers.answer_of(asked, [each.row for each in first])
    assert len(given.rows) == (28 if each_window and not total else 7)


def test_more_keys_than_there_is_memory_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Reads(crowd(7).store)
    monkeypatch.setattr(regroup, "MOST_KEYS", 6)
    with pytest.raises(ConfigError, match="more than 6 keys: narrow the question"):
        list(ask(store, question(device_id="*"), applied_ms=NOW_MS, now_ms=NOW_MS))
    monkeypatch.setattr(regroup, "MOST_KEYS", 7)
    assert len(list(ask(store, question(device_id="*"), applied_ms=NOW_MS, now_ms=NOW_MS))) == 7


def test_the_first_of_a_million_keys_take_a_gigabyte_at_most() -> None:
    """Of three thousand, three thousandths of it: no rows are made of those that are not told."""
    count = 3_000
    store = Reads(crowd(count, room_bytes=2_000).store)
    asked = Question.parse(
        pipeline(), rollup="device_metrics", key={}, window="1m", from_ms=0, to_ms=2**42, total=True
    )
    shape = answers.Shape(top=10, by=Column.parse(ROLLUP, "value.sum"))
    tracemalloc.start()
    try:
        given = answers.answer(store, asked, shape, applied_ms=NOW_MS, now_ms=NOW_MS)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [row[0] for row in given.rows] == [f"d{count - 1 - number}" for number in range(10)]
    assert peak_bytes / count < 1_073


@pytest.mark.parametrize("instant_ms", [10**17, 10**20, -(10**17)])
def test_an_instant_beyond_the_calendar_is_told_in_ms(instant_ms: int) -> None:
    assert answers.time_text(instant_ms) == f"{instant_ms} ms"


def test_a_window_of_more_years_than_there_were_begins_with_the_calendar() -> None:
    window = parse_buckets("9999y").window_of(ARRIVAL_MS)
    assert window.start_ms < 0 < ARRIVAL_MS < window.end_ms
