"""The template's stream in our Kinesis: made, or, where the home keeps one, changed as CloudFormation would change it.

A kept stream is changed only as a person says: a parameter that nobody gives leaves it as it is. CloudFormation compares the
template with the last one, not with the stream: what was resharded by hand stays so until another number is asked for. So
what was last asked for is noted in the home.
"""

from collections.abc import Collection, Mapping
from typing import Any

from botocore.exceptions import ClientError

from infra.local.stack.children import wait_until
from infra.local.stack.home import Home, read_json, write_json
from streamgage.errors import ConfigError

_LEAST_HOURS = 24
_PARAMETERS = {"mode": "StreamMode", "shards": "ShardCount", "hours": "RetentionHours"}
_ACTIVE_S = 60.0


def keep_stream(
    home: Home, client: Any, name: str, properties: Mapping[str, Any], *, unsaid: Collection[str]
) -> None:
    """Have stream *name* as *properties* say. What it holds is kept, also over a change of its shards.

    *unsaid* are the parameters that have their default: of a stream that is there they change nothing.

    Raises:
        ConfigError: it cannot be changed so; nothing was.
    """
    mode = properties.get("StreamModeDetails", {}).get("StreamMode", "PROVISIONED")
    wanted = {
        "mode": mode,
        "shards": int(properties["ShardCount"]) if mode == "PROVISIONED" and "ShardCount" in properties else None,
        "hours": int(properties.get("RetentionPeriodHours", _LEAST_HOURS)),
    }  # fmt: skip
    try:
        there = _create(client, name, wanted)
        before = (
            {**there, **(read_json(home.stream_file) or {})}
            if there is not None
            else wanted | {"hours": _LEAST_HOURS}
        )
        if there is not None:
            wanted |= {key: before[key] for key, parameter in _PARAMETERS.items() if parameter in unsaid}
        _change(home, client, name, before, wanted)
    except ClientError as error:
        told = error.response["Error"].get("Message", error)
        raise ConfigError(
            f"the stream in {home.root} cannot be changed as --param or the template says: {told}"
        ) from error
    write_json(home.stream_file, wanted)


def _create(client: Any, name: str, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Make the stream where there is none; return how it is where there is one."""
    arguments = {"ShardCount": wanted["shards"]} if wanted["shards"] is not None else {}
    try:
        client.create_stream(StreamName=name, StreamModeDetails={"StreamMode": wanted["mode"]}, **arguments)
    except client.exceptions.ResourceInUseException:
        summary = client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        return {
            "mode": summary["StreamModeDetails"]["StreamMode"],
            "shards": summary["OpenShardCount"],
            "hours": summary["RetentionPeriodHours"],
        }
    return None


def _change(home: Home, client: Any, name: str, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if before["mode"] != wanted["mode"]:
        raise ConfigError(
            f"the stream in {home.root} is {before['mode']}, and StreamMode says {wanted['mode']}: it is not changed here. "
            f"Say --param StreamMode={before['mode']}, or start afresh: rm -r {home.root}"
        )
    if wanted["shards"] not in (None, before["shards"]):
        summary = client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        if summary["OpenShardCount"] != wanted["shards"]:
            client.update_shard_count(
                StreamName=name, TargetShardCount=wanted["shards"], ScalingType="UNIFORM_SCALING"
            )
            wait_until(
                lambda: _status(client, name) == "ACTIVE", seconds=_ACTIVE_S, what="the stream's new shards"
            )
    if wanted["hours"] != before["hours"]:
        longer = wanted["hours"] > before["hours"]
        change = (
            client.increase_stream_retention_period if longer else client.decrease_stream_retention_period
        )
        change(StreamName=name, RetentionPeriodHours=wanted["hours"])


def _status(client: Any, name: str) -> str:
    return str(client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"])
