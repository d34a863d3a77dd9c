"""The KPL aggregated format: many user records in one Kinesis record. The decoder; ``kpl_builder`` writes it.

::

    F3 89 9A C2 | protobuf AggregatedRecord | MD5 of the protobuf bytes

    AggregatedRecord { repeated string partition_key_table = 1; repeated string explicit_hash_key_table = 2;
                       repeated Record records = 3; }
    Record { required uint64 partition_key_index = 1; optional uint64 explicit_hash_key_index = 2;
             required bytes data = 3; repeated Tag tags = 4; }
    Tag { required string key = 1; optional string value = 2; }

Both are written by hand: the decoder is the hot path of a function, where it costs half of what the protobuf
library does, and needs no dependency there.

The decoder is strict. AWS's deaggregators hand on a record whose MD5 or protobuf is broken as if it were a plain
one, and drop user records whose key index points nowhere; here each of these is a poison record.

Source: https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md and
https://protobuf.dev/programming-guides/encoding/ (checked 2026-11-21).
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import md5
from typing import Never, Protocol

from streamgage.errors import PoisonRecord
from streamgage.formats.varint import decode_varint
from streamgage.limits import KINESIS_HASH_KEYS
from streamgage.records import UserRecord

MAGIC = b"\xf3\x89\x9a\xc2"
DIGEST_BYTES = 16
FRAME_BYTES = len(MAGIC) + DIGEST_BYTES

# Tags of the fields: number << 3 | wire type.
PARTITION_KEY, EXPLICIT_HASH_KEY, RECORD = 0x0A, 0x12, 0x1A
PARTITION_KEY_INDEX, EXPLICIT_HASH_KEY_INDEX, DATA, TAG = 0x08, 0x10, 0x1A, 0x22
TAG_KEY, TAG_VALUE = 0x0A, 0x12

# Partition keys that are looked at together: joining them takes 80 bytes a key for a moment.
_KEYS_AT_ONCE = 1024

# The pattern of a HashKey in the Kinesis API.
_HASH_KEY = re.compile(r"0|[1-9][0-9]{0,38}")


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The user records of one Kinesis record, as columns: the n-th of each is the n-th user record's.

    ``datas[n]`` has the partition key ``partition_keys[partition_key_indexes[n]]`` and, where n is in
    ``explicit_hash_key_indexes``, the explicit hash key ``explicit_hash_keys[explicit_hash_key_indexes[n]]``.
    ``tags`` are those of the first user record. Every index is valid.
    """

    datas: Sequence[bytes]
    partition_key_indexes: Sequence[int]
    partition_keys: Sequence[str]
    explicit_hash_key_indexes: Mapping[int, int]
    explicit_hash_keys: Sequence[int]
    tags: Mapping[str, str]

    def user_records(self) -> Iterator[UserRecord]:
        """Yield the user records in their order: the n-th has the sub-sequence number n."""
        for number, (data, index) in enumerate(zip(self.datas, self.partition_key_indexes, strict=True)):
            hash_key_index = self.explicit_hash_key_indexes.get(number)
            hash_key = None if hash_key_index is None else self.explicit_hash_keys[hash_key_index]
            yield UserRecord(self.partition_keys[index], data, hash_key)


def is_aggregated(data: bytes) -> bool:
    """Tell whether the data of a Kinesis record claims to be an aggregate: the magic, and room for a message.

    What begins with the magic and is too short for a message is plain, as it is to AWS's deaggregators.
    """
    return len(data) > FRAME_BYTES and data.startswith(MAGIC)


class UserRecordReader(Protocol):
    """What ``walk_aggregate`` hands an aggregate's user records to, in their order."""

    @property
    def max_index(self) -> int:
        """The largest partition key index of what ``take`` read of this aggregate; -1 where it read nothing."""

    def take(self, data: bytes, position: int, stop: int) -> int:
        """Read as many `Record` fields from *position* on as it likes, each well formed, and with no tags.

        Returns:
            Where it stopped: *stop*, or the first byte that it leaves.
        """

    def visit(self, data: bytes, partition_key_index: int) -> None:
        """Read one user record that ``take`` left."""


def walk_aggregate(data: bytes, reader: UserRecordReader) -> tuple[list[bytes], dict[str, str]]:
    """Hand the user records of *data*, for which is_aggregated holds, to *reader*; return partition keys and tags.

    The partition keys are valid UTF-8, and stay bytes: who reads rows needs a few of thousands, or none.

    Raises:
        PoisonRecord: ``bad_kpl_framing``, perhaps after some user records were handed over.
    """
    tables = _walk(data, reader)
    return tables.partition_keys, tables.tags


