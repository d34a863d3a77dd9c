"""The KPL aggregated format: many user records in one Kinesis record. Encoder and decoder.

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
from dataclasses import dataclass
from functools import lru_cache
from hashlib import md5
from typing import Never, Protocol

from streamgage.errors import PoisonRecord
from streamgage.limits import KINESIS_HASH_KEYS
from streamgage.records import UserRecord

MAGIC = b"\xf3\x89\x9a\xc2"
DIGEST_BYTES = 16
FRAME_BYTES = len(MAGIC) + DIGEST_BYTES

# Tags of the fields: number << 3 | wire type.
_PARTITION_KEY, _EXPLICIT_HASH_KEY, _RECORD = 0x0A, 0x12, 0x1A
_PARTITION_KEY_INDEX, _EXPLICIT_HASH_KEY_INDEX, _DATA, _TAG = 0x08, 0x10, 0x1A, 0x22
_TAG_KEY, _TAG_VALUE = 0x0A, 0x12

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


def decode_aggregate(data: bytes) -> Aggregate:  # noqa: C901, PLR0912, PLR0915 (one frame: a call a record costs more)
    """Return the user records of an aggregated Kinesis record.

    Memory is bounded by a multiple of len(data). Unknown fields are skipped, and tags behind the first user record;
    both must be well formed.

    Raises:
        PoisonRecord: ``bad_kpl_framing``; the whole Kinesis record is to be quarantined.
    """
    if not is_aggregated(data):
        _poison(0, f"not an aggregated record: {len(data)} bytes that begin with {data[:4].hex(' ')}")
    end = _checked_end(data)
    datas: list[bytes] = []
    indexes: list[int] = []
    partition_keys: list[str] = []
    hash_key_indexes: dict[int, int] = {}
    hash_keys: list[int] = []
    tags: dict[str, str] = {}
    position = len(MAGIC)
    while position < end:
        tag = data[position]
        if tag == _RECORD:
            # The short way, for a record as every aggregator writes it: lengths and indexes below 2**14, fields in
            # their order, no tags. It looks at most 11 bytes ahead, and 16 of MD5 follow the message. A varint
            # that goes on makes its number 2**14 or more here, and the record goes the long way.
            length = data[position + 1]
            at = position + 2
            if length > 0x7F:
                length += (data[at] << 7) - 0x80
                at += 1
            stop = at + length
            if data[at] == _PARTITION_KEY_INDEX:
                index = data[at + 1]
                at += 2
                if index > 0x7F:
                    index += (data[at] << 7) - 0x80
                    at += 1
                hash_key_index = -1
                if data[at] == _EXPLICIT_HASH_KEY_INDEX:
                    hash_key_index = data[at + 1]
                    at += 2
                    if hash_key_index > 0x7F:
                        hash_key_index += (data[at] << 7) - 0x80
                        at += 1
                if data[at] == _DATA and length < 0x4000 and index < 0x4000 and hash_key_index < 0x4000:
                    size = data[at + 1]
                    at += 2
                    if size > 0x7F:
                        size += (data[at] << 7) - 0x80
                        at += 1
                    if at + size == stop <= end:
                        if hash_key_index >= 0:
                            hash_key_indexes[len(datas)] = hash_key_index
                        datas.append(data[at:stop])
                        indexes.append(index)
                        position = stop
                        continue
            position, stop = _length_delimited(data, position + 1, end)
            payload, index, hash_key_index = _decode_record(
                data, position, stop, tags=None if datas else tags
            )
            if hash_key_index >= 0:
                hash_key_indexes[len(datas)] = hash_key_index
            datas.append(payload)
            indexes.append(index)
            position = stop
        elif tag == _PARTITION_KEY:
            position, stop = _length_delimited(data, position + 1, end)
            partition_keys.append(_text(data, position, stop))
            position = stop
        elif tag == _EXPLICIT_HASH_KEY:
            position, stop = _length_delimited(data, position + 1, end)
            hash_keys.append(_hash_key(data, position, stop))
            position = stop
        else:
            position = _skip(data, position, end, known=3)
    _check_indexes("partition key", indexes, len(partition_keys))
    _check_indexes("explicit hash key", hash_key_indexes.values(), len(hash_keys))
    return Aggregate(datas, indexes, partition_keys, hash_key_indexes, hash_keys, tags)


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

    It refuses what ``decode_aggregate`` refuses, for the same reason.

    Raises:
        PoisonRecord: ``bad_kpl_framing``, perhaps after some user records were handed over.
    """
    end = _checked_end(data)
    partition_keys: list[bytes] = []
    indexes: list[int] = []
    hash_key_indexes: list[int] = []
    hash_keys: list[int] = []
    tags: dict[str, str] = {}
    position, is_first = len(MAGIC), True
    while position < end:
        tag = data[position]
        if tag == _RECORD:
            # What is taken has no tags. Nothing of it was looked at here: so first what is taken, then the rest.
            reached = reader.take(data, position, end)
            if reached == position:
                position, reached = _length_delimited(data, position + 1, end)
                payload, index, hash_key_index = _decode_record(
                    data, position, reached, tags=tags if is_first else None
                )
                if hash_key_index >= 0:
                    hash_key_indexes.append(hash_key_index)
                indexes.append(index)
                reader.visit(payload, index)
            position, is_first = reached, False
        elif tag == _PARTITION_KEY:
            position = _walk_partition_keys(data, position, end, partition_keys)
        elif tag == _EXPLICIT_HASH_KEY:
            position, stop = _length_delimited(data, position + 1, end)
            hash_keys.append(_hash_key(data, position, stop))
            position = stop
        else:
            position = _skip(data, position, end, known=3)
    if reader.max_index >= 0:
        indexes.append(reader.max_index)
    _check_indexes("partition key", indexes, len(partition_keys))
    _check_indexes("explicit hash key", hash_key_indexes, len(hash_keys))
    return partition_keys, tags


