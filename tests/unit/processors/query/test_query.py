import csv
import json
from collections.abc import Iterator
from decimal import Decimal

import pytest

from conftest import ClientFactory, create_table
from processors.query.question import DynamoPartialStore, Question, Row, ask
from processors.query.render import cells, columns, number_text, to_csv, to_json
from streamgage.definition.pipeline import Rollup
from streamgage.errors import ConfigError
from streamgage.fold.items import ItemKey, StoredItem, encode_state, partition_of, window_prefix
from streamgage.measures.windows import Window
from streamgage.records import StreamRecord
from support.boto3_store import Boto3ItemStore
from support.fakes import NOW_MS, InMemoryItemStore, World, ask_store, invoke
from support.strategies import ARRIVAL_MS, MINUTE_MS, pipeline, reading

ROLLUP = pipeline().rollups["device_metrics"]
KEY = {"device_id": "d1", "metric": "temp"}
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
                world.store,
                question(from_ms=ARRIVAL_MS + from_ms, to_ms=ARRIVAL_MS + ahead),
                applied_ms=NOW_MS,
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
    (row,) = ask(world_of((ARRIVAL_MS, 1.0)).store, question(), applied_ms=ARRIVAL_MS + applied_ms)
    assert row.may_change == may_change


def test_every_problem_of_a_question_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        question(window="1d", from_ms=5, to_ms=5, device_id="d1", colour="red")
    assert error.value.problems == (
        "metric is not given; the key of device_metrics is device_id=… metric=…",
        "'colour' is not part of the key of device_metrics",
        "device_metrics has no windows of '1d'; it has: 1m, 90s, 1h",
        "--to is not after --from",
    )


def test_an_unknown_rollup_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="'devices'; there are: device_metrics, page_views, visits"):
        question(rollup="devices")


def test_the_smallest_windows_are_asked_for_by_default() -> None:
    assert question(window=None).windows.label == "1m"
    assert question(window="60m").windows.label == "1h"


def test_an_item_of_another_layout_is_not_guessed_at() -> None:
    store = InMemoryItemStore()
    key = ItemKey(partition_of(ROLLUP, ROLLUP.windows[0], KEY.values()), window_prefix(0) + "|shardId-0")
    store.put(key, StoredItem(1, "value@6:n,sum", encode_state([1, 1, 1]), 0), expected_fence=None)
    with pytest.raises(ConfigError, match="value@6:n,sum"):
        list(ask(store, question(), applied_ms=0))


def test_a_key_with_the_separator_in_it_is_found_and_no_other() -> None:
    world = world_of((ARRIVAL_MS, 1.0), device="a|b%7C")
    assert len(world.ask("device_metrics", {"device_id": "a|b%7C", "metric": "temp"}, "1m")) == 1
    assert world.ask("device_metrics", {"device_id": "a", "metric": "b%7C|temp"}, "1m") == []


def test_dynamodb_answers_of_several_pages_are_read_to_their_end(moto: ClientFactory) -> None:
    client = moto("dynamodb")
    create_table(client, "aggregates")
    store, pk = Boto3ItemStore(client, "aggregates"), partition_of(ROLLUP, ROLLUP.windows[0], KEY.values())
    state = [1, 1, 10**150_000, 0, None, None, None, None]  # large items: a page of an answer is 1 MB
    for number in range(10):
        sk = f"{window_prefix(number * MINUTE_MS)}|shardId-0"
        store.put(
            ItemKey(pk, sk), StoredItem(1, ROLLUP.layout.text, encode_state([1]), 0), expected_fence=None
        )
        client.update_item(
            TableName="aggregates",
            Key={"pk": {"S": pk}, "sk": {"S": sk}},
            UpdateExpression="SET padding = :padding",
            ExpressionAttributeValues={":padding": {"S": "x" * 150_000}},
        )
    del state
    pages = client.query(
        TableName="aggregates",
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": pk}},
    )
    assert "LastEvaluatedKey" in pages
    found = [
        sk for sk, _ in DynamoPartialStore(client, "aggregates").range(pk, window_prefix(MINUTE_MS), "1")
    ]
    assert found == [f"{window_prefix(n * MINUTE_MS)}|shardId-0" for n in range(1, 10)]


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


def rows_of(rollup: Rollup, *values: Decimal | int | None) -> Iterator[Row]:
    measures = dict(zip(rollup.measures["value"], values, strict=True))
    yield Row(Window(0, 60_000), 2, {"value": measures}, may_change=True)


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
    text = "\n".join(to_csv(asked, rows_of(ROLLUP, *VALUES)))
    header, row = csv.reader(text.splitlines(keepends=True))
    assert header == columns(asked)
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
    }


def test_json_parses_and_is_exact() -> None:
    asked = question(device_id='"ü"\n', metric="temp")
    (row,) = json.loads(to_json(asked, rows_of(ROLLUP, *VALUES)), parse_float=Decimal)
    assert list(row) == columns(asked)
    assert (row["device_id"], row["value.sum"], row["value.variance"]) == ('"ü"\n', EXACT, None)
    assert (row["value.count"], row["value.max"], row["may_change"]) == (2, 1000, True)
    assert json.loads(to_json(asked, [])) == []


def test_a_window_of_fractions_of_a_second_is_told_to_the_millisecond() -> None:
    row = Row(Window(1_500, 3_000), 0, {"value": dict.fromkeys(MEASURES)}, may_change=False)
    assert cells(question(), row)[2:4] == ["1970-01-01T00:00:01.500Z", "1970-01-01T00:00:03Z"]
    far = Row(Window(0, 10**18), 0, {"value": dict.fromkeys(MEASURES)}, may_change=False)
    assert cells(question(), far)[3] == f"{10**18} ms"


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
