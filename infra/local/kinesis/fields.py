"""Reading a request's fields: types and constraints of the service model, with AWS's codes when they are broken.

A wrong JSON type is a SerializationException, a broken constraint a ValidationException.
Source: the constraints are those of botocore's kinesis/2013-12-02 service model.
"""

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.kinesis.errors import KinesisError, constraint, invalid, not_found
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.stream import Stream
from streamgage.limits import KINESIS_HASH_KEYS

NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
SEQUENCE_NUMBER = re.compile(r"0|([1-9]\d{0,128})", re.ASCII)
_HASH_KEY = re.compile(r"0|([1-9]\d{0,38})", re.ASCII)
_ARN = re.compile(r"arn:aws[-a-z]*:kinesis:([^:]*):(\d{12}):stream/([a-zA-Z0-9_.-]{1,128})", re.ASCII)
_SHARD_ID = re.compile(r"(?:shardId-)?(\d{1,12})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Instant:
    """A time on the wire: fractional seconds in JSON, tagged milliseconds in CBOR."""

    ms: int


def blob(field: str, value: object) -> bytes:
    """Return a blob: bytes from CBOR, base64 text from JSON.

    Raises:
        KinesisError: it is neither.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return binascii.a2b_base64(value, strict_mode=True)
        except ValueError as error:
            raise KinesisError("SerializationException", f"{field} is not base64: {error}") from error
    if value is None:
        raise constraint(field, None, "not be null")
    raise KinesisError("SerializationException", f"{field} can not be converted to a Blob")


def hash_key(field: str, value: str) -> int:
    """Return an explicit hash key.

    Raises:
        KinesisError: it is not a number from 0 to 2**128 - 1.
    """
    if not _HASH_KEY.fullmatch(value):
        raise constraint(field, value, "satisfy regular expression pattern: 0|([1-9]\\d{0,38})")
    number = int(value)
    if number >= KINESIS_HASH_KEYS:
        raise invalid(
            f"Invalid {field}. {field} must be in the range: [0, 2^128-1]. Specified value was {value}"
        )
    return number


class Fields:
    """The top-level fields of one request."""

    def __init__(self, request: object) -> None:
        if not isinstance(request, Mapping):
            raise KinesisError("SerializationException", "the request is not a structure")
        self._request: Mapping[str, Any] = request

    @property
    def all(self) -> Mapping[str, Any]:
        """All fields as they came."""
        return self._request

    def get(self, field: str) -> Any:
        """Return a field as it came, or None."""
        return self._request.get(field)

    def optional_text(self, field: str, *, pattern: re.Pattern[str] | None = None) -> str | None:
        """Return a text, or None where it is absent."""
        value = self._request.get(field)
        if value is None:
            return None
        if not isinstance(value, str):
            raise KinesisError("SerializationException", f"{field} can not be converted to a String")
        if not value:
            raise constraint(field, value, "have length greater than or equal to 1")
        if pattern is not None and not pattern.fullmatch(value):
            raise constraint(field, value, f"satisfy regular expression pattern: {pattern.pattern}")
        return value

    def text(self, field: str, *, pattern: re.Pattern[str] | None = None) -> str:
        """Return a text that must be there."""
        value = self.optional_text(field, pattern=pattern)
        if value is None:
            raise constraint(field, None, "not be null")
        return value

    def optional_integer(self, field: str, *, least: int = 1, most: int = 2**31 - 1) -> int | None:
        """Return a whole number within ``[least, most]``, or None where it is absent."""
        value = self._request.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise KinesisError("SerializationException", f"{field} can not be converted to an Integer")
        if value < least:
            raise constraint(field, value, f"have value greater than or equal to {least}")
        if value > most:
            raise constraint(field, value, f"have value less than or equal to {most}")
        return value

    def integer(self, field: str, *, least: int = 1, most: int = 2**31 - 1) -> int:
        """Return a whole number that must be there."""
        value = self.optional_integer(field, least=least, most=most)
        if value is None:
            raise constraint(field, None, "not be null")
        return value

    def optional_instant_ms(self, field: str) -> int | None:
        """Return a time in ms since the epoch, or None where it is absent."""
        value = self._request.get(field)
        if value is None:
            return None
        if isinstance(value, Instant):
            return value.ms
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15:
            raise KinesisError(
                "SerializationException", f"{field} can not be converted to milliseconds since epoch"
            )
        return round(value * 1000)

    def mapping(self, field: str) -> dict[str, str]:
        """Return a map of texts, empty where it is absent."""
        value = self._request.get(field)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(
            isinstance(k, str) and isinstance(v, str) for k, v in value.items()
        ):
            raise KinesisError("SerializationException", f"{field} can not be converted to a Map of Strings")
        return dict(value)

    def texts(self, field: str) -> list[str]:
        """Return a list of texts that must be there."""
        value = self._request.get(field)
        if value is None:
            raise constraint(field, None, "not be null")
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise KinesisError("SerializationException", f"{field} can not be converted to a List of Strings")
        return value

    def choice(self, field: str, options: tuple[str, ...]) -> str:
        """Return one of *options*."""
        value = self.text(field)
        if value not in options:
            raise constraint(field, value, f"satisfy enum value set: [{', '.join(options)}]")
        return value

    def stream(self, model: KinesisModel) -> Stream:
        """Return the stream that StreamName or StreamARN names.

        Raises:
            KinesisError: neither is given, they differ, or there is no such stream.
        """
        name = self.optional_text("StreamName", pattern=NAME)
        arn = self.optional_text("StreamARN")
        if arn is not None:
            named = arn_name(model, arn)
            if name not in (None, named):
                raise invalid(f"StreamName {name} and StreamARN {arn} name different streams.")
            name = named
        if name is None:
            raise invalid("Either StreamARN or StreamName must be provided.")
        return model.find(name)


def arn_name(model: KinesisModel, arn: str) -> str:
    """Return the stream name within an ARN.

    Raises:
        KinesisError: it is not the ARN of a stream, or of another account or region.
    """
    match = _ARN.fullmatch(arn)
    if match is None:
        raise constraint(
            "StreamARN", arn, "satisfy regular expression pattern: arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+"
        )
    if match.group(1, 2) != (model.settings.region, model.settings.account):
        raise not_found(f"{arn} is not of account {model.settings.account} in {model.settings.region}.")
    return match.group(3)


def shard_index(stream: Stream, shard_id: str, *, account: str) -> int:
    """Return the index of a shard that the stream has.

    Raises:
        KinesisError: ResourceNotFoundException.
    """
    match = _SHARD_ID.fullmatch(shard_id)
    index = int(match.group(1)) if match else -1
    if all(shard.index != index for shard in stream.shards()):
        raise not_found(
            f"Could not find shard {shard_id} in stream {stream.state.name} under account {account}."
        )
    return index
