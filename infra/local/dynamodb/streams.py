"""DynamoDB Streams: ListStreams, DescribeStream, GetShardIterator, GetRecords, over the change logs.

A stream has one shard, which never closes. Records have the keys alone (KEYS_ONLY).

Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB_Streams.html
(checked 2026-11-29).
"""

import base64
import binascii
import json
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from infra.local.dynamodb.changes import Change, Kind
from infra.local.dynamodb.errors import DynamoError, invalid
from infra.local.dynamodb.requests import Request, encode, limit, table_name
from infra.local.dynamodb.store import Store
from infra.local.dynamodb.table import Table
from infra.local.dynamodb.values import checked_item

TARGET = "DynamoDBStreams_20120810"
_ITERATOR_MS = 15 * 60_000
_MOST_RECORDS, _MOST_STREAMS = 1_000, 100
_FIRST_NUMBER = 10**20  # a sequence number has 21 to 40 digits
_TYPES = ("AFTER_SEQUENCE_NUMBER", "AT_SEQUENCE_NUMBER", "LATEST", "TRIM_HORIZON")
_EXPIRED_BY = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


class _Place(NamedTuple):
    """Where an iterator stands: behind the change *after*."""

    stream: str
    after: int
    made_ms: int


class StreamActions:
    """The operations on streams; *clock_ms* tells when an iterator is too old."""

    def __init__(self, store: Store, *, clock_ms: Callable[[], int], region: str, account: str) -> None:
        self._store, self._clock_ms, self._region = store, clock_ms, region
        self._arn = f"arn:aws:dynamodb:{region}:{account}:table/"

    def list_streams(self, request: Request) -> bytes:
        """List the streams, of one table or of all."""
        most = limit(request) or _MOST_STREAMS
        if most > _MOST_STREAMS:
            raise invalid(f"Limit must be less than or equal to {_MOST_STREAMS}")
        named = table_name(request) if request.get("TableName") is not None else None
        tables = [
            table for name in self._store.names() if (table := self._store.table(name)) and table.stream
        ]
        found = [each for each in tables if named in (None, each.name)]
        after = request.get("ExclusiveStartStreamArn")
        if after is not None:
            found = [each for each in found if self._arn_of(each) > str(after)]
        answer: dict[str, Any] = {"Streams": [self._named(each) for each in found[:most]]}
        if len(found) > most:
            answer["LastEvaluatedStreamArn"] = self._arn_of(found[most - 1])
        return encode(answer)

    def describe_stream(self, request: Request) -> bytes:
        """Describe a stream and its one shard."""
        table = self._stream(request.get("StreamArn"))
        shard = _shard(table)
        with self._store.reading():
            oldest, _ = self._store.changes.ends(table)
        shards = [{"ShardId": shard, "SequenceNumberRange": {"StartingSequenceNumber": _sequence(oldest)}}]
        if request.get("ExclusiveStartShardId") == shard or request.get("ShardFilter"):  # it has no children
            shards = []
        described = {
            **self._named(table),
            "StreamStatus": "ENABLED",
            "StreamViewType": "KEYS_ONLY",
            "CreationRequestDateTime": table.created_ms / 1000,
            "KeySchema": table.stored["KeySchema"],
            "Shards": shards,
        }
        return encode({"StreamDescription": described})

    def get_shard_iterator(self, request: Request) -> bytes:
        """Return where to begin."""
        table = self._stream(request.get("StreamArn"))
        if request.get("ShardId") != _shard(table):
            raise DynamoError(
                "ResourceNotFoundException", f"Requested resource not found: Shard: {request.get('ShardId')}"
            )
        kind, given = request.get("ShardIteratorType"), request.get("SequenceNumber")
        if kind not in _TYPES:
            raise invalid(f"ShardIteratorType must be one of [{', '.join(_TYPES)}]")
        if (given is None) is str(kind).endswith("_NUMBER"):
            raise invalid(
                f"a SequenceNumber is given with AT_ and AFTER_SEQUENCE_NUMBER, and with no other: {kind}"
            )
        with self._store.reading():
            oldest, newest = self._store.changes.ends(table)
        if kind == "LATEST":
            after = newest
        elif kind == "TRIM_HORIZON":
            after = oldest - 1
        else:
            after = _number(given) - (kind == "AT_SEQUENCE_NUMBER")
            _check_kept(after, oldest)
        return encode({"ShardIterator": _token(_Place(self._arn_of(table), after, self._clock_ms()))})

    def get_records(self, request: Request) -> bytes:
        """Return what has changed since, and where to go on."""
        most = limit(request) or _MOST_RECORDS
        if most > _MOST_RECORDS:
            raise invalid(f"Limit must be less than or equal to {_MOST_RECORDS}")
        place, now_ms = _place(request.get("ShardIterator")), self._clock_ms()
        if now_ms - place.made_ms > _ITERATOR_MS:
            raise DynamoError("ExpiredIteratorException", "Iterator expired: it is older than 15 minutes")
        table = self._stream(place.stream)
        with self._store.reading():
            _check_kept(place.after, self._store.changes.ends(table)[0])
            changes = list(self._store.changes.read(table, place.after, most))
        after = changes[-1].number if changes else place.after
        records = [self._record(place.stream, each) for each in changes]
        return encode({"Records": records, "NextShardIterator": _token(_Place(place.stream, after, now_ms))})

    def _stream(self, arn: object) -> Table:
        """Return the table whose stream *arn* is."""
        if not isinstance(arn, str):
            raise invalid("Value null at 'streamArn' failed to satisfy constraint: Member must not be null")
        name = arn.removeprefix(self._arn).partition("/stream/")[0]
        table = self._store.table(name)
        if table is None or not table.stream or self._arn_of(table) != arn:
            raise DynamoError(
                "ResourceNotFoundException", f"Requested resource not found: Stream: {arn} not found"
            )
        return table

    def _arn_of(self, table: Table) -> str:
        return f"{self._arn}{table.name}/stream/{table.stream}"

    def _named(self, table: Table) -> dict[str, Any]:
        return {"StreamArn": self._arn_of(table), "TableName": table.name, "StreamLabel": table.stream}

    def _record(self, stream: str, change: Change) -> dict[str, Any]:
        keys = json.loads(change.keys)
        record: dict[str, Any] = {
            "eventID": uuid.uuid5(uuid.NAMESPACE_URL, f"{stream}/{change.number}").hex,
            "eventName": "REMOVE" if change.kind is Kind.EXPIRE else change.kind.name,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": self._region,
            "dynamodb": {
                "ApproximateCreationDateTime": change.at_ms // 1000,
                "Keys": keys,
                "SequenceNumber": _sequence(change.number),
                "SizeBytes": checked_item(keys)[1],
                "StreamViewType": "KEYS_ONLY",
            },
        }
        return record | {"userIdentity": _EXPIRED_BY} if change.kind is Kind.EXPIRE else record


def _shard(table: Table) -> str:
    return f"shardId-{table.created_ms:020d}-{table.number:08x}"


def _sequence(number: int) -> str:
    return str(_FIRST_NUMBER + number)


def _number(sequence: object) -> int:
    if (
        not isinstance(sequence, str)
        or not (sequence.isascii() and sequence.isdecimal())
        or not 21 <= len(sequence) <= 40
    ):
        raise invalid("SequenceNumber has 21 to 40 digits")
    return int(sequence) - _FIRST_NUMBER


def _check_kept(after: int, oldest: int) -> None:
    if after < oldest - 1:
        raise DynamoError(
            "TrimmedDataAccessException", "The requested records are older than what the stream keeps"
        )


def _token(place: _Place) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode("ascii")


def _place(token: object) -> _Place:
    try:
        stream, after, made_ms = json.loads(base64.b64decode(str(token), altchars=b"-_", validate=True))
        return _Place(str(stream), int(after), int(made_ms))
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise invalid("Invalid ShardIterator") from error
