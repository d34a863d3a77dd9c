"""ListShards: filters and pages.

Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ShardFilter.html (checked 2026-11-21).
"""

from typing import Any

from infra.local.kinesis.errors import invalid, not_found
from infra.local.kinesis.fields import Fields, shard_index
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.shards import Shard, shard_id
from infra.local.kinesis.stream import Stream
from infra.local.kinesis.tokens import ListPosition, decode_list_position, encode

_FILTERS = (
    "AFTER_SHARD_ID",
    "AT_TRIM_HORIZON",
    "FROM_TRIM_HORIZON",
    "AT_LATEST",
    "AT_TIMESTAMP",
    "FROM_TIMESTAMP",
)
_PAGE = 1000


def list_shards(model: KinesisModel, fields: Fields) -> dict[str, Any]:
    """Return the shards of a stream that pass the filter, in the order of their names, at most 1,000 at a time."""
    limit = min(fields.optional_integer("MaxResults", most=10_000) or _PAGE, _PAGE)
    stream, after, chosen = _start(model, fields)
    shards = [s for s in _filtered(stream, chosen) if s.index > after] if stream.status != "CREATING" else []
    answer: dict[str, Any] = {"Shards": [describe_shard(shard) for shard in shards[:limit]]}
    if len(shards) > limit:
        state = stream.state
        answer["NextToken"] = encode(
            ListPosition(state.name, state.number, shards[limit - 1].index, chosen, model.clock_ms())
        )
    return answer


def describe_shard(shard: Shard) -> dict[str, Any]:
    """Return a shard as the API shows it."""
    space = shard.space
    answer: dict[str, Any] = {
        "ShardId": shard.shard_id,
        "HashKeyRange": {"StartingHashKey": str(shard.start_hash), "EndingHashKey": str(shard.end_hash)},
        "SequenceNumberRange": {"StartingSequenceNumber": str(space.first)},
    }
    if shard.closed_ms is not None:
        answer["SequenceNumberRange"]["EndingSequenceNumber"] = str(space.last(shard.closed_ms))
    if shard.parent is not None:
        answer["ParentShardId"] = shard_id(shard.parent)
    if shard.adjacent_parent is not None:
        answer["AdjacentParentShardId"] = shard_id(shard.adjacent_parent)
    return answer


def _start(model: KinesisModel, fields: Fields) -> tuple[Stream, int, dict[str, Any]]:
    """Return the stream, the index of the shard before the page, and the filter."""
    token_text = fields.optional_text("NextToken")
    if token_text is not None:
        for other in (
            "StreamName",
            "StreamARN",
            "StreamCreationTimestamp",
            "ExclusiveStartShardId",
            "ShardFilter",
        ):
            if fields.get(other) is not None:
                raise invalid(f"NextToken and {other} cannot be provided together.")
        token = decode_list_position(token_text, now_ms=model.clock_ms())
        stream = model.find(token.stream)
        if stream.state.number != token.number:
            raise not_found(f"The NextToken is of a deleted stream named {token.stream}.")
        return stream, token.after, token.filter
    stream = fields.stream(model)
    created_ms = fields.optional_instant_ms("StreamCreationTimestamp")
    if created_ms is not None and created_ms // 1000 != stream.state.created_ms // 1000:
        raise not_found(f"Stream {stream.state.name} was not created at {created_ms} ms since the epoch.")
    start = fields.optional_text("ExclusiveStartShardId")
    after = shard_index(stream, start, account=model.settings.account) if start is not None else -1
    return stream, after, _parse_filter(fields.get("ShardFilter"))


def _parse_filter(given: object) -> dict[str, Any]:
    if given is None:
        return {"type": "FROM_TRIM_HORIZON"}
    fields = Fields(given)
    chosen: dict[str, Any] = {"type": fields.choice("Type", _FILTERS)}
    if chosen["type"] == "AFTER_SHARD_ID":
        chosen["shard_id"] = fields.optional_text("ShardId")
        if chosen["shard_id"] is None:
            raise invalid("ShardFilter of type AFTER_SHARD_ID needs a ShardId.")
    if chosen["type"] in ("AT_TIMESTAMP", "FROM_TIMESTAMP"):
        chosen["at_ms"] = fields.optional_instant_ms("Timestamp")
        if chosen["at_ms"] is None:
            raise invalid(f"ShardFilter of type {chosen['type']} needs a Timestamp.")
    return chosen


def _filtered(stream: Stream, chosen: dict[str, Any]) -> list[Shard]:
    shards = sorted(stream.shards(), key=lambda shard: shard.index)
    horizon_ms = stream.horizon_ms
    match chosen["type"]:
        case "AFTER_SHARD_ID":
            return [s for s in shards if s.shard_id > chosen["shard_id"]]
        case "AT_LATEST":
            return [s for s in shards if s.closed_ms is None]
        case "AT_TRIM_HORIZON":  # half-open, so that the answer covers each hash key once
            return [s for s in shards if s.created_ms <= horizon_ms and _open_after(s, horizon_ms)]
        case "AT_TIMESTAMP":
            at_ms = chosen["at_ms"]
            return [s for s in shards if s.created_ms <= at_ms and _open_at(s, at_ms)]
        case "FROM_TIMESTAMP":
            at_ms = max(chosen["at_ms"], horizon_ms)
            return [s for s in shards if _open_at(s, at_ms)]
    return shards


def _open_at(shard: Shard, at_ms: int) -> bool:
    return shard.closed_ms is None or shard.closed_ms >= at_ms


def _open_after(shard: Shard, at_ms: int) -> bool:
    return shard.closed_ms is None or shard.closed_ms > at_ms
