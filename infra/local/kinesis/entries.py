"""The records of a put: checked, measured, hashed.

Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html (checked 2026-11-21).
"""

import hashlib
from collections.abc import Mapping

from infra.local.kinesis.errors import KinesisError, constraint, invalid
from infra.local.kinesis.fields import blob, hash_key
from infra.local.kinesis.stream import Entry
from streamgage.limits import KINESIS_PARTITION_KEY_CHARS, KINESIS_RECORD_BYTES


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
    if len(data) > KINESIS_RECORD_BYTES:
        raise constraint(
            f"{prefix}data", f"{len(data)} bytes", f"have length less than or equal to {KINESIS_RECORD_BYTES}"
        )
    if len(data) + len(key) > KINESIS_RECORD_BYTES:
        raise invalid(
            f"{prefix}data and partition key are {len(data) + len(key)} bytes; the limit is {KINESIS_RECORD_BYTES}"
        )
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
