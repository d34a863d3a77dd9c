"""Requests checked as AWS checks them: the types of all fields first, then all constraints at once, then the look-up.

A wrong type is told alone, as it stops the reading of the request; broken constraints are told together, up to ten.

Source: the shapes are those of botocore's kinesis/2013-12-02 model; the order and the words are what kinesalite's and
LocalStack's suites record of AWS (checked 2026-11-29).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from infra.local.kinesis.errors import KinesisError, broken, problem
from infra.local.kinesis.fields import Instant, blob
from streamgage.limits import KINESIS_LARGE_RECORD_BYTES, PUT_RECORDS_ENTRIES

_TOLD = 10
_KEY_CHARS = 128
_Kind = Literal["String", "Integer", "Blob", "Timestamp", "Map", "List", "Structure"]
_TYPES: dict[_Kind, tuple[type, ...]] = {
    "String": (str,),
    "Integer": (int,),
    "Timestamp": (Instant, int, float),
    "List": (list,),
    "Map": (Mapping,),
    "Structure": (Mapping,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    kind: _Kind
    required: bool = False
    least: int | None = None
    most: int | None = None
    pattern: str | None = None
    options: tuple[str, ...] = ()
    members: "Mapping[str, _Shape]" = field(default_factory=dict)
    item: "_Shape | None" = None


def _text(
    least: int | None = None, most: int | None = None, pattern: str | None = None, *, required: bool = False
) -> _Shape:
    return _Shape(kind="String", least=least, most=most, pattern=pattern, required=required)


def _choice(*options: str, required: bool = True) -> _Shape:
    return _Shape(kind="String", options=options, required=required)


def _number(least: int | None = 1, most: int | None = None, *, required: bool = False) -> _Shape:
    return _Shape(kind="Integer", least=least, most=most, required=required)


_NAME = "[a-zA-Z0-9_.-]+"
_SEQUENCE = "0|([1-9]\\d{0,128})"
_HASH = "0|([1-9]\\d{0,38})"
_STREAM_NAME = _text(1, 128, _NAME)
_ARN = _text(1, 2048, "arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+")
_STREAM = {
    "StreamName": _STREAM_NAME,
    "StreamARN": _ARN,
    "StreamId": _text(1, 24, "[a-z0-9]{20}-[a-z0-9]{3}"),
}
_SHARD = _text(1, 128, _NAME)
_NEEDED_SHARD = _text(1, 128, _NAME, required=True)
_TIME = _Shape(kind="Timestamp")
_TOKEN = _text(1, 1_048_576)
_TAGS = _Shape(kind="Map", least=1, most=200, item=_text(0, 256))
_NEEDED_TAGS = _Shape(kind="Map", least=1, most=200, item=_text(0, 256), required=True)
_TAG_KEYS = _Shape(kind="List", least=1, most=50, item=_text(1, 128), required=True)
_RESOURCE = {"ResourceARN": _text(1, 2048, "arn:aws.*:kinesis:.*:\\d{12}:.*(stream|channel)/\\S+")}
_DISTRIBUTION = _choice("USER_PARTITION_KEY", "AUTO", required=False)
_RECORD = {
    "Data": _Shape(kind="Blob", most=KINESIS_LARGE_RECORD_BYTES, required=True),
    "ExplicitHashKey": _text(pattern=_HASH),
    "PartitionKey": _text(1, 256, required=True),
}
_FILTERS = (
    "AFTER_SHARD_ID",
    "AT_TRIM_HORIZON",
    "FROM_TRIM_HORIZON",
    "AT_LATEST",
    "AT_TIMESTAMP",
    "FROM_TIMESTAMP",
)
_ITERATORS = ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP")
_RETENTION = {**_STREAM, "RetentionPeriodHours": _number(None, required=True)}
_REQUESTS: dict[str, dict[str, _Shape]] = {
    "PutRecord": {**_STREAM, **_RECORD, "SequenceNumberForOrdering": _text(pattern=_SEQUENCE)},
    "PutRecords": {
        **_STREAM,
        "Records": _Shape(
            kind="List",
            least=1,
            most=PUT_RECORDS_ENTRIES,
            required=True,
            item=_Shape(kind="Structure", members=_RECORD),
        ),
    },
    "GetShardIterator": {
        **_STREAM,
        "ShardId": _NEEDED_SHARD,
        "ShardIteratorType": _choice(*_ITERATORS),
        "StartingSequenceNumber": _text(pattern=_SEQUENCE),
        "Timestamp": _TIME,
    },
    "GetRecords": {
        **_STREAM,
        "ShardIterator": _text(1, 512, required=True),
        "Limit": _number(1, 10_000),
    },
    "CreateStream": {
        "StreamName": _text(1, 128, _NAME, required=True),
        "ShardCount": _number(),
        "StreamModeDetails": _Shape(
            kind="Structure", members={"StreamMode": _choice("PROVISIONED", "ON_DEMAND")}
        ),
        "Tags": _TAGS,
        "WarmThroughputMiBps": _number(0),
        "MaxRecordSizeInKiB": _number(1024, 10_240),
        "RecordDistributionStrategy": _DISTRIBUTION,
    },
    "DeleteStream": _STREAM,
    "DescribeStream": {**_STREAM, "Limit": _number(1, 10_000), "ExclusiveStartShardId": _SHARD},
    "DescribeStreamSummary": _STREAM,
    "DescribeLimits": {},
    "ListStreams": {
        "Limit": _number(1, 10_000),
        "ExclusiveStartStreamName": _STREAM_NAME,
        "NextToken": _TOKEN,
    },
    "ListShards": {
        **_STREAM,
        "NextToken": _TOKEN,
        "ExclusiveStartShardId": _SHARD,
        "MaxResults": _number(1, 10_000),
        "StreamCreationTimestamp": _TIME,
        "ShardFilter": _Shape(
            kind="Structure",
            members={"Type": _choice(*_FILTERS), "ShardId": _SHARD, "Timestamp": _TIME},
        ),
    },
    "SplitShard": {
        **_STREAM,
        "ShardToSplit": _NEEDED_SHARD,
        "NewStartingHashKey": _text(pattern=_HASH, required=True),
    },
    "MergeShards": {**_STREAM, "ShardToMerge": _NEEDED_SHARD, "AdjacentShardToMerge": _NEEDED_SHARD},
    "UpdateShardCount": {
        **_STREAM,
        "TargetShardCount": _number(required=True),
        "ScalingType": _choice("UNIFORM_SCALING"),
    },
    "UpdateMaxRecordSize": {
        "StreamARN": _ARN,
        "StreamId": _STREAM["StreamId"],
        "MaxRecordSizeInKiB": _number(1024, 10_240, required=True),
    },
    "IncreaseStreamRetentionPeriod": _RETENTION,
    "DecreaseStreamRetentionPeriod": _RETENTION,
    "AddTagsToStream": {**_STREAM, "Tags": _NEEDED_TAGS},
    "RemoveTagsFromStream": {**_STREAM, "TagKeys": _TAG_KEYS},
    "ListTagsForStream": {**_STREAM, "ExclusiveStartTagKey": _text(1, 128), "Limit": _number(1, 50)},
    "TagResource": {**_RESOURCE, "Tags": _NEEDED_TAGS},
    "UntagResource": {**_RESOURCE, "TagKeys": _TAG_KEYS},
    "ListTagsForResource": _RESOURCE,
}


def check(action: str, request: Mapping[str, Any]) -> None:
    """Check a request of *action*, if it has one of that name; fields that it does not know are ignored.

    Raises:
        KinesisError: SerializationException for the first wrong type, ValidationException for all broken constraints.
    """
    members = _REQUESTS.get(action, {})
    _check_types(members, request, "")
    problems = [each for _, each in zip(range(_TOLD), _broken(members, request, ""), strict=False)]
    if problems:
        raise broken(problems)


def _check_types(members: Mapping[str, _Shape], given: Mapping[str, Any], above: str) -> None:
    for name, shape in members.items():
        if given.get(name) is not None:
            _check_type(shape, given[name], _within(above, name))


def _check_type(shape: _Shape, value: Any, path: str) -> None:
    if shape.kind == "Blob":
        blob(path, value)
    elif isinstance(value, bool) or not isinstance(value, _TYPES[shape.kind]):
        raise KinesisError("SerializationException", f"{path} can not be converted to a {shape.kind}")
    if shape.kind == "Structure":
        _check_types(shape.members, value, path)
    for member, item in _items(shape, value, path):
        if shape.item is not None and item is not None:
            _check_type(shape.item, item, member)


def _items(shape: _Shape, value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield what a list or a map holds, each with its path."""
    if shape.item is not None:
        each = value.items() if shape.kind == "Map" else enumerate(value, 1)
        yield from ((f"{path}.{name}.member", item) for name, item in each)


