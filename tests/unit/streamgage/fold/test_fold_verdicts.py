import zlib
from typing import Any

import pytest

from streamgage.errors import POISON_CODES
from streamgage.fold.batch import Folded
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.formats.blocks.layout import DEFLATED, PREFIX_BYTES, RAW
from streamgage.formats.kpl import DIGEST_BYTES, MAGIC
from streamgage.limits import DYNAMODB_PARTITION_KEY_BYTES
from streamgage.reading.poison import Poison, Refused, counted, in_log_order
from streamgage.records import StreamRecord, UserRecord
from support.fakes import World, invoke
from support.strategies import (
    ARRIVAL_MS,
    DAY_MS,
    MINUTE_MS,
    POISON_KINESIS_RECORDS,
    POISON_USER_RECORDS,
    aggregated,
    click,
    pipeline,
    reading,
    signed,
)
from support.tables import States, fold_plainly, states_folded

SCHEMA = pipeline().sources["reading"].schema


def record(data: bytes, sequence_number: int = 10**55) -> StreamRecord:
    return StreamRecord("shardId-000000000000", sequence_number, "p", data, ARRIVAL_MS)


def fold(*datas: bytes) -> Folded:
    return fold_plainly(pipeline(), [record(data, 10**55 + at) for at, data in enumerate(datas)])


def states(folded: Folded) -> States:
    return states_folded(folded, pipeline())


def events(folded: Folded) -> set[int]:
    """Return how many events its keys hold."""
    return {state[0] for state in states(folded).values()}


def encoded(lag_ms: int = 0, **changes: Any) -> bytes:
    return SCHEMA.encode({**reading("d1", "temp", ARRIVAL_MS + lag_ms, 1.0), **changes})


def codes(folded: Folded) -> list[str]:
    return [code for each in folded.poison for code in each.codes]


@pytest.mark.parametrize(
    "case", POISON_USER_RECORDS, ids=lambda case: f"{case[0]}-{case[1](ARRIVAL_MS)[:12]!r}"
)
def test_a_poison_user_record_is_quarantined_and_the_rest_of_its_record_is_applied(case: Any) -> None:
    code, make = case
    data = make(ARRIVAL_MS)
    users = [UserRecord("a", encoded()), UserRecord("b", data), UserRecord("c", encoded())]
    folded = fold(aggregated(users))
    (poison,) = folded.poison
    assert (*poison.codes, poison.sub_sequence_number, poison.partition_key, poison.data) == (
        code,
        1,
        "b",
        data,
    )
    assert code in POISON_CODES
    assert (poison.sequence_number, poison.arrival_ms, folded.user_records) == (10**55, ARRIVAL_MS, 3)
    assert events(folded) == {2}


@pytest.mark.parametrize("data", POISON_KINESIS_RECORDS, ids=["MD5", "key index", "length"])
def test_a_poison_kinesis_record_is_quarantined_whole_and_the_next_is_applied(data: bytes) -> None:
    folded = fold(data, encoded())
    (poison,) = folded.poison
    assert (*poison.codes, poison.sub_sequence_number, poison.data) == ("bad_kpl_framing", None, data)
    assert poison.partition_key == "p"
    assert (len(folded.items), folded.kinesis_records, folded.user_records) == (3, 2, 2)


def test_rows_whose_key_is_not_in_the_table_make_their_kinesis_record_poison() -> None:
    data = aggregated([UserRecord(key, encoded()) for key in "aab"])
    message = data[len(MAGIC) : -DIGEST_BYTES]
    assert message.startswith(b"\x0a\x01a\x0a\x01b")
    short = signed(message.removeprefix(b"\x0a\x01a"))  # so the last row's key, number 1, is not there
    (poison,) = fold(short, encoded()).poison
    assert (*poison.codes, poison.data) == ("bad_kpl_framing", short)
    assert "partition key index 1 in a table of 1" in poison.refused[0].reason
    assert events(fold(short, encoded())) == {1}


def test_a_character_that_two_partition_keys_share_makes_their_kinesis_record_poison() -> None:
    message = aggregated([UserRecord("a", encoded())])[len(MAGIC) : -DIGEST_BYTES]
    (poison,) = fold(signed(b"\x0a\x02k\xc3\x0a\x02\xa9k" + message)).poison
    assert poison.codes == {"bad_kpl_framing": 1}
    assert poison.refused[0].reason.startswith("at byte 7: not UTF-8")


