"""What stands in the quarantine: a user record and what of it was refused, or where an object of many is. Both ways."""

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from streamgage.errors import POISON_CODES, PoisonCode
from streamgage.limits import KINESIS_PARTITION_KEY_CHARS, KINESIS_RECORD_BYTES, SQS_BATCH_BYTES
from streamgage.reading.poison import Poison, Refused, counted

MESSAGE_BYTES = SQS_BATCH_BYTES
# A larger payload is deflated: as base64 in JSON three bytes take four, and the rest of a message fits beside it.
_PLAIN_BYTES = 144 * 1024
_PAYLOAD_BYTES = 10 * KINESIS_RECORD_BYTES  # of a stream that opted into larger records
_REASON_CHARS = 1_000


@dataclass(frozen=True, slots=True)
class BulkRef:
    """An object of the quarantine: where it is, how many user records it holds, and how many events of each code."""

    bucket: str
    key: str
    poison: int
    codes: Mapping[str, int]


def encode_poison(poison: Poison, *, deflate: bool) -> str:
    """Return *poison* as one line of JSON, the payload as base64 under ``data``; deflated, where large and *deflate*.

    ``refused`` holds the ranges of refused events, ``[first, last, code]`` each, by their offset in the payload;
    ``reasons`` says for each code why. All other of its ``events`` were counted. It may be larger than a message.
    """
    document: dict[str, Any] = {
        "id": poison.id,
        "shard_id": poison.shard_id,
        "sequence_number": str(poison.sequence_number),
        "sub_sequence_number": poison.sub_sequence_number,
        # An inner partition key may be as long as its Kinesis record.
        "partition_key": poison.partition_key[:KINESIS_PARTITION_KEY_CHARS],
        "arrival_ms": poison.arrival_ms,
        "events": poison.events,
        "codes": dict(poison.codes),
        "reasons": {each.code: each.reason[:_REASON_CHARS] for each in reversed(poison.refused)},
        "refused": [[each.first, each.last, each.code] for each in poison.refused],
    }
    data = poison.data
    if deflate and len(data) > _PLAIN_BYTES:
        data, document["compression"] = zlib.compress(data), "zlib"
    document["data"] = b64encode(data).decode("ascii")
    return json.dumps(document)


def encode_reference(bucket: str, key: str, poison: Sequence[Poison]) -> str:
    """Return the message that says where the object of *poison* is. It has no ``data``."""
    document = {
        "id": key,
        "object": {"bucket": bucket, "key": key},
        "shard_id": poison[0].shard_id,
        "first_sequence_number": str(poison[0].sequence_number),
        "last_sequence_number": str(poison[-1].sequence_number),
        "poison": len(poison),
        "codes": dict(counted(poison)),
    }
    return json.dumps(document)


def decode_message(text: str | bytes) -> Poison | BulkRef:
    """Return what a message of the queue is. Raises: ValueError: it is none of ours, or of an older release in parts."""
    document = _parsed(text)
    if "object" not in document:
        return _poison_of(document)
    try:
        place = document["object"]
        codes = {code: int(events) for code, events in document["codes"].items()}
        return BulkRef(str(place["bucket"]), str(place["key"]), int(document["poison"]), codes)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a reference to an object: {type(error).__name__}: {error}") from error


def decode_poison(text: str | bytes) -> Poison:
    """Return the poison that a line of an object, or a message, holds. Raises: ValueError: it holds none."""
    return _poison_of(_parsed(text))


def _parsed(text: str | bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a message of the quarantine: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"not a message of the quarantine: a {type(document).__name__}")  # noqa: TRY004 - one kind
    return document


def _poison_of(document: Mapping[str, Any]) -> Poison:
    if "parts" in document:
        raise ValueError(
            f"not whole: part {document.get('part')} of {document['parts']}, of an older release"
        )
    try:
        sub = document["sub_sequence_number"]
        data = b64decode(document["data"], validate=True)
        return Poison(
            shard_id=str(document["shard_id"]),
            sequence_number=int(document["sequence_number"]),
            sub_sequence_number=None if sub is None else int(sub),
            partition_key=str(document["partition_key"]),
            arrival_ms=int(document["arrival_ms"]),
            data=_inflated(data) if document.get("compression") == "zlib" else data,
            events=int(document.get("events", 1)),
            refused=_refused_of(document),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, zlib.error) as error:
        raise ValueError(f"not a poison record: {type(error).__name__}: {error}") from error


def _refused_of(document: Mapping[str, Any]) -> tuple[Refused, ...]:
    if "refused" not in document:  # of an older release: a message an event
        return (Refused(0, 0, _code(document["code"]), str(document["reason"])),)
    events, reasons, ranges = int(document["events"]), document["reasons"], []
    last_one = -1
    for first, last, code in document["refused"]:
        if not (isinstance(first, int) and isinstance(last, int) and last_one < first <= last < events):
            raise ValueError(f"events {first!r} to {last!r} of {events}, behind {last_one}")
        ranges.append(Refused(first, last, _code(code), str(reasons[code])))
        last_one = last
    if not ranges:
        raise ValueError("nothing of it was refused")
    return tuple(ranges)


def _code(code: Any) -> PoisonCode:
    if code not in POISON_CODES:
        raise ValueError(f"{code!r} is not a code of poison")
    return cast("PoisonCode", code)


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    payload = inflater.decompress(data, _PAYLOAD_BYTES)
    if not inflater.eof:
        raise ValueError(f"cut short, or larger than a Kinesis record of {_PAYLOAD_BYTES:,} bytes")
    return payload
