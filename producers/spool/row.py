"""A spooled record as bytes that tell by themselves what they are: found again in any page of a damaged file.

::

    row   = f5 's' 'g' 'R' | crc32 | id: 8 | priority: 1, signed | kept_ms: 8 | events: 4 | key bytes: 2 | has hash key: 1
            | data bytes: 4 | key | hash key: 16, if it has one | data
    state = f5 's' 'g' 'S' | crc32 | epoch: 4 | records: 8 | sum of ids: 8 | dropped records: 8 | dropped events: 8 | damaged: 8

Numbers are big-endian; a CRC-32 is over all behind it. Of a state there is one, of a row one a record.
"""

import struct
import zlib
from dataclasses import dataclass

from streamgage.limits import KINESIS_RECORD_BYTES
from streamgage.records import SealedRecord

ROW_MAGIC, STATE_MAGIC = b"\xf5sgR", b"\xf5sgS"
PRIORITIES = range(-128, 128)
_HEAD = struct.Struct(">4sIQbQIHBI")
_STATE = struct.Struct(">4sIIQQQQQ")
_HASH_KEY_BYTES = 16
_ID_SUM = 2**64
_CRC_AT, _BEHIND_CRC = 4, 8

HEAD_BYTES, STATE_BYTES = _HEAD.size, _STATE.size


@dataclass(frozen=True, slots=True)
class Spooled:
    """A record in a spool. A higher *priority* goes first; of one priority, the lower *id*."""

    id: int
    priority: int
    record: SealedRecord


@dataclass(frozen=True, slots=True)
class State:
    """What a spool holds and has lost, as its last transaction left it. ``epoch`` counts how often it was opened."""

    epoch: int = 0
    records: int = 0
    id_sum: int = 0
    dropped_records: int = 0
    dropped_events: int = 0
    damaged: int = 0

    def encode(self) -> bytes:
        """Return it as bytes."""
        content = _STATE.pack(
            STATE_MAGIC,
            0,
            self.epoch,
            self.records,
            self.id_sum % _ID_SUM,
            self.dropped_records,
            self.dropped_events,
            self.damaged,
        )
        return _with_crc(content)

    def agrees(self, records: int, id_sum: int) -> bool:
        """Tell whether so many records whose ids have this sum are those it speaks of."""
        return records == self.records and id_sum % _ID_SUM == self.id_sum


def encode_row(spooled: Spooled) -> bytes:
    """Return a record as a row; it must say since when it is kept.

    Raises: ValueError, it is none that a stream could take.
    """
    record = spooled.record
    key = record.partition_key.encode()
    hash_key = record.explicit_hash_key
    if len(record.data) > KINESIS_RECORD_BYTES or record.kept_ms is None:
        raise ValueError(
            f"{len(record.data)} bytes kept since {record.kept_ms}: the limit is {KINESIS_RECORD_BYTES}"
        )
    try:
        head = _HEAD.pack(
            ROW_MAGIC,
            0,
            spooled.id,
            spooled.priority,
            record.kept_ms,
            record.events,
            len(key),
            hash_key is not None,
            len(record.data),
        )
        tail = b"" if hash_key is None else hash_key.to_bytes(_HASH_KEY_BYTES, "big")
    except (struct.error, OverflowError) as error:
        raise ValueError(
            f"partition key {record.partition_key!r:.80}, {record.events} events: {error}"
        ) from error
    return _with_crc(b"".join((head, key, tail, record.data)))


def row_bytes(head: bytes) -> int | None:
    """Return how long the row is that begins with *head*, HEAD_BYTES of it; None where that cannot be."""
    magic, *_, key_bytes, has_hash_key, data_bytes = _HEAD.unpack(head)
    if magic != ROW_MAGIC or has_hash_key > 1 or data_bytes > KINESIS_RECORD_BYTES:
        return None
    size: int = HEAD_BYTES + key_bytes + has_hash_key * _HASH_KEY_BYTES + data_bytes
    return size


def decode_row(body: bytes) -> Spooled:
    """Return the record in a row. Raises: ValueError, it is damaged."""
    if len(body) < HEAD_BYTES or row_bytes(body[:HEAD_BYTES]) != len(body):
        raise ValueError("it is no row, or was cut short")
    _, crc, row_id, priority, kept_ms, events, key_bytes, has_hash_key, _ = _HEAD.unpack_from(body)
    if zlib.crc32(memoryview(body)[_BEHIND_CRC:]) != crc:
        raise ValueError("its CRC-32 differs")
    at = HEAD_BYTES + key_bytes
    hash_key = int.from_bytes(body[at : at + _HASH_KEY_BYTES], "big") if has_hash_key else None
    data = body[at + has_hash_key * _HASH_KEY_BYTES :]
    key = body[HEAD_BYTES:at].decode()
    return Spooled(row_id, priority, SealedRecord(key, data, hash_key, events, kept_ms=kept_ms))


def decode_state(content: bytes) -> State:
    """Return a state. Raises: ValueError, it is damaged."""
    if len(content) != STATE_BYTES or not content.startswith(STATE_MAGIC):
        raise ValueError("it is no state of a spool")
    _, crc, *fields = _STATE.unpack(content)
    if zlib.crc32(content[_BEHIND_CRC:]) != crc:
        raise ValueError("the CRC-32 of its state differs")
    return State(*fields)


def _with_crc(content: bytes) -> bytes:
    crc = zlib.crc32(memoryview(content)[_BEHIND_CRC:])
    return b"".join((content[:_CRC_AT], crc.to_bytes(4, "big"), content[_BEHIND_CRC:]))