@pytest.mark.parametrize(
    ("lag_ms", "code"),
    [
        (5 * MINUTE_MS, None),
        (5 * MINUTE_MS + 1, "future"),
        (-7 * DAY_MS, None),
        (-7 * DAY_MS - 1, "late"),
        (-ARRIVAL_MS - 1, "bad_time"),
    ],
)
def test_late_and_future_are_judged_against_arrival_to_the_millisecond(lag_ms: int, code: str | None) -> None:
    folded = fold(encoded(lag_ms))
    assert codes(folded) == ([code] if code else [])
    assert bool(folded.items) == (code is None)


def test_without_max_lateness_any_age_counts() -> None:
    data = pipeline().sources["click"].schema.encode(click("v", "/", 0, 5))
    assert len(fold(data).items) == 2


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (9.99999999999999e28, True),
        (1e29, False),
        (-1e29, False),
        (1e308, False),
        (1e-300, True),
        (-0.0, True),
    ],
)
def test_what_38_digits_hold_counts_and_nothing_more(value: float, fits: bool) -> None:  # noqa: FBT001 - a table
    folded = fold(encoded(value=value))
    assert codes(folded) == ([] if fits else ["bad_value"])


def test_a_json_user_record_counts_as_the_same_event_in_avro_does() -> None:
    text = b'{"source": "reading", "device_id": "d1", "metric": "temp", "ts": %d, "value": 1}' % ARRIVAL_MS
    assert states(fold(text)) == states(fold(encoded()))


def test_json_reasons_say_what_is_wrong() -> None:
    cases = [
        (b'{"source": "raeding"}', "\"source\" is 'raeding'; it must be one of: reading, click"),
        (b"{}", '"source" is None'),
        (b'{"source": "reading"}', "device_id"),
        (b'{"source": "reading", "value": NaN}', "NaN is not a finite number"),
    ]
    for data, reason in cases:
        (poison,) = fold(data).poison
        assert reason in poison.refused[0].reason


def test_a_poison_event_is_counted_in_none_of_its_rollups() -> None:
    folded = fold(pipeline().sources["click"].schema.encode(click("v" * 2100, "/", 5, 1)))
    assert (codes(folded), folded.items) == (
        ["bad_key"],
        {},
    )  # the page's key would fit