def _walk_partition_keys(data: bytes, position: int, end: int, keys: list[bytes]) -> int:
    """Add to *keys* those that stand one after the other at *position*; return where the last one ends."""
    first, known = position, len(keys)
    while position < end and data[position] == _PARTITION_KEY:
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
        if tag == _PARTITION_KEY_INDEX:
            index, position = _decode_varint(data, position + 1, stop)
        elif tag == _EXPLICIT_HASH_KEY_INDEX:
            hash_key_index, position = _decode_varint(data, position + 1, stop)
        elif tag == _DATA:
            at, position = _length_delimited(data, position + 1, stop)
            payload = data[at:position]
        elif tag == _TAG:
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
        if tag == _TAG_KEY:
            at, position = _length_delimited(data, position + 1, stop)
            key = _text(data, at, position)
        elif tag == _TAG_VALUE:
            at, position = _length_delimited(data, position + 1, stop)
            value = _text(data, at, position)
        else:
            position = _skip(data, position, stop, known=2)
    if key is None:
        _poison(start, "a tag without a key")
    return key, value


def _decode_varint(data: bytes, position: int, stop: int) -> tuple[int, int]:
    """Return an unsigned number of at most 64 bits, and the position behind it."""
    value = shift = 0
    start = position
    while True:
        if position >= stop:
            _poison(start, f"a varint that goes on behind its end at byte {stop}")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                _poison(start, f"a varint of {value.bit_length()} bits, above 64")
            return value, position
        shift += 7
        if shift == 70:
            _poison(start, "a varint of more than 10 bytes")


def _length_delimited(data: bytes, position: int, stop: int) -> tuple[int, int]:
    """Return where the bytes begin and end whose length is at *position*."""
    size, start = _decode_varint(data, position, stop)
    if start - position > 5:
        _poison(position, f"a length of {start - position} bytes, above 5")
    if size > stop - start:
        _poison(position, f"a field of {size} bytes where {stop - start} are left")
    return start, start + size


def _skip(data: bytes, position: int, stop: int, *, known: int) -> int:
    """Return the position behind the field at *position*, which is none of 1 to *known* as they should be."""
    start = position
    tag, position = _decode_varint(data, position, stop)
    number, wire_type = tag >> 3, tag & 7
    if not 0 < number < 2**29 or position - start > 5:
        _poison(start, f"field number {number}, outside 1 to 2**29 - 1, or in more than 5 bytes")
    if number <= known:
        _poison(start, f"field {number} has wire type {wire_type}, or a tag of more bytes than it needs")
    if wire_type == 0:
        return _decode_varint(data, position, stop)[1]
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


