"""Records of a table's stream as a function gets them: the event of Lambda.

Source: https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html (checked 2026-11-29).
"""

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Record = Mapping[str, Any]
"""A record as boto3 reads it: instants are datetimes, binary keys are bytes."""


def created_ms(record: Record) -> int:
    """Return when the change was made, to the second."""
    at: datetime = record["dynamodb"]["ApproximateCreationDateTime"]
    return int(at.timestamp()) * 1000


def encode_event(records: Sequence[Record], stream_arn: str) -> bytes:
    """Return the invocation's JSON."""
    event = {"Records": [{**each, "eventSourceARN": stream_arn} for each in records]}
    return json.dumps(event, separators=(",", ":"), default=_plain).encode("ascii")


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"a record has no {type(value).__name__}")