def _broken(members: Mapping[str, _Shape], given: Mapping[str, Any], above: str) -> Iterator[str]:
    for name, shape in members.items():
        value, path = given.get(name), _within(above, name)
        if value is not None:
            yield from _broken_value(shape, value, path)
        elif shape.required:
            yield problem(path, None, "not be null")


def _broken_value(shape: _Shape, value: Any, path: str) -> Iterator[str]:
    yield from (problem(path, _shown(shape, value), rule) for rule in _rules(shape, value))
    if shape.kind == "Structure":
        yield from _broken(shape.members, value, path)
    for member, item in _items(shape, value, path):
        if item is None:
            yield problem(member, None, "not be null")
        elif shape.item is not None:
            yield from _broken_value(shape.item, item, member)


def _rules(shape: _Shape, value: Any) -> Iterator[str]:
    """Yield the constraints that *value* itself breaks."""
    measure, size = ("value", value) if shape.kind == "Integer" else ("length", _length(shape, value))
    if shape.least is not None and size < shape.least:
        yield f"have {measure} greater than or equal to {shape.least}"
    if shape.most is not None and size > shape.most:
        yield f"have {measure} less than or equal to {shape.most}"
    if shape.pattern is not None and not re.fullmatch(shape.pattern, value, re.ASCII):
        yield f"satisfy regular expression pattern: {shape.pattern}"
    if shape.options and value not in shape.options:
        yield f"satisfy enum value set: [{', '.join(shape.options)}]"
    if shape.kind == "Map" and any(not 1 <= len(key) <= _KEY_CHARS for key in value):
        yield f"have keys with length between 1 and {_KEY_CHARS}"


def _shown(shape: _Shape, value: Any) -> object:
    return f"{len(value)} bytes" if shape.kind == "Blob" else value


def _length(shape: _Shape, value: Any) -> int:
    if shape.kind in ("Structure", "Timestamp"):
        return 0
    return len(blob("", value)) if shape.kind == "Blob" else len(value)


def _within(above: str, name: str) -> str:
    lowered = f"{name[:1].lower()}{name[1:]}"
    return f"{above}.{lowered}" if above else lowered
