"""The control plane: streams, shards, retention, tags.

Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/ (checked 2026-11-21). Changes hold at once; the
stream only says UPDATING for the configured time.
"""

from dataclasses import replace
from typing import Any

from infra.local.kinesis.errors import KinesisError, constraint, invalid
from infra.local.kinesis.fields import NAME, Fields, Instant, hash_key, shard_index
from infra.local.kinesis.listing import describe_shard
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.stream import Stream
from infra.local.kinesis.tags import checked_tags

DEFAULT_SHARDS = 4
_MIN_RETENTION_HOURS = 24
_MAX_RETENTION_HOURS = 8760
_DESCRIBE_LIMIT = 100
_STREAM_LIMIT = 100
_SCALED_SHARDS = 10_000
_BY_KEY = "USER_PARTITION_KEY"


class ControlPlane:
    """Actions on streams."""

    def __init__(self, model: KinesisModel) -> None:
        self._model = model
        self._account = model.settings.account

    def create_stream(self, fields: Fields) -> None:
        """Create a stream of ShardCount shards; of four where it is on demand, or where nothing is said of either."""
        on_demand = _mode(fields) == "ON_DEMAND"
        shard_count = fields.optional_integer("ShardCount")
        if on_demand and shard_count is not None:
            raise KinesisError("ValidationException", "ShardCount must not be given for an ON_DEMAND stream.")
        if not on_demand and shard_count is None and fields.get("StreamModeDetails") is not None:
            raise KinesisError("ValidationException", "ShardCount must be given for a PROVISIONED stream.")
        _check_distribution(fields)
        self._model.create(
            fields.text("StreamName", pattern=NAME),
            shard_count=shard_count or DEFAULT_SHARDS,
            on_demand=on_demand,
            tags=checked_tags(fields.text("StreamName"), {}, fields.mapping("Tags"), account=self._account),
            max_record_bytes=(fields.optional_integer("MaxRecordSizeInKiB") or 1024) * 1024,
        )

    def delete_stream(self, fields: Fields) -> None:
        """Delete a stream and its records."""
        self._model.delete(fields.stream(self._model))

    def describe_stream(self, fields: Fields) -> dict[str, Any]:
        """Describe a stream with its shards, at most 100 at a time."""
        stream = fields.stream(self._model)
        limit = min(fields.optional_integer("Limit", most=10_000) or _DESCRIBE_LIMIT, _DESCRIBE_LIMIT)
        start = fields.optional_text("ExclusiveStartShardId")
        after = shard_index(stream, start, account=self._account) if start is not None else -1
        shards = [s for s in stream.shards() if s.index > after] if stream.status != "CREATING" else []
        return {
            "StreamDescription": {
                **self._summary(stream),
                "Shards": [describe_shard(shard) for shard in shards[:limit]],
                "HasMoreShards": len(shards) > limit,
            }
        }

    def describe_stream_summary(self, fields: Fields) -> dict[str, Any]:
        """Describe a stream without its shards."""
        stream = fields.stream(self._model)
        answer = {
            **self._summary(stream),
            "OpenShardCount": len(stream.map.open) if stream.status != "CREATING" else 0,
            "ConsumerCount": 0,
            "MaxRecordSizeInKiB": stream.state.max_record_bytes // 1024,
        }
        if stream.state.on_demand:  # "only present for streams that use the on-demand capacity mode"
            answer["RecordDistributionStrategy"] = _BY_KEY
        return {"StreamDescriptionSummary": answer}

    def describe_limits(self, fields: Fields) -> dict[str, Any]:  # noqa: ARG002 - every action takes its fields
        """Describe the account's limits and what is used of them."""
        streams = [self._model.find(name) for name in self._model.names()]
        return {
            "ShardLimit": self._model.settings.shard_limit,
            "OpenShardCount": self._model.open_shards(),
            "OnDemandStreamCount": sum(stream.state.on_demand for stream in streams),
            "OnDemandStreamCountLimit": 50,
        }

    def list_streams(self, fields: Fields) -> dict[str, Any]:
        """List streams by name, at most 100 at a time."""
        limit = min(fields.optional_integer("Limit", most=10_000) or _STREAM_LIMIT, _STREAM_LIMIT)
        after = fields.optional_text("NextToken") or fields.optional_text("ExclusiveStartStreamName") or ""
        names = [name for name in self._model.names() if name > after]
        page = names[:limit]
        more = len(names) > limit
        summaries = [self._summary(self._model.find(name)) for name in page]
        wanted = ("StreamName", "StreamARN", "StreamStatus", "StreamModeDetails", "StreamCreationTimestamp")
        return {
            "StreamNames": page,
            "HasMoreStreams": more,
            "StreamSummaries": [{key: summary[key] for key in wanted} for summary in summaries],
            **({"NextToken": page[-1]} if more else {}),
        }

    def split_shard(self, fields: Fields) -> None:
        """Split an open shard at NewStartingHashKey."""
        stream = fields.stream(self._model)
        start = hash_key("NewStartingHashKey", fields.text("NewStartingHashKey"))
        with stream.lock:
            self._check_reshardable(stream, "SplitShard")
            index = self._open_shard(stream, fields.text("ShardToSplit"))
            shard = stream.map.by_index[index]
            if not shard.start_hash + 1 < start < shard.end_hash:
                raise invalid(
                    f"NewStartingHashKey {start} used in SplitShard() on shard {shard.shard_id} in stream "
                    f"{stream.state.name} under account {self._account} is not both greater than one plus the "
                    f"shard's StartingHashKey {shard.start_hash} and less than the shard's EndingHashKey "
                    f"{shard.end_hash}."
                )
            self._model.check_shard_limit(1)
            self._model.reshard(stream, stream.map.split(index, at=start, now_ms=self._model.clock_ms()))

    def merge_shards(self, fields: Fields) -> None:
        """Merge two open shards, the second directly above the first."""
        stream = fields.stream(self._model)
        with stream.lock:
            self._check_reshardable(stream, "MergeShards")
            first = self._open_shard(stream, fields.text("ShardToMerge"))
            second = self._open_shard(stream, fields.text("AdjacentShardToMerge"))
            below, above = stream.map.by_index[first], stream.map.by_index[second]
            if below.end_hash + 1 != above.start_hash:  # also where they are given the other way round
                raise invalid(
                    f"Shards {below.shard_id} and {above.shard_id} in stream {stream.state.name} under account "
                    f"{self._account} are not an adjacent pair of shards eligible for merging"
                )
            self._model.reshard(stream, stream.map.merge(first, second, now_ms=self._model.clock_ms()))

    def update_shard_count(self, fields: Fields) -> dict[str, Any]:
        """Split and merge until TargetShardCount shards are open: at most double, at least half, at most 10,000.

        That it may be asked for ten times a day only is not carried out: a laptop's tests ask oftener.
        """
        stream = fields.stream(self._model)
        fields.choice("ScalingType", ("UNIFORM_SCALING",))
        target = fields.integer("TargetShardCount")
        with stream.lock:
            self._check_reshardable(stream, "UpdateShardCount")
            current = len(stream.map.open)
            if target > 2 * current:
                raise _beyond("up over double", current, target)
            if 2 * target < current:
                raise _beyond("down below half", current, target)
            if target > _SCALED_SHARDS:
                raise _beyond(f"up to more than {_SCALED_SHARDS} shards from", current, target)
            self._model.check_shard_limit(max(0, target - current))
            self._model.reshard(stream, stream.map.rescale(target, now_ms=self._model.clock_ms()))
        return {
            "StreamName": stream.state.name,
            "StreamARN": self._model.arn(stream.state.name),
            "CurrentShardCount": current,
            "TargetShardCount": target,
        }

    def update_max_record_size(self, fields: Fields) -> None:
        """Set how large a record of the stream may be; what is stored already stays as it is."""
        if fields.get("StreamARN") is None:  # a StreamName this action does not know
            raise invalid("StreamARN must be provided.")
        stream = fields.stream(self._model)
        with stream.lock:
            self._check_active(stream)
            max_record_bytes = fields.integer("MaxRecordSizeInKiB") * 1024
            self._model.change(
                stream, state=replace(stream.state, max_record_bytes=max_record_bytes), updating=True
            )

    def increase_retention(self, fields: Fields) -> None:
        """Lengthen the retention period; what has expired stays unreadable."""
        self._retain(fields, longer=True)

    def decrease_retention(self, fields: Fields) -> None:
        """Shorten the retention period; what is older becomes unreadable at once."""
        self._retain(fields, longer=False)

    def _retain(self, fields: Fields, *, longer: bool) -> None:
        stream = fields.stream(self._model)
        hours = fields.integer("RetentionPeriodHours", least=-(2**31))
        if hours < _MIN_RETENTION_HOURS:
            raise invalid(
                f"Minimum allowed retention period is 24 hours. Requested retention period ({hours} hours) is too short."
            )
        if hours > _MAX_RETENTION_HOURS:
            raise invalid(
                f"Maximum allowed retention period is 8760 hours. Requested retention period ({hours} hours) is too long."
            )
        with stream.lock:
            self._check_active(stream)
            current = stream.state.retention_hours
            if hours < current if longer else hours > current:
                raise invalid(
                    f"Requested retention period ({hours} hours) for stream {stream.state.name} can not be "
                    f"{'shorter' if longer else 'longer'} than existing retention period ({current} hours). "
                    f"Use {'Decrease' if longer else 'Increase'}RetentionPeriod API."
                )
            state = replace(stream.state, retention_hours=hours, floor_ms=stream.horizon_ms)
            self._model.change(stream, state=state, updating=True)

    def _summary(self, stream: Stream) -> dict[str, Any]:
        state = stream.state
        return {
            "StreamName": state.name,
            "StreamARN": self._model.arn(state.name),
            "StreamStatus": stream.status,
            "StreamModeDetails": {"StreamMode": "ON_DEMAND" if state.on_demand else "PROVISIONED"},
            "StreamCreationTimestamp": Instant(state.created_ms),
            "RetentionPeriodHours": state.retention_hours,
            "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
            "EncryptionType": "NONE",
        }

    def _check_active(self, stream: Stream) -> None:
        if stream.status != "ACTIVE":
            raise KinesisError(
                "ResourceInUseException",
                f"Stream {stream.state.name} under account {self._account} not ACTIVE, instead in state {stream.status}",
            )

    def _check_reshardable(self, stream: Stream, action: str) -> None:
        self._check_active(stream)
        if stream.state.on_demand:
            raise KinesisError(
                "ValidationException", f"{action} is only supported for streams in the PROVISIONED mode."
            )

    def _open_shard(self, stream: Stream, shard_id: str) -> int:
        index = shard_index(stream, shard_id, account=self._account)
        if not stream.map.by_index[index].is_open:
            raise invalid(
                f"Shard {shard_id} in stream {stream.state.name} under account {self._account} is closed already."
            )
        return index


def _check_distribution(fields: Fields) -> None:
    """Refuse AUTO, where Kinesis itself chooses the shard: what it would choose is not documented."""
    if fields.get("RecordDistributionStrategy") is None:
        return
    if fields.choice("RecordDistributionStrategy", (_BY_KEY, "AUTO")) == "AUTO":
        raise invalid(f"RecordDistributionStrategy AUTO is not in this data plane; it has {_BY_KEY}.")


def _mode(fields: Fields) -> str:
    details = fields.get("StreamModeDetails")
    if details is None:
        return "PROVISIONED"
    mode = details.get("StreamMode") if isinstance(details, dict) else None
    if mode not in ("PROVISIONED", "ON_DEMAND"):
        raise constraint(
            "streamModeDetails.streamMode", mode, "satisfy enum value set: [PROVISIONED, ON_DEMAND]"
        )
    return str(mode)


def _beyond(direction: str, current: int, target: int) -> KinesisError:
    return KinesisError(
        "LimitExceededException",
        f"UpdateShardCount cannot scale {direction} your current open shard count. "
        f"Current open shard count: {current} Target shard count: {target}",
    )