def decode_aggregate(data: bytes) -> Aggregate:
    """Return the user records of an aggregated Kinesis record: for the quarantine, and for whoever wants all of them.

    Memory is bounded by a multiple of len(data). Unknown fields are skipped, and tags behind the first user record;
    both must be well formed.

    Raises:
        PoisonRecord: ``bad_kpl_framing``; the whole Kinesis record is to be quarantined.
    """
    if not is_aggregated(data):
        _poison(0, f"not an aggregated record: {len(data)} bytes that begin with {data[:4].hex(' ')}")
    records = _Collected()
    tables = _walk(data, records)
    keys, texts = tables.partition_keys, list[str]()
    keys.reverse()
    while keys:  # each is let go as its text is made: hostile tables are as large as the record
        texts.append(keys.pop().decode())
    return Aggregate(
        records.datas,
        records.partition_key_indexes,
        texts,
        tables.explicit_hash_key_indexes,
        tables.explicit_hash_keys,
        tables.tags,
    )


@dataclass(slots=True)
class _Tables:
    """What stands beside the user records. An explicit hash key index has the number of its user record among those visited."""

    partition_keys: list[bytes] = field(default_factory=list)
    explicit_hash_keys: list[int] = field(default_factory=list)
    explicit_hash_key_indexes: dict[int, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class _Collected:
    """A reader that keeps every user record as it is."""

    max_index = -1  # take reads nothing

    def __init__(self) -> None:
        self.datas: list[bytes] = []
        self.partition_key_indexes: list[int] = []

    def take(self, _data: bytes, position: int, _stop: int) -> int:
        return position

    def visit(self, data: bytes, partition_key_index: int) -> None:
        self.datas.append(data)
        self.partition_key_indexes.append(partition_key_index)


def _walk(data: bytes, reader: UserRecordReader) -> _Tables:
    end, tables = _checked_end(data), _Tables()
    indexes: list[int] = []
    position, is_first = len(MAGIC), True
    while position < end:
        tag = data[position]
        if tag == RECORD:
            # What is taken has no tags. Nothing of it was looked at here: so first what is taken, then the rest.
            reached = reader.take(data, position, end)
            if reached == position:
                position, reached = _length_delimited(data, position + 1, end)
                payload, index, hash_key_index = _decode_record(
                    data, position, reached, tags=tables.tags if is_first else None
                )
                if hash_key_index >= 0:
                    tables.explicit_hash_key_indexes[len(indexes)] = hash_key_index
                indexes.append(index)
                reader.visit(payload, index)
            position, is_first = reached, False
        elif tag == PARTITION_KEY:
            position = _walk_partition_keys(data, position, end, tables.partition_keys)
        elif tag == EXPLICIT_HASH_KEY:
            position, stop = _length_delimited(data, position + 1, end)
            tables.explicit_hash_keys.append(_hash_key(data, position, stop))
            position = stop
        else:
            position = _skip(data, position, end, known=3)
    if reader.max_index >= 0:
        indexes.append(reader.max_index)
    _check_indexes("partition key", indexes, len(tables.partition_keys))
    _check_indexes(
        "explicit hash key", tables.explicit_hash_key_indexes.values(), len(tables.explicit_hash_keys)
    )
    return tables


def _walk_partition_keys(data: bytes, position: int, end: int, keys: list[bytes]) -> int:
    """Add to *keys* those that stand one after the other at *position*; return where the last one ends."""
    first, known = position, len(keys)
    most = known + _KEYS_AT_ONCE
    while position < end and data[position] == PARTITION_KEY and len(keys) < most:
        stop = position + 2 + data[position + 1]
        if data[position + 1] > 0x7F or stop > end:  # a long one, or a broken one
            break
        keys.append(data[position + 2 : stop])
        position = stop
    try:
        b"\n".join(
            keys[known:]
        ).decode()  # all at once: a character cut short is not made whole by a line feed
    except UnicodeDecodeError:
        while first < position:
            stop = first + 2 + data[first + 1]
            _text(data, first + 2, stop)
            first = stop
    if position == first:
        start, position = _length_delimited(data, position + 1, end)
        _text(data, start, position)
        keys.append(data[start:position])
    return position


def _checked_end(data: bytes) -> int:
    """Return where the message in *data* ends. Raises: PoisonRecord, where its MD5 is another."""
    end = len(data) - DIGEST_BYTES
    digest = md5(memoryview(data)[len(MAGIC) : end], usedforsecurity=False).digest()
    if digest != data[end:]:
        _poison(end, f"MD5 is {data[end:].hex()}, of the message it is {digest.hex()}")
    return end


def _decode_record(
    data: bytes, position: int, stop: int, *, tags: dict[str, str] | None
) -> tuple[bytes, int, int]:
    """Return data, partition key index and explicit hash key index (-1: none) of a Record; fill *tags* if given."""
    start = position
    payload: bytes | None = None
    index = hash_key_index = -1
    while position < stop:
        tag = data[position]
        if tag == PARTITION_KEY_INDEX:
            index, position = _varint(data, position + 1, stop)
        elif tag == EXPLICIT_HASH_KEY_INDEX:
            hash_key_index, position = _varint(data, position + 1, stop)
        elif tag == DATA:
            at, position = _length_delimited(data, position + 1, stop)
            payload = data[at:position]
        elif tag == TAG:
            at, position = _length_delimited(data, position + 1, stop)
            key, value = _decode_tag(data, at, position)
            if tags is not None:
                tags[key] = value
        else:
            position = _skip(data, position, stop, known=4)
    if index < 0:
        _poison(start, "a user record without a partition key index")
    if payload is None:
        _poison(start, "a user record without data")
    return payload, index, hash_key_index


def _decode_tag(data: bytes, position: int, stop: int) -> tuple[str, str]:
    start = position
    key, value = None, ""
    while position < stop:
        tag = data[position]
        if tag == TAG_KEY:
            at, position = _length_delimited(data, position + 1, stop)
            key = _text(data, at, position)
        elif tag == TAG_VALUE:
            at, position = _length_delimited(data, position + 1, stop)
            value = _text(data, at, position)
        else:
            position = _skip(data, position, stop, known=2)
    if key is None:
        _poison(start, "a tag without a key")
    return key, value


def _varint(data: bytes, position: int, stop: int) -> tuple[int, int]:
    """Return an unsigned number of at most 64 bits, and the position behind it."""
    if position < stop and data[position] < 0x80:  # most are
        return data[position], position + 1
    try:
        return decode_varint(data, position, stop)
    except ValueError as error:
        _poison(position, str(error))


def _length_delimited(data: bytes, position: int, stop: int) -> tuple[int, int]:
    """Return where the bytes begin and end whose length is at *position*."""
    size, start = _varint(data, position, stop)
    if start - position > 5:
        _poison(position, f"a length of {start - position} bytes, above 5")
    if size > stop - start:
        _poison(position, f"a field of {size} bytes where {stop - start} are left")
    return start, start + size


def _skip(data: bytes, position: int, stop: int, *, known: int) -> int:
    """Return the position behind the field at *position*, which is none of 1 to *known* as they should be."""
    start = position
    tag, position = _varint(data, position, stop)
    number, wire_type = tag >> 3, tag & 7
    if not 0 < number < 2**29 or position - start > 5:
        _poison(start, f"field number {number}, outside 1 to 2**29 - 1, or in more than 5 bytes")
    if number <= known:
        _poison(start, f"field {number} has wire type {wire_type}, or a tag of more bytes than it needs")
    if wire_type == 0:
        return _varint(data, position, stop)[1]
    if wire_type == 2:
        return _length_delimited(data, position, stop)[1]
    if wire_type not in (1, 5):
        _poison(start, f"unknown field {number} has wire type {wire_type}, not 0, 1, 2 or 5")
    position += 8 if wire_type == 1 else 4
    if position > stop:
        _poison(start, f"unknown field {number} goes on behind its end at byte {stop}")
    return position


def _text(data: bytes, start: int, stop: int) -> str:
    try:
        return data[start:stop].decode()
    except UnicodeDecodeError as error:
        _poison(start + error.start, f"not UTF-8: {error.reason}")


def _hash_key(data: bytes, start: int, stop: int) -> int:
    text = _text(data, start, stop)
    if not _HASH_KEY.fullmatch(text) or (hash_key := int(text)) >= KINESIS_HASH_KEYS:
        _poison(start, f"explicit hash key {text[:50]!r} is not a decimal from 0 to 2**128 - 1")
    return hash_key


def _check_indexes(table: str, indexes: Collection[int], entries: int) -> None:
    if indexes and (index := max(indexes)) >= entries:
        _poison(len(MAGIC), f"{table} index {index} in a table of {entries}")


def _poison(offset: int, reason: str) -> Never:
    raise PoisonRecord("bad_kpl_framing", f"at byte {offset}: {reason}")
