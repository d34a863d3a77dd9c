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
    return _encode_json(answer)


def encode_error(content_type: str, error: KinesisError) -> bytes:
    """Return the body of an error."""
    return encode(content_type, {"__type": error.code, "message": error.message})


def _encode_json(answer: dict[str, Any]) -> bytes:
    """Return *answer* as JSON. Blobs, which are always a ``Data``, are put in as bytes.

    As text, json would look through each for what to escape, four times as long as the rest takes. No other place looks
    like the null in their stead: no answer has another null, and within a JSON string each quote has a backslash.
    """
    blobs: list[bytes] = []

    def plain(value: object) -> object:
        if isinstance(value, bytes):
            blobs.append(value)
            return None
        if isinstance(value, Instant):
            return value.ms / 1000
        raise TypeError(f"{type(value).__name__} has no JSON form here")

    first, *pieces = json.dumps(answer, default=plain, separators=(",", ":")).encode().split(b'"Data":null')
    parts = [first]
    for blob, piece in zip(blobs, pieces, strict=True):
        parts += (b'"Data":"', binascii.b2a_base64(blob, newline=False), b'"', piece)
    return b"".join(parts)
