import hashlib

import pytest
from aws_kinesis_agg.deaggregator import messages_pb2
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgage.errors import PoisonRecord
from streamgage.formats.kpl import MAGIC, Aggregate, decode_aggregate
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.records import UserRecord
from support.examples import examples

KEYS = st.text(min_size=1, max_size=12) | st.sampled_from(["a", "b", "device-1"])
RECORDS = st.builds(
    UserRecord,
    partition_key=KEYS,
    data=st.binary(max_size=300),
    explicit_hash_key=st.none() | st.integers(0, 2**128 - 1) | st.just(7),
)
TAGS = st.dictionaries(st.text(max_size=5), st.text(max_size=200), max_size=3)


def sign(message: bytes) -> bytes:
    return MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()


def build(records: list[UserRecord], tags: dict[str, str]) -> bytes:
    builder = AggregateBuilder(tags)
    for record in records:
        builder.add(record)
        assert builder.size_bytes == len(builder.build())
    return builder.build()


def decode_or_none(data: bytes) -> Aggregate | None:
    """Return None for poison; any other exception fails the test."""
    try:
        return decode_aggregate(data)
    except PoisonRecord:
        return None


@settings(deadline=None, max_examples=150)
@given(records=st.lists(RECORDS, min_size=1, max_size=20), tags=TAGS)
def test_what_is_built_is_what_is_decoded(records: list[UserRecord], tags: dict[str, str]) -> None:
    aggregate = decode_aggregate(build(records, tags))
    assert list(aggregate.user_records()) == records
    assert aggregate.tags == tags


@settings(deadline=None, max_examples=60)
@given(records=st.lists(RECORDS, min_size=1, max_size=4), data=st.data())
def test_a_record_cut_or_changed_anywhere_is_poison(records: list[UserRecord], data: st.DataObject) -> None:
    built = build(records, {"pid": "1"})
    for stop in range(len(built)):
        assert decode_or_none(built[:stop]) is None
    bit = data.draw(st.integers(0, 8 * len(built) - 1))
    flipped = bytearray(built)
    flipped[bit // 8] ^= 1 << bit % 8
    assert decode_or_none(bytes(flipped)) is None


@settings(deadline=None, max_examples=60)
@given(records=st.lists(RECORDS, min_size=1, max_size=4))
def test_a_message_cut_between_fields_loses_the_rest_and_elsewhere_is_poison(
    records: list[UserRecord],
) -> None:
    message = build(records, {"pid": "1"})[4:-16]
    for stop in range(1, len(message)):
        aggregate = decode_or_none(sign(message[:stop]))
        if aggregate is not None:
            found = list(aggregate.user_records())
            assert found == records[: len(found)]


@settings(deadline=None, max_examples=examples(100, whole=400))
@given(records=st.lists(RECORDS, min_size=1, max_size=6), data=st.data())
def test_a_mutated_message_is_poison_or_what_protobuf_reads(
    records: list[UserRecord], data: st.DataObject
) -> None:
    """Mutants signed anew, so that the parser itself is what meets them."""
    message = bytearray(build(records, {"pid": "1"})[4:-16])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(message) - 1))
        kind = data.draw(st.sampled_from(["flip", "byte", "insert", "delete"]))
        if kind == "flip":
            message[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "byte":
            message[at] = data.draw(
                st.sampled_from([0, 1, 8, 0x0A, 0x10, 0x12, 0x1A, 0x22, 0x7F, 0x80, 0xFF])
            )
        elif kind == "insert":
            message[at:at] = data.draw(st.binary(min_size=1, max_size=11))
        elif len(message) > 1:
            del message[at]
    mutant = bytes(message)
    aggregate = decode_or_none(sign(mutant))
    if aggregate is None:
        return
    reference = messages_pb2.AggregatedRecord()
    try:
        reference.ParseFromString(mutant)
    except DecodeError as error:
        pytest.fail(f"protobuf refuses what we read: {error}")
    assert list(aggregate.partition_keys) == list(reference.partition_key_table)
    assert list(aggregate.explicit_hash_keys) == [int(key) for key in reference.explicit_hash_key_table]
    assert list(aggregate.datas) == [record.data for record in reference.records]
    assert list(aggregate.partition_key_indexes) == [
        record.partition_key_index for record in reference.records
    ]
    assert aggregate.explicit_hash_key_indexes == {
        number: record.explicit_hash_key_index
        for number, record in enumerate(reference.records)
        if record.HasField("explicit_hash_key_index")
    }
    first_tags = reference.records[0].tags if reference.records else []
    assert aggregate.tags == {tag.key: tag.value for tag in first_tags}


@settings(deadline=None, max_examples=examples(100, whole=300))
@given(message=st.binary(min_size=1, max_size=200))
def test_any_bytes_are_poison_or_an_aggregate(message: bytes) -> None:
    for data in (message, MAGIC + message, sign(message)):
        aggregate = decode_or_none(data)
        if aggregate is not None:
            list(aggregate.user_records())
