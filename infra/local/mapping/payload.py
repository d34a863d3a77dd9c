"""How long the JSON of an invocation is, and the JSON itself.

The formula is exact for :func:`encode_payload`, with ``n`` records of ``data_i`` bytes::

    payload_bytes = len('{"Records":[]}') + sum(record_bytes_i) + (n - 1)
    record_bytes  = constant of the stream ARN
                  + len(JSON string of the partition key) + 2 * digits(sequence number) + len(shard id)
                  + 4 * ceil(data / 3) + len(JSON number of arrival_ms / 1000)

Lambda's own JSON may differ by its spacing; the limit it has to keep is the same.
"""

import json
from binascii import b2a_base64
from collections.abc import Sequence
from functools import cache

from streamgage.formats.kinesis_event import encode_event
from streamgage.records import StreamRecord

ENVELOPE_BYTES = len('{"Records":[]}')


def encode_payload(records: Sequence[StreamRecord], *, stream_arn: str) -> bytes:
    """Return the invocation's JSON: the event of *records*, without spaces, in ASCII.

    The data, nearly all of it, is put in as bytes: as text, json would look through it for what to escape, four times as
    long as the rest takes. No other place looks like an empty one: within a JSON string each quote has a backslash.
    """
    event = encode_event(records, stream_arn=stream_arn, encode_data=lambda _: "")
    first, *pieces = json.dumps(event, separators=(",", ":")).encode("ascii").split(b'"data":""')
    parts = [first]
    for record, piece in zip(records, pieces, strict=True):
        parts += (b'"data":"', b2a_base64(record.data, newline=False), b'"', piece)
    return b"".join(parts)


def record_bytes(record: StreamRecord, *, stream_arn: str) -> int:
    """Return the bytes that *record* adds to a payload, without the comma between records."""
    key = record.partition_key
    plain = key.isascii() and key.isprintable() and '"' not in key and "\\" not in key
    return (
        _constant_bytes(stream_arn)
        + (len(key) if plain else len(json.dumps(key)) - 2)
        + 2 * len(str(record.sequence_number))
        + len(record.shard_id)
        + (len(record.data) + 2) // 3 * 4
        + len(repr(record.arrival_ms / 1000))
    )


@cache
def _constant_bytes(stream_arn: str) -> int:
    empty = StreamRecord(shard_id="", sequence_number=0, partition_key="", data=b"", arrival_ms=0)
    variable = 2 * len("0") + len("0.0")
    return len(encode_payload([empty], stream_arn=stream_arn)) - ENVELOPE_BYTES - variable