def test_a_key_is_too_long_where_its_text_is_whatever_stands_beside_it() -> None:
    room = DYNAMODB_PARTITION_KEY_BYTES - len("|temp")
    for size, wanted in ((room - 1, []), (room, []), (room + 1, ["bad_key"])):
        assert codes(fold(encoded(device_id="x" * size))) == wanted
    assert codes(fold(encoded(device_id="ü" * (room // 2)))) == []
    assert codes(fold(encoded(device_id="|" * (room // 3 + 1)))) == ["bad_key"]  # each is written as %7C


def test_however_much_is_poison_it_is_quarantined_and_the_shard_goes_on() -> None:
    world = World(pipeline())
    flood = [record(b"junk", number) for number in range(8_000)]
    assert invoke(world.sandbox(), [*flood, record(encoded(), 8_000)]) is None
    assert len(world.quarantine.kept) == 8_000
    assert (world.reports[0].poison, world.reports[0].error) == ({"unknown_format": 8_000}, "")
    assert world.ask("device_metrics", {"device_id": "d1", "metric": "temp"}, "1h")[0].events == 1


def test_an_empty_event_is_a_success() -> None:
    assert World(pipeline()).sandbox().handle({"Records": []}, remaining_ms=lambda: 0) == {
        "batchItemFailures": []
    }


def block(*events: dict[str, Any]) -> bytes:
    return BlockCodec(SCHEMA).encode(events)


def test_a_block_counts_as_its_events_by_themselves_do() -> None:
    events = [reading("d1", "temp", ARRIVAL_MS + n * 20_000, n / 7) for n in range(9)]
    rows = [UserRecord("k", SCHEMA.encode(each)) for each in events]
    cut = [UserRecord("k", block(*events[:4])), rows[4], UserRecord("k", block(*events[5:]))]
    whole = fold(aggregated(rows))
    for data in (block(*events), aggregated(cut), aggregated([*rows[:4], *cut[1:]])):
        folded = fold(data)
        assert (states(folded), folded.user_records, folded.poison) == (states(whole), 9, [])


def test_a_block_with_poison_events_is_quarantined_once_with_their_offsets_and_its_rest_counts() -> None:
    good = reading("d1", "temp", ARRIVAL_MS, 1.0)
    bad = {**good, "value": 1e29}, {**good, "ts": -1}, {**good, "device_id": "x" * 2100}
    blocks = block(good, bad[0], bad[0], good, bad[0]), block(bad[1], good, bad[2], bad[1])
    users = [
        UserRecord("a", encoded()),
        UserRecord("b", blocks[0]),
        UserRecord("c", b"junk"),
        UserRecord("d", blocks[1]),
        UserRecord("e", encoded()),
    ]
    folded = fold(aggregated(users))
    assert [
        (each.sub_sequence_number, each.partition_key, each.data, each.events) for each in folded.poison
    ] == [(1, "b", blocks[0], 5), (6, "c", b"junk", 1), (7, "d", blocks[1], 4)]
    assert [[(at.first, at.last, at.code) for at in each.refused] for each in folded.poison] == [
        [(1, 2, "bad_value"), (4, 4, "bad_value")],
        [(0, 0, "unknown_format")],
        [(0, 0, "bad_time"), (2, 2, "bad_key"), (3, 3, "bad_time")],
    ]
    assert counted(folded.poison) == {"bad_value": 3, "unknown_format": 1, "bad_time": 2, "bad_key": 1}
    assert folded.user_records == 12
    assert events(folded) == {5}


def test_events_refused_by_different_checks_of_one_block_are_one_poison() -> None:
    """One event does not resolve to the reader's schema, which the reading sees; another is late, which a column shows."""
    late = (Refused(0, 1, "late", "first"), Refused(4, 4, "late", "first"))
    torn = Refused(2, 3, "undecodable", "why")
    one, other = (Poison("s", 7, 3, "k", 1, b"block", 6, refused) for refused in ((torn,), late))
    before = Poison("s", 7, None, "k", 1, b"", 1, (torn,))
    joined = Poison("s", 7, 3, "k", 1, b"block", 6, (late[0], torn, late[1]))
    assert in_log_order([one, other, before]) == [before, joined]


def test_an_undecodable_block_is_one_poison_user_record() -> None:
    data = block(*[reading("d1", "temp", ARRIVAL_MS, 1.0)] * 3)
    for broken, code in (
        (data[:-1], "undecodable"),
        (data[:10], "undecodable"),
        (data[:2] + b"12345678" + data[10:], "unknown_schema"),
    ):
        folded = fold(aggregated([UserRecord("a", broken), UserRecord("b", encoded())]))
        (poison,) = folded.poison
        assert (*poison.codes, poison.sub_sequence_number, poison.data) == (code, 0, broken)
        assert folded.user_records == 2
        assert events(folded) == {1}


def test_a_block_whose_poison_cannot_be_shown_is_quarantined_all_the_same_and_its_rest_counts() -> None:
    schema = pipeline().sources["click"].schema
    data = BlockCodec(schema).encode(
        [click("v" * size, "/", ARRIVAL_MS, size) for size in (1, 2100, 3)]  # a key of 2100 is too long
    )
    form, body = raw_block(data)
    assert b"view" in body
    broken = form + body.replace(b"view", b"vi\xffw")  # a column that no rollup reads
    folded = fold(aggregated([UserRecord("a", broken), UserRecord("b", encoded())]))
    (poison,) = folded.poison
    assert (poison.codes, poison.sub_sequence_number, poison.data) == ({"bad_key": 1}, 0, broken)
    assert folded.user_records == 4
    assert {key.pk.partition(".")[0] for key in folded.items} == {"device_metrics", "visits", "page_views"}


def raw_block(data: bytes) -> tuple[bytes, bytes]:
    """Return the head of a block of fewer than 128 events as if it were not deflated, and its body."""
    assert data[PREFIX_BYTES] in (RAW, DEFLATED)
    body = data[PREFIX_BYTES + 2 :]
    if data[PREFIX_BYTES] == DEFLATED:
        body = zlib.decompress(body, -zlib.MAX_WBITS)
    return data[:PREFIX_BYTES] + bytes((RAW, data[PREFIX_BYTES + 1])), body
