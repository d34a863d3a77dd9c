import base64
import hashlib
import os
import tracemalloc
from typing import Any

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import deaggregate_records

from streamgage.errors import PoisonRecord
from streamgage.formats.kpl import MAGIC, decode_aggregate, is_aggregated
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.records import UserRecord

KEY = b"\x0a\x01k"  # a table with the partition key "k"
RECORD = b"\x1a\x06\x08\x00\x1a\x02hi"  # a user record: key 0, "hi"


def sign(message: bytes) -> bytes:
    return MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()


def build(*records: UserRecord, tags: dict[str, str] | None = None) -> bytes:
    builder = AggregateBuilder(tags)
    for record in records:
        builder.add(record)
    return builder.build()


def awslabs_decode(data: bytes) -> list[UserRecord]:
    """Read as AWS's own Python deaggregator does."""
    envelope: dict[str, Any] = {
        "kinesisSchemaVersion": "1.0",
        "sequenceNumber": "1",
        "approximateArrivalTimestamp": 0,
        "partitionKey": "outer",
        "data": base64.b64encode(data),
    }
    kinesis = [item["kinesis"] for item in deaggregate_records([{"kinesis": envelope}])]
    assert all(item["aggregated"] for item in kinesis)
    return [
        UserRecord(
            item["partitionKey"],
            base64.b64decode(item["data"]),
            None if item["explicitHashKey"] is None else int(item["explicitHashKey"]),
        )
        for item in kinesis
    ]


MANY = [UserRecord(f"device-{n % 300}", os.urandom(n % 290)) for n in range(900)]
MANY_HASHED = [UserRecord(f"ключ-{n % 150}", b"x" * n, n % 140 * 7**44 % 2**128) for n in range(400)]


@pytest.mark.parametrize("records", [MANY[:1], MANY, MANY_HASHED], ids=["one", "many", "hash keys"])
def test_awslabs_deaggregator_reads_what_we_write(records: list[UserRecord]) -> None:
    assert awslabs_decode(build(*records)) == records
    assert awslabs_decode(build(*records, tags={"pid": "a", "n": "12"})) == records


@pytest.mark.parametrize("records", [MANY[:1], MANY, MANY_HASHED], ids=["one", "many", "hash keys"])
def test_we_read_and_write_what_awslabs_aggregator_writes(records: list[UserRecord]) -> None:
    aggregator = RecordAggregator()
    for record in records:
        key = None if record.explicit_hash_key is None else str(record.explicit_hash_key)
        assert aggregator.add_user_record(record.partition_key, record.data, key) is None
    data = aggregator.clear_and_get().get_contents()[2]
    assert list(decode_aggregate(data).user_records()) == records
    assert build(*records) == data


def test_only_some_user_records_may_have_a_hash_key() -> None:
    records = [
        UserRecord("a", b"1"),
        UserRecord("a", b"2", 2**128 - 1),
        UserRecord("b", b"3", 0),
        UserRecord("b", b"4"),
    ]
    aggregate = decode_aggregate(build(*records))
    assert list(aggregate.user_records()) == records
    assert aggregate.explicit_hash_key_indexes == {1: 0, 2: 1}


@pytest.mark.parametrize(
    "size", [0, 1, 121, 122, 123, 124, 127, 128, 16_370, 16_383, 16_384, 20_000, 2_100_000]
)
@pytest.mark.parametrize("tags", [None, {"pid": "p" * 200}])
def test_sizes_are_exact_around_every_change_of_length(size: int, tags: dict[str, str] | None) -> None:
    records = [
        UserRecord("k" * (size % 256 or 1), bytes(size)),
        UserRecord("l", bytes(size), 10**size if size < 39 else 5),
    ]
    builder = AggregateBuilder(tags)
    for record in records:
        expected = builder.size_after(record)
        builder.add(record)
        assert builder.size_bytes == expected == len(builder.build())
    assert builder.count == 2
    assert list(decode_aggregate(builder.build()).user_records()) == records


def test_key_indexes_of_two_and_three_bytes_survive() -> None:
    records = [UserRecord(f"{n:x}", b"d", n if n % 7 == 0 else None) for n in range(16_500)]
    assert list(decode_aggregate(build(*records)).user_records()) == records


