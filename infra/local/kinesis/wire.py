"""Bodies on the wire: JSON (boto3, the native KPL) and CBOR (the Java SDK)."""

import binascii
import json
from typing import Any

from infra.local.kinesis import cbor
from infra.local.kinesis.errors import KinesisError
from infra.local.kinesis.fields import Instant

JSON = "application/x-amz-json-1.1"
CBOR = "application/x-amz-cbor-1.1"


def decode(content_type: str, body: bytes) -> Any:
    """Return the request's values; blobs are still base64 text where the body is JSON.

    Raises:
        KinesisError: SerializationException.
    """
    try:
        if content_type == CBOR:
            return cbor.loads(body) if body else {}
        return json.loads(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise KinesisError("SerializationException", str(error)) from error


def encode(content_type: str, answer: dict[str, Any] | None) -> bytes:
    """Return the body of an answer; an action without an answer has an empty one."""
    if answer is None:
        return b""
    if content_type == CBOR:
        return cbor.dumps(answer)
    return json.dumps(answer, default=_plain, separators=(",", ":")).encode()


def encode_error(content_type: str, error: KinesisError) -> bytes:
    """Return the body of an error."""
    return encode(content_type, {"__type": error.code, "message": error.message})


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return binascii.b2a_base64(value, newline=False).decode("ascii")
    if isinstance(value, Instant):
        return value.ms / 1000
    raise TypeError(f"{type(value).__name__} has no JSON form here")