class AggregateBuilder:
    """An aggregated record as it grows, its size known to the byte; adding a user record is O(1).

    The bytes are those that AWS's aggregators write: tables first, records in the order they were added.
    """

    def __init__(self, tags: Mapping[str, str] | None = None) -> None:
        """Begin an aggregate; *tags* go on its first user record and count in every size."""
        self.records: list[UserRecord] = []
        self.size_bytes = FRAME_BYTES
        self._tags = b"".join(_encode_tag(key, value) for key, value in (tags or {}).items())
        self._partition_keys: dict[str, int] = {}
        self._hash_keys: dict[int, int] = {}

    @property
    def count(self) -> int:
        """The number of user records."""
        return len(self.records)

    def size_after(self, record: UserRecord) -> int:
        """Return what ``size_bytes`` would be with *record*.

        Raises:
            ValueError: its partition key is not UTF-8 (a lone surrogate), or its explicit hash key has more than
                128 bits.
        """
        grown = 0
        index = self._partition_keys.get(record.partition_key)
        if index is None:
            index = len(self._partition_keys)
            key_bytes = len(record.partition_key.encode())
            grown = 1 + _varint_bytes(key_bytes) + key_bytes
        data_bytes = len(record.data)
        record_bytes = 2 + _varint_bytes(index) + _varint_bytes(data_bytes) + data_bytes
        if record.explicit_hash_key is not None:
            hash_key_index = self._hash_keys.get(record.explicit_hash_key)
            if hash_key_index is None:
                if not 0 <= record.explicit_hash_key < KINESIS_HASH_KEYS:
                    raise ValueError(
                        f"explicit hash key {record.explicit_hash_key} is outside 0 to 2**128 - 1"
                    )
                hash_key_index = len(self._hash_keys)
                grown += 2 + len(str(record.explicit_hash_key))
            record_bytes += 1 + _varint_bytes(hash_key_index)
        if not self.records:
            record_bytes += len(self._tags)
        return self.size_bytes + grown + 1 + _varint_bytes(record_bytes) + record_bytes

    def add(self, record: UserRecord) -> None:
        """Add *record* behind the others, whatever the size then is. Raises as ``size_after`` does."""
        self._add(record, self.size_after(record))

    def add_within(self, record: UserRecord, limit_bytes: int) -> bool:
        """Add *record* and return True, unless the aggregate would be larger than *limit_bytes* then."""
        size_bytes = self.size_after(record)
        if size_bytes > limit_bytes:
            return False
        self._add(record, size_bytes)
        return True

    def _add(self, record: UserRecord, size_bytes: int) -> None:
        self._partition_keys.setdefault(record.partition_key, len(self._partition_keys))
        if record.explicit_hash_key is not None:
            self._hash_keys.setdefault(record.explicit_hash_key, len(self._hash_keys))
        self.records.append(record)
        self.size_bytes = size_bytes

    def build(self) -> bytes:
        """Return the data of the Kinesis record, ``size_bytes`` long."""
        parts = [_encode_field(_PARTITION_KEY, key.encode()) for key in self._partition_keys]
        parts += [_encode_field(_EXPLICIT_HASH_KEY, b"%d" % key) for key in self._hash_keys]
        heads = {key: b"\x08" + _encode_varint(index) for key, index in self._partition_keys.items()}
        tags = self._tags
        for record in self.records:
            head = heads[record.partition_key]
            if record.explicit_hash_key is not None:
                head += b"\x10" + _encode_varint(self._hash_keys[record.explicit_hash_key])
            data = record.data
            size = _encode_varint(len(data))
            record_bytes = len(head) + 1 + len(size) + len(data) + len(tags)
            parts += (b"\x1a", _encode_varint(record_bytes), head, b"\x1a", size, data)
            if tags:
                parts.append(tags)
                tags = b""
        message = b"".join(parts)
        return b"".join((MAGIC, message, md5(message, usedforsecurity=False).digest()))


def _varint_bytes(value: int) -> int:
    return 1 if value < 0x80 else (value.bit_length() + 6) // 7


@lru_cache(maxsize=4096)
def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _encode_field(tag: int, payload: bytes) -> bytes:
    return b"".join((bytes((tag,)), _encode_varint(len(payload)), payload))


def _encode_tag(key: str, value: str) -> bytes:
    return _encode_field(
        _TAG, _encode_field(_TAG_KEY, key.encode()) + _encode_field(_TAG_VALUE, value.encode())
    )
