"""Aggregated records checked by hand, byte by byte."""

import hashlib

from streamgage.formats.kpl import decode_aggregate
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.records import UserRecord

# The example in the documentation of another implementation (Elixir): https://hex.pm/packages/ex_kpl 0.2.0.
EX_KPL = bytes.fromhex(
    "f3899ac2"  # magic
    "0a0d 706172746974696f6e5f6b6579"  # 1: "partition_key"
    "1a08 0800 1a04 64617461"  # 3: a record of 8 bytes; 1: index 0; 3: "data"
    "d03699da5a222fa32108ad1bd955a14e"  # MD5
)

TWO_KEYS = bytes.fromhex(
    "0a01 61"  # 1: partition key "a"
    "0a02 c3a9"  # 1: partition key "é"
    "1202 3432"  # 2: explicit hash key "42"
    "1a13"  # 3: a record of 19 bytes
    "  0800"  # 1: partition key index 0
    "  1a02 ff00"  # 3: data
    "  220b 0a03 706964 1204 782d3137"  # 4: a tag, "pid" = "x-17"
    "1a06"  # 3: a record of 6 bytes
    "  0801"  # 1: partition key index 1
    "  1000"  # 2: explicit hash key index 0
    "  1a00"  # 3: data, empty
)


def test_the_record_that_another_implementation_documents_is_ours_too() -> None:
    builder = AggregateBuilder()
    builder.add(UserRecord("partition_key", b"data"))
    assert builder.build() == EX_KPL
    assert list(decode_aggregate(EX_KPL).user_records()) == [UserRecord("partition_key", b"data")]


def test_keys_hash_keys_and_a_tag_lie_where_the_format_puts_them() -> None:
    records = [UserRecord("a", b"\xff\x00"), UserRecord("é", b"", 42)]
    builder = AggregateBuilder({"pid": "x-17"})
    for record in records:
        builder.add(record)
    data = b"\xf3\x89\x9a\xc2" + TWO_KEYS + hashlib.md5(TWO_KEYS, usedforsecurity=False).digest()
    assert builder.build() == data
    aggregate = decode_aggregate(data)
    assert list(aggregate.user_records()) == records
    assert aggregate.tags == {"pid": "x-17"}
