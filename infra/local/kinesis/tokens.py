"""Opaque tokens: shard iterators and NextTokens. Base64 of JSON and its CRC; they survive a restart."""

import binascii
import json
import zlib
from dataclasses import asdict, dataclass
from email.utils import formatdate
from typing import Any

from infra.local.kinesis.errors import KinesisError, invalid

NEXT_TOKEN_LIFE_MS = 300_000


@dataclass(frozen=True, slots=True)
class Position:
    """A shard iterator: the next record is the first of the shard with at least this counter.

    ``serial`` makes no two alike, as recorded on AWS: also where nothing was read between them.
    """

    stream: str
    number: int
    shard: int
    counter: int
    issued_ms: int
    serial: int = 0


@dataclass(frozen=True, slots=True)
class ListPosition:
    """A NextToken of ListShards: shards after this index, of the same stream, under the same filter."""

    stream: str
    number: int
    after: int
    filter: dict[str, Any]
    issued_ms: int


def encode(token: Position | ListPosition) -> str:
    """Return the token's text."""
    body = json.dumps(asdict(token), separators=(",", ":")).encode()
    return binascii.b2a_base64(zlib.crc32(body).to_bytes(4, "big") + body, newline=False).decode("ascii")


def decode_position(text: str, *, now_ms: int, life_ms: int) -> Position:
    """Return what a shard iterator says.

    Raises:
        KinesisError: InvalidArgumentException, ExpiredIteratorException.
    """
    try:
        token = Position(**_open(text))
    except (ValueError, TypeError) as error:
        raise invalid("Invalid ShardIterator.") from error
    if now_ms - token.issued_ms > life_ms:
        raise KinesisError(
            "ExpiredIteratorException",
            f"Iterator expired. The iterator was created at time {formatdate(token.issued_ms / 1000)} while right "
            f"now it is {formatdate(now_ms / 1000)} which is further in the future than the tolerated delay of "
            f"{life_ms} milliseconds.",
        )
    return token


def decode_list_position(text: str, *, now_ms: int) -> ListPosition:
    """Return what a NextToken says.

    Raises:
        KinesisError: InvalidArgumentException, ExpiredNextTokenException.
    """
    try:
        token = ListPosition(**_open(text))
    except (ValueError, TypeError) as error:
        raise invalid("Invalid NextToken.") from error
    if now_ms - token.issued_ms > NEXT_TOKEN_LIFE_MS:
        raise KinesisError(
            "ExpiredNextTokenException", "The NextToken has expired: it is valid for 300 seconds."
        )
    return token


def _open(text: str) -> dict[str, Any]:
    sealed = binascii.a2b_base64(text, strict_mode=True)
    if len(sealed) < 4 or zlib.crc32(sealed[4:]) != int.from_bytes(sealed[:4], "big"):
        raise ValueError("damaged token")
    opened = json.loads(sealed[4:])
    if not isinstance(opened, dict):
        raise TypeError("not a token")
    return opened
