"""The quarantine: what cannot be counted is kept, with its payload, its place and the reason."""

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from processors.deadline import Deadline
from streamgage.errors import RetryableError
from streamgage.limits import (
    KINESIS_PARTITION_KEY_CHARS,
    KINESIS_RECORD_BYTES,
    SQS_BATCH_BYTES,
    SQS_BATCH_ENTRIES,
)
from streamgage.reading.poison import Poison

# A payload travels as base64 in JSON: three bytes take four, and the rest of a message fits into what remains.
_PART_BYTES = 144 * 1024
_PAYLOAD_BYTES = 10 * KINESIS_RECORD_BYTES  # of a stream that opted into larger records
_ATTEMPTS = 4


class Quarantine(Protocol):
    """Where poison goes."""

    def send(self, poison: Sequence[Poison], *, deadline: Deadline) -> None:
        """Keep each of *poison*; a redelivered batch sends it again.

        Raises:
            RetryableError: some of it may not be kept.
        """


class SqsQuarantine:
    """A quarantine in an SQS queue. *client* is a boto3 SQS client."""

    def __init__(self, client: Any, queue_url: str) -> None:
        self._client, self._queue_url = client, queue_url

    def send(self, poison: Sequence[Poison], *, deadline: Deadline) -> None:  # noqa: ARG002 - boto3 knows none
        """Send each of *poison* as one message, or as several parts where it is larger than a message."""
        for batch in message_batches(message for each in poison for message in encode_poison(each)):
            self._send_batch(batch)

    def _send_batch(self, messages: list[str]) -> None:
        # Here and not above: the function with the lean client imports this module, and must not load botocore.
        from botocore.exceptions import (  # noqa: PLC0415 - see above
            ClientError,
            ConnectionError,  # noqa: A004 - botocore's name
            HTTPClientError,
        )

        left = {str(number): message for number, message in enumerate(messages)}
        failure = ""
        for _ in range(_ATTEMPTS):
            entries = [{"Id": number, "MessageBody": message} for number, message in left.items()]
            try:
                answer = self._client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500 and "Throttl" not in str(error):
                    raise
                failure = str(error)
                continue
            except (ConnectionError, HTTPClientError) as error:
                failure = str(error)
                continue
            failed = answer.get("Failed", [])
            left = {each["Id"]: left[each["Id"]] for each in failed}
            if not left:
                return
            failure = failed[0].get("Message", failed[0].get("Code", ""))
        raise RetryableError(f"{len(left)} poison records are not in the quarantine queue: {failure}")


def encode_poison(poison: Poison) -> Iterator[str]:
    """Yield the messages that carry *poison*: JSON, the payload as base64 under ``data``.

    ``id`` is the record's place in its shard: the same on every delivery, so a reader can drop repeats. A payload larger
    than a message is compressed; one that is still larger comes in ``parts``.
    """
    sub = "" if poison.sub_sequence_number is None else f":{poison.sub_sequence_number}"
    head: dict[str, Any] = {
        "id": f"{poison.shard_id}:{poison.sequence_number}{sub}",
        "code": poison.code,
        "reason": poison.reason[:1000],
        "shard_id": poison.shard_id,
        "sequence_number": str(poison.sequence_number),
        "sub_sequence_number": poison.sub_sequence_number,
        # An inner partition key may be as long as its Kinesis record.
        "partition_key": poison.partition_key[:KINESIS_PARTITION_KEY_CHARS],
        "arrival_ms": poison.arrival_ms,
    }
    data = poison.data
    if len(data) > _PART_BYTES:
        data, head["compression"] = zlib.compress(data), "zlib"
    parts = [data[start : start + _PART_BYTES] for start in range(0, len(data), _PART_BYTES)] or [b""]
    for number, part in enumerate(parts):
        if len(parts) > 1:
            head["part"], head["parts"] = number, len(parts)
        yield json.dumps({**head, "data": b64encode(part).decode("ascii")})


def decode_poison(messages: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the payload that the messages of one poison record (each of its parts once, in any order) carry.

    Raises:
        ValueError: they are not that: a part is missing or comes twice, or what they carry is not a payload.
    """
    try:
        ordered = sorted(messages, key=lambda each: each.get("part", 0))
        numbers = [each.get("part", 0) for each in ordered]
        parts = ordered[0].get("parts", 1)
        data = b"".join(b64decode(each["data"], validate=True) for each in ordered)
        payload = _inflated(data) if ordered[0].get("compression") == "zlib" else data
    except (KeyError, IndexError, TypeError, ValueError, zlib.error) as error:
        raise ValueError(f"not the messages of one poison record: {type(error).__name__}: {error}") from error
    if len(numbers) != parts or numbers != list(range(len(numbers))):
        raise ValueError(f"not the messages of one poison record: parts {numbers} of {parts}")
    return payload


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    payload = inflater.decompress(data, _PAYLOAD_BYTES)
    if not inflater.eof:
        raise ValueError(f"cut short, or larger than a Kinesis record of {_PAYLOAD_BYTES:,} bytes")
    return payload


def message_batches(messages: Iterable[str]) -> Iterator[list[str]]:
    """Yield *messages* in batches that SendMessageBatch takes."""
    batch: list[str] = []
    size_bytes = 0
    for message in messages:
        if batch and (len(batch) == SQS_BATCH_ENTRIES or size_bytes + len(message) > SQS_BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(message)
        size_bytes += len(message)
    if batch:
        yield batch
