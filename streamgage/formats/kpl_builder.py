"""The KPL aggregated format, written: an aggregate as it grows. The format, and its decoder: ``streamgage.formats.kpl``."""

from collections.abc import Mapping
from hashlib import md5

from streamgage.formats.kpl import (
    EXPLICIT_HASH_KEY,
    FRAME_BYTES,
    MAGIC,
    PARTITION_KEY,
    TAG,
    TAG_KEY,
    TAG_VALUE,
)
from streamgage.formats.varint import encode_varint, varint_bytes
from streamgage.limits import KINESIS_HASH_KEYS
from streamgage.records import UserRecord


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
            grown = 1 + varint_bytes(key_bytes) + key_bytes
        data_bytes = len(record.data)
        record_bytes = 2 + varint_bytes(index) + varint_bytes(data_bytes) + data_bytes
        if record.explicit_hash_key is not None:
            hash_key_index = self._hash_keys.get(record.explicit_hash_key)
            if hash_key_index is None:
                if not 0 <= record.explicit_hash_key < KINESIS_HASH_KEYS:
                    raise ValueError(
                        f"explicit hash key {record.explicit_hash_key} is outside 0 to 2**128 - 1"
                    )
                hash_key_index = len(self._hash_keys)
                grown += 2 + len(str(record.explicit_hash_key))
            record_bytes += 1 + varint_bytes(hash_key_index)
        if not self.records:
            record_bytes += len(self._tags)
        return self.size_bytes + grown + 1 + varint_bytes(record_bytes) + record_bytes

    def add(self, record: UserRecord) -> None:
        """Add *record* behind the others, whatever the size then is. Raises as ``size_after`` does."""
        self._add(record, self.size_after(record))

    def add_within(self, record: UserRecord, limit_bytes: int) -> bool:
        """Add *record* and return True, unless the aggregate would be larger than *limit_bytes* then."""
        index = self._partition_keys.get(record.partition_key)
        if index is None or record.explicit_hash_key is not None or not self.records:
            size_bytes = self.size_after(record)
            if size_bytes > limit_bytes:
                return False
            self._add(record, size_bytes)
            return True
        # The same, of what nearly every user record is.
        data_bytes = len(record.data)
        record_bytes = 2 + varint_bytes(index) + varint_bytes(data_bytes) + data_bytes
        size_bytes = self.size_bytes + 1 + varint_bytes(record_bytes) + record_bytes
        if size_bytes > limit_bytes:
            return False
        self.size_bytes = size_bytes
        self.records.append(record)
        return True

    def _add(self, record: UserRecord, size_bytes: int) -> None:
        self._partition_keys.setdefault(record.partition_key, len(self._partition_keys))
        if record.explicit_hash_key is not None:
            self._hash_keys.setdefault(record.explicit_hash_key, len(self._hash_keys))
        self.size_bytes = size_bytes
        self.records.append(
            record
        )  # last: an interrupt before it leaves a size that is too large, and no more

    def build(self) -> bytes:
        """Return the data of the Kinesis record, ``size_bytes`` long."""
        parts = [_encode_field(PARTITION_KEY, key.encode()) for key in self._partition_keys]
        parts += [_encode_field(EXPLICIT_HASH_KEY, b"%d" % key) for key in self._hash_keys]
        heads = {key: b"\x08" + encode_varint(index) for key, index in self._partition_keys.items()}
        tags = self._tags
        for record in self.records:
            head = heads[record.partition_key]
            if record.explicit_hash_key is not None:
                head += b"\x10" + encode_varint(self._hash_keys[record.explicit_hash_key])
            data = record.data
            size = encode_varint(len(data))
            record_bytes = len(head) + 1 + len(size) + len(data) + len(tags)
            parts += (b"\x1a", encode_varint(record_bytes), head, b"\x1a", size, data)
            if tags:
                parts.append(tags)
                tags = b""
        message = b"".join(parts)
        return b"".join((MAGIC, message, md5(message, usedforsecurity=False).digest()))


def _encode_field(tag: int, payload: bytes) -> bytes:
    return b"".join((bytes((tag,)), encode_varint(len(payload)), payload))


def _encode_tag(key: str, value: str) -> bytes:
    return _encode_field(TAG, _encode_field(TAG_KEY, key.encode()) + _encode_field(TAG_VALUE, value.encode()))