def test_the_limit_is_kept_to_the_byte() -> None:
    record = UserRecord("k", b"data")
    exact = AggregateBuilder().size_after(record)
    builder = AggregateBuilder()
    assert not builder.add_within(record, exact - 1)
    assert (builder.count, builder.size_bytes) == (0, 20)
    assert builder.add_within(record, exact)
    assert len(builder.build()) == exact


def test_a_hash_key_beyond_128_bits_is_refused() -> None:
    for hash_key in (-1, 2**128):
        builder = AggregateBuilder()
        with pytest.raises(ValueError, match="outside 0 to"):
            builder.add(UserRecord("k", b"", hash_key))
        assert builder.count == 0


def test_tags_come_from_the_first_user_record_only() -> None:
    tagged = b"\x1a\x0d\x08\x00\x1a\x02hi\x22\x05\x0a\x01t\x12\x00"
    other = b"\x1a\x0f\x08\x00\x1a\x02hi\x22\x07\x0a\x01u\x12\x02no"
    assert decode_aggregate(sign(KEY + tagged + other)).tags == {"t": ""}
    assert decode_aggregate(sign(KEY + RECORD + other)).tags == {}
    assert decode_aggregate(sign(KEY + b"\x1a\x0b\x08\x00\x1a\x02hi\x22\x03\x0a\x01t")).tags == {"t": ""}


def test_what_protobuf_allows_is_read() -> None:
    hi = [UserRecord("k", b"hi")]
    unknown = (
        b"\x78\x96\x01" + b"\x79" + bytes(8) + b"\x7d" + bytes(4) + b"\x7a\x02??"
    )  # field 15: each wire type
    for message in (
        RECORD + KEY,  # tables after records
        KEY + b"\x1a\x06\x1a\x02hi\x08\x00",  # fields in another order
        KEY + b"\x1a\x08\x08\x07\x08\x00\x1a\x02hi",  # a field twice: the last counts
        KEY + b"\x1a\x07\x08\x80\x00\x1a\x02hi",  # a varint with more bytes than it needs
        KEY + b"\x1a\x86\x80\x00\x08\x00\x1a\x02hi",
        unknown + KEY + unknown + RECORD + unknown,
        KEY + b"\x1a" + bytes((6 + len(unknown),)) + b"\x08\x00" + unknown + b"\x1a\x02hi",
    ):
        assert list(decode_aggregate(sign(message)).user_records()) == hi
        assert awslabs_decode(sign(message)) == hi


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (KEY + b"\x1a\x06\x08\x01\x1a\x02hi", "partition key index 1 in a table of 1"),
        (RECORD, "partition key index 0 in a table of 0"),
        (KEY + b"\x1a\x08\x08\x00\x10\x00\x1a\x02hi", "explicit hash key index 0 in a table of 0"),
        (KEY + b"\x1a\x0f\x08" + b"\xff" * 9 + b"\x01\x1a\x02hi", "partition key index 18446744073709551615"),
        (KEY + b"\x1a\x0f\x08" + b"\xff" * 9 + b"\x02\x1a\x02hi", "a varint of 65 bits"),
        (KEY + b"\x1a\x10\x08" + b"\x80" * 10 + b"\x00\x1a\x02hi", "more than 10 bytes"),
        (KEY + b"\x1a\x04\x1a\x02hi", "without a partition key index"),
        (KEY + b"\x1a\x02\x08\x00", "without data"),
        (KEY + b"\x1a\x00", "without a partition key index"),
        (KEY + b"\x1a\x07\x08\x00\x1a\x02hi", "a field of 7 bytes where 6 are left"),
        (KEY + b"\x1a\x06\x08\x00\x1a\x03hi", "a field of 3 bytes where 2 are left"),
        (KEY + b"\x1a\x06\x08\x00\x1a\x01hi", "goes on behind its end|wire type"),
        (KEY + b"\x1a", "goes on behind its end"),
        (KEY + RECORD + b"\x1a\xff", "goes on behind its end"),
        (KEY + RECORD + b"\x0a\xff\xff\xff\xff\x0f", "a field of 4294967295 bytes where 0 are left"),
        (b"\x0a\x02\xff\xfe", "not UTF-8"),
        (KEY + RECORD + b"\x1a\x09\x08\x00\x1a\x00\x22\x03\x0a\x02u", "a field of 2 bytes where 1 are left"),
        (KEY + b"\x1a\x86\x80\x80\x80\x80\x00\x08\x00\x1a\x02hi", "a length of 6 bytes"),
        (b"\xf8\x80\x80\x80\x80\x00\x00" + KEY, "in more than 5 bytes"),
        (KEY + b"\x18\x06", "field 3 has wire type 0"),
        (KEY + b"\x9a\x00\x06\x08\x00\x1a\x02hi", "a tag of more bytes than it needs"),
        (KEY + b"\x1a\x05\x0a\x00\x1a\x01h", "field 1 has wire type 2"),
        (KEY + b"\x1a\x07\x08\x00\x1a\x01h\x20\x00", "field 4 has wire type 0"),
        (b"\x03\x04" + KEY, "field number 0"),
        (b"\x7b\x7c" + KEY, "unknown field 15 has wire type 3"),
        (b"\x7e" + KEY, "unknown field 15 has wire type 6"),
        (KEY + RECORD + b"\x79" + bytes(7), "unknown field 15 goes on behind its end"),
        (KEY + b"\x1a\x08\x08\x00\x1a\x00\x22\x02\x12\x00", "a tag without a key"),
        (b"\x12\x01x", "is not a decimal"),
        (b"\x12\x02-1", "is not a decimal"),
        (b"\x12\x00", "is not a decimal"),
        (b"\x12\x0201", "is not a decimal"),
        (b"\x12\x03\xd9\xa1\x31", "is not a decimal"),  # a digit, but an Arabic one
        (b"\x12\x27" + str(2**128).encode(), "is not a decimal from 0 to 2"),
    ],
)
def test_what_is_wrong_with_a_broken_message_is_said(message: bytes, reason: str) -> None:
    with pytest.raises(PoisonRecord, match=reason) as caught:
        decode_aggregate(sign(message))
    assert caught.value.code == "bad_kpl_framing"
    assert caught.value.reason.startswith("at byte ")


