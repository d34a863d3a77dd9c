"""The records of a put: checked, measured, hashed.

Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html (checked 2026-11-21).
"""

import hashlib
from collections.abc import Mapping, Sequence

from infra.local.kinesis.errors import KinesisError, constraint, invalid
from infra.local.kinesis.fields import blob, hash_key
from infra.local.kinesis.stream import Entry
from streamgage.limits import KINESIS_PARTITION_KEY_CHARS, PUT_RECORDS_LARGE_BYTES


def parse_entry(record: object, *, prefix: str) -> Entry:
    """Return the record of a put, checked.

    Raises:
        KinesisError: with *prefix* and the field's name.
    """
    if not isinstance(record, Mapping):
        raise KinesisError("SerializationException", f"{prefix} is not a structure")
    data = blob(f"{prefix}data", record.get("Data"))
    partition_key = record.get("PartitionKey")
    if not isinstance(partition_key, str):
        raise constraint(f"{prefix}partitionKey", partition_key, "not be null")
    if not 1 <= len(partition_key) <= KINESIS_PARTITION_KEY_CHARS:
        raise constraint(f"{prefix}partitionKey", partition_key, "have length between 1 and 256")
    try:
        key = partition_key.encode()
    except UnicodeEncodeError as error:
        raise KinesisError(
            "SerializationException", f"{prefix}partitionKey is not Unicode: {error}"
        ) from error
    explicit = record.get("ExplicitHashKey")
    if explicit is None:
        hashed = int.from_bytes(hashlib.md5(key, usedforsecurity=False).digest(), "big")
    elif isinstance(explicit, str):
        hashed = hash_key("ExplicitHashKey", explicit)
    else:
        raise KinesisError(
            "SerializationException", f"{prefix}explicitHashKey can not be converted to a String"
        )
    return Entry(hashed, key, data)


def check_size(entry: Entry, *, max_bytes: int, name: str, prefix: str = "") -> None:
    """Refuse a record that is larger than stream *name* takes.

    Raises:
        KinesisError: with *prefix* and the field's name.
    """
    size_bytes = len(entry.data) + len(entry.key)
    if len(entry.data) > max_bytes:
        raise constraint(
            f"{prefix}data", f"{len(entry.data)} bytes", f"have length less than or equal to {max_bytes}"
        )
    if size_bytes > max_bytes:
        raise invalid(
            f"{prefix}data and partition key are {size_bytes} bytes; the limit of stream {name} is {max_bytes}"
        )


def check_sizes(entries: Sequence[Entry], *, max_bytes: int, name: str) -> None:
    """Refuse records that are larger than their stream takes, and a request that is larger than any may be.

    Raises:
        KinesisError: with the name of the record's field, and of the stream.
    """
    sizes = [len(entry.key) + len(entry.data) for entry in entries]
    if max(sizes) > max_bytes:
        for number, entry in enumerate(entries, 1):
            check_size(entry, max_bytes=max_bytes, name=name, prefix=f"records.{number}.member.")
    if sum(sizes) > PUT_RECORDS_LARGE_BYTES:
        raise invalid(f"Records size exceeds {PUT_RECORDS_LARGE_BYTES // 2**20} MB limit")
