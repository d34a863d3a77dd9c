"""The data plane: PutRecord, PutRecords, GetShardIterator, GetRecords.

Sources: API_PutRecords, API_GetRecords and API_GetShardIterator of
https://docs.aws.amazon.com/kinesis/latest/APIReference/ (checked 2026-11-21).
"""

from itertools import count
from typing import Any

from infra.local.kinesis.entries import check_size, check_sizes, parse_entry
from infra.local.kinesis.errors import Code, KinesisError, constraint, invalid, not_found
from infra.local.kinesis.faults import FaultPlan
from infra.local.kinesis.fields import SEQUENCE_NUMBER, Fields, Instant, shard_index
from infra.local.kinesis.limits import Throttle
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.sequence import arrival_ms, counter_floor, parse_shard_index
from infra.local.kinesis.shards import Shard, shard_id
from infra.local.kinesis.storage import StoredRecord
from infra.local.kinesis.stream import Entry, Stored, Stream
from infra.local.kinesis.tokens import Position, decode_position, encode
from streamgage.limits import (
    GET_RECORDS_BYTES,
    GET_RECORDS_ENTRIES,
    PUT_RECORDS_ENTRIES,
)

_ITERATOR_TYPES = ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP")


class DataPlane:
    """Actions on records."""

    def __init__(self, model: KinesisModel, throttle: Throttle | None) -> None:
        self._model = model
        self._throttle = throttle
        self._account = model.settings.account
        self._serials = count(1)

    def put_record(self, fields: Fields, plan: FaultPlan) -> dict[str, Any]:
        """Store one record; unlike PutRecords it fails as a whole."""
        stream = fields.stream(self._model)
        ordering = fields.optional_text("SequenceNumberForOrdering", pattern=SEQUENCE_NUMBER)
        if ordering is not None and parse_shard_index(int(ordering)) is None:
            raise invalid(
                f"ExclusiveMinimumSequenceNumber {ordering} used in PutRecord on stream {stream.state.name} "
                f"under account {self._account} is invalid."
            )
        entry = parse_entry(
            {name: fields.get(name) for name in ("Data", "PartitionKey", "ExplicitHashKey")}, prefix=""
        )
        check_size(entry, max_bytes=stream.state.max_record_bytes, name=stream.state.name)
        (answer,) = self._put(stream, [entry], plan)
        if isinstance(answer, KinesisError):
            raise answer
        return {"ShardId": answer.shard.shard_id, "SequenceNumber": str(answer.sequence_number)}

    def put_records(self, fields: Fields, plan: FaultPlan) -> dict[str, Any]:
        """Store up to 500 records; each is answered for itself, in the request's order."""
        records = fields.get("Records")
        if not isinstance(records, list):
            raise constraint("Records", None, "not be null")
        if not records:
            raise constraint("Records", "[]", "have length greater than or equal to 1")
        if len(records) > PUT_RECORDS_ENTRIES:
            raise constraint(
                "Records",
                f"[{len(records)} entries]",
                f"have length less than or equal to {PUT_RECORDS_ENTRIES}",
            )
        entries = [parse_entry(record, prefix=f"records.{n}.member.") for n, record in enumerate(records, 1)]
        stream = fields.stream(self._model)
        check_sizes(entries, max_bytes=stream.state.max_record_bytes, name=stream.state.name)
        answers = self._put(stream, entries, plan)
        return {
            "FailedRecordCount": sum(isinstance(answer, KinesisError) for answer in answers),
            "Records": [
                {"ErrorCode": answer.code, "ErrorMessage": answer.message}
                if isinstance(answer, KinesisError)
                else {"SequenceNumber": str(answer.sequence_number), "ShardId": answer.shard.shard_id}
                for answer in answers
            ],
        }

    def get_shard_iterator(self, fields: Fields, plan: FaultPlan) -> dict[str, Any]:
        """Return a token for a position in a shard."""
        self._strike(plan, "GetShardIterator")
        stream = fields.stream(self._model)
        named = fields.text("ShardId")
        if stream.status == "CREATING":  # it has no shards yet, as DescribeStream says too
            raise not_found(
                f"Could not find shard {named} in stream {stream.state.name}, which is being created."
            )
        index = shard_index(stream, named, account=self._account)
        kind = fields.choice("ShardIteratorType", _ITERATOR_TYPES)
        counter = self._counter(stream, index, kind, fields)
        return {"ShardIterator": self._token(stream, index, counter)}

    def get_records(self, fields: Fields, plan: FaultPlan) -> dict[str, Any]:
        """Return records from an iterator on, up to 10 MiB or 10,000, and the iterator that goes on."""
        self._strike(plan, "GetRecords")
        limit = fields.optional_integer("Limit", most=GET_RECORDS_ENTRIES) or GET_RECORDS_ENTRIES
        now_ms = self._model.clock_ms()
        position = decode_position(
            _unquoted(fields.text("ShardIterator")),
            now_ms=now_ms,
            life_ms=self._model.settings.iterator_life_ms,
        )
        stream = self._model.find(position.stream)
        if stream.state.number != position.number:
            raise not_found(f"The iterator is of a deleted stream named {position.stream}.")
        index = shard_index(stream, shard_id(position.shard), account=self._account)
        key = (stream.state.number, index)
        if self._throttle and not self._throttle.admit_read(key, now_ms=now_ms):
            raise self._throttled(stream, index)
        page = stream.read(index, position.counter, max_records=limit, max_bytes=GET_RECORDS_BYTES)
        if self._throttle:
            self._throttle.charge_read(key, sum(record.size_bytes for record in page.records))
        answer: dict[str, Any] = {
            "Records": [_record(page.shard, record) for record in page.records],
            "MillisBehindLatest": page.behind_ms,
        }
        if page.next_counter is None:
            answer["ChildShards"] = [_child(child) for child in stream.map.children(index)]
        else:
            answer["NextShardIterator"] = self._token(stream, index, page.next_counter)
        return answer

    def _put(self, stream: Stream, entries: list[Entry], plan: FaultPlan) -> list[Stored | KinesisError]:
        struck = plan.entries
        if not struck:
            return stream.put(entries, admit=self._admit(stream))
        healthy = iter(
            stream.put(
                [entry for n, entry in enumerate(entries) if n not in struck], admit=self._admit(stream)
            )
        )
        return [
            self._injected(struck[n], stream, stream.map.route(entry.hash_key).index)
            if n in struck
            else next(healthy)
            for n, entry in enumerate(entries)
        ]

    def _admit(self, stream: Stream) -> Any:
        throttle = self._throttle
        if throttle is None:
            return None
        now_ms, number = self._model.clock_ms(), stream.state.number

        def admit(shard: Shard, size_bytes: int) -> KinesisError | None:
            if throttle.admit_write((number, shard.index), size_bytes, now_ms=now_ms):
                return None
            return self._throttled(stream, shard.index)

        return admit

    def _counter(self, stream: Stream, index: int, kind: str, fields: Fields) -> int:
        sequence_text = fields.optional_text("StartingSequenceNumber", pattern=SEQUENCE_NUMBER)
        by_sequence = kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")
        if by_sequence != (sequence_text is not None):
            raise invalid(
                "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or "
                f"(2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {kind} and "
                f"{'no' if sequence_text is None else 'also a'} StartingSequenceNumber."
            )
        if sequence_text is not None:
            after = kind == "AFTER_SEQUENCE_NUMBER"
            counter = stream.map.by_index[index].space.counter_from(int(sequence_text), after=after)
            if counter is None:
                raise self._foreign(stream, index, sequence_text)
            return counter
        if kind == "AT_TIMESTAMP":
            return self._counter_at(fields.optional_instant_ms("Timestamp"))
        return stream.tip(index) if kind == "LATEST" else 0

    def _counter_at(self, timestamp_ms: int | None) -> int:
        if timestamp_ms is None:
            raise invalid(
                "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. "
                "Current request has no timestamp parameter."
            )
        now_ms = self._model.clock_ms()
        if timestamp_ms > now_ms:
            raise invalid(
                "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "
                f"timestampInMillis: {timestamp_ms}, currentTimestampInMillis: {now_ms}"
            )
        return counter_floor(timestamp_ms)

    def _foreign(self, stream: Stream, index: int, sequence_text: str) -> KinesisError:
        named = parse_shard_index(int(sequence_text))
        if named is not None and named != index:
            return invalid(
                f"Invalid StartingSequenceNumber. It encodes {shard_id(named)}, while it was used in a call to a "
                f"shard with {shard_id(index)}"
            )
        reason = " because it did not come from this stream" if named is not None else ""
        return invalid(
            f"StartingSequenceNumber {sequence_text} used in GetShardIterator on shard {shard_id(index)} in stream "
            f"{stream.state.name} under account {self._account} is invalid{reason}."
        )

    def _token(self, stream: Stream, index: int, counter: int) -> str:
        state = stream.state
        serial = next(self._serials)
        return encode(Position(state.name, state.number, index, counter, self._model.clock_ms(), serial))

    def _throttled(self, stream: Stream, index: int) -> KinesisError:
        return KinesisError(
            "ProvisionedThroughputExceededException",
            f"Rate exceeded for shard {shard_id(index)} in stream {stream.state.name} under account {self._account}.",
        )

    def _injected(self, code: Code, stream: Stream, index: int) -> KinesisError:
        if code == "ProvisionedThroughputExceededException":
            return self._throttled(stream, index)
        return KinesisError(code, "Internal service failure.")

    def _strike(self, plan: FaultPlan, action: str) -> None:
        for code in plan.entries.values():
            raise KinesisError(code, f"Injected into {action}.")


def _unquoted(iterator: str) -> str:
    """Return an iterator without the quotes that a shell left around it: AWS was recorded to take it so."""
    quoted = len(iterator) > 1 and iterator[0] == iterator[-1] == '"'
    return iterator[1:-1] if quoted else iterator


def _record(shard: Shard, record: StoredRecord) -> dict[str, Any]:
    counter, key, data = record
    return {
        "SequenceNumber": str(shard.space.number(counter)),
        "ApproximateArrivalTimestamp": Instant(arrival_ms(counter)),
        "Data": data,
        "PartitionKey": key.decode(),
    }


def _child(shard: Shard) -> dict[str, Any]:
    parents = [index for index in (shard.parent, shard.adjacent_parent) if index is not None]
    return {
        "ShardId": shard.shard_id,
        "ParentShards": [shard_id(index) for index in parents],
        "HashKeyRange": {"StartingHashKey": str(shard.start_hash), "EndingHashKey": str(shard.end_hash)},
    }