def test_a_number_of_three_bytes_is_not_taken_for_one_of_two() -> None:
    """Crafted so that the short way of the decoder, if it trusted two bytes, would find a record that fits."""
    index = b"\x1a\x1f\x08\x80\x80\x1a\x1a\x19" + bytes(25)  # index 0x1a << 14
    with pytest.raises(PoisonRecord, match="partition key index 425984 in a table of 20000"):
        decode_aggregate(sign(KEY * 20_000 + index))
    payload = bytes(131_062)
    length = b"\x1a\x82\x80\x08" + b"\x08\x1a" + b"\xfd\x7f1234" + b"\x1a\xf6\xff\x07" + payload
    aggregate = decode_aggregate(sign(KEY * 27 + length))
    assert (aggregate.datas, aggregate.partition_key_indexes) == ([payload], [26])


def test_a_bad_md5_is_poison_and_not_a_plain_record() -> None:
    data = sign(KEY + RECORD)
    assert is_aggregated(data)
    with pytest.raises(PoisonRecord, match="at byte 15: MD5 is "):
        decode_aggregate(data[:-1] + bytes((data[-1] ^ 1,)))


def test_what_is_too_short_for_a_message_is_plain_as_to_awslabs() -> None:
    for data in (b"", MAGIC, MAGIC + bytes(16), sign(b""), b"\xf3\x89\x9a\xc3" + bytes(40), b"{}" * 20):
        assert not is_aggregated(data)
        with pytest.raises(PoisonRecord, match="not an aggregated record"):
            decode_aggregate(data)
    assert is_aggregated(MAGIC + bytes(17))


@pytest.mark.parametrize(
    "unit", [b"\x0a\x00", b"\x12\x010", b"\x0a\x02ab", b"\x12\x0299", KEY + b"\x1a\x04\x08\x00\x1a\x00"]
)
def test_memory_stays_within_a_multiple_of_the_input(unit: bytes) -> None:
    data = sign(KEY + unit * (100_000 // len(unit)))
    tracemalloc.start()
    decode_aggregate(data)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 25 * len(data)
